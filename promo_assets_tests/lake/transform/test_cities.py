"""Parsing geo.csv: all ways to write it, and what is said about a file that cannot be used."""

import pytest

from promo_assets.lake.transform.cities import SHIPPED, CitiesError, City, parse_cities

ALICE = City(7, "Alice Springs", -23.7, 133.88, "Australia/Darwin")
BROOME = City(8, "Broome", -17.96, 122.24, "Australia/Perth")
HEADER = "id;city;lat;lng;timezone\n"
ALICE_LINE = "7;Alice Springs;-23.7;133.88;Australia/Darwin\n"
BROOME_LINE = "8;Broome;-17.96;122.24;Australia/Perth\n"
ZONES = {
    "Australia/Sydney": "Sydney Canberra Newcastle Wollongong Maitland",
    "Australia/Melbourne": "Melbourne Cranbourne Geelong Ballarat Bendigo",
    "Australia/Brisbane": (
        "Brisbane Gold_Coast Townsville Ipswich Cairns Toowoomba Mackay Rockhampton"
    ),
    "Australia/Hobart": "Hobart Launceston",
    "Australia/Adelaide": "Adelaide",
    "Australia/Darwin": "Darwin",
    "Australia/Perth": "Perth Bunbury",
}


CONTENT = HEADER + ALICE_LINE + BROOME_LINE
WAYS_TO_WRITE_IT = {
    "decimal points": CONTENT,
    "decimal commas": CONTENT.replace(".", ","),
    "lon in the header": CONTENT.replace("lng", "lon"),
    "capital letters in the header": CONTENT.replace(HEADER, "ID;City;LAT;Lng;TimeZone\n"),
    "a byte order mark": "\ufeff" + CONTENT,
    "CRLF": CONTENT.replace("\n", "\r\n"),
    "no line end at the end": CONTENT.rstrip("\n"),
    "blank lines": f"\n{HEADER}  \n{ALICE_LINE};;;;\n\r\n{BROOME_LINE}\n\n",
    "not sorted by id": HEADER + BROOME_LINE + ALICE_LINE,
    "leading zeros": HEADER + "00" + ALICE_LINE + BROOME_LINE,
    "spaces around the fields": HEADER + ALICE_LINE.replace(";", " ; ") + BROOME_LINE,
    "quoted fields": (
        HEADER + '"7";"Alice Springs";"-23,7";133,88;"Australia/Darwin"\n' + BROOME_LINE
    ),
    "another order and one more column": (
        "timezone;lng;km2;city;lat;id\n"
        "Australia/Darwin;133.88;328;Alice Springs;-23.7;7\n"
        "Australia/Perth;122,24;;Broome;-17,96;8\n"
    ),
}


@pytest.mark.parametrize("content", WAYS_TO_WRITE_IT.values(), ids=WAYS_TO_WRITE_IT)
def test_a_file_of_cities_can_be_written_in_many_ways(content: str):
    assert parse_cities(content.encode()) == [ALICE, BROOME]


def test_a_quoted_name_may_contain_separators_quotes_and_letters_of_any_language():
    content = HEADER + '1;"São ""Tomé""; Velha";0,33;6,73;Africa/Sao_Tome\n'
    assert parse_cities(content.encode()) == [
        City(1, 'São "Tomé"; Velha', 0.33, 6.73, "Africa/Sao_Tome")
    ]


def test_coordinates_at_the_limits_are_valid():
    cities = parse_cities(f"{HEADER}1;North;90;180;UTC\n2;South;-90,0;-180,0;UTC\n".encode())
    assert [(city.lat, city.lon) for city in cities] == [(90.0, 180.0), (-90.0, -180.0)]


@pytest.mark.parametrize("header", ["id;city;lat;lng", "id;city;lat;lng;timezone"])
def test_known_cities_get_their_time_zones_if_the_file_has_none(header: str):
    names = [
        (name.replace("_", " "), zone) for zone, cities in ZONES.items() for name in cities.split()
    ]
    empty = ";" if header.endswith("timezone") else ""
    lines = [f"{number};{name};-30,5;140,5{empty}" for number, (name, _) in enumerate(names)]
    cities = parse_cities("\n".join([header, *lines]).encode())
    assert [(city.city, city.timezone) for city in cities] == names


def test_a_time_zone_in_the_file_overrides_the_known_one():
    (city,) = parse_cities((HEADER + "1;Sydney;-33,9;151,2;Asia/Tokyo\n").encode())
    assert city.timezone == "Asia/Tokyo"


def test_the_shipped_file_has_24_cities_with_their_time_zones():
    cities = parse_cities(SHIPPED.read_bytes())
    assert [city.city_id for city in cities] == list(range(1, 25))
    assert {city.city.replace(" ", "_"): city.timezone for city in cities} == {
        name: zone for zone, names in ZONES.items() for name in names.split()
    }


# A line, and what the message must name.
BROKEN_LINES = [
    ("8;Broome;-17.96;122.24", "4 fields instead of 5"),
    ("8;Broome;-17.96;122.24;Australia/Perth;", "6 fields instead of 5"),
    ("8,Broome,-17.96,122.24,Australia/Perth", "1 fields instead of 5"),
    (";Broome;-17.96;122.24;Australia/Perth", "id ''"),
    ("x;Broome;-17.96;122.24;Australia/Perth", "id 'x'"),
    ("-8;Broome;-17.96;122.24;Australia/Perth", "id '-8'"),
    ("8.0;Broome;-17.96;122.24;Australia/Perth", "id '8.0'"),
    ("8_0;Broome;-17.96;122.24;Australia/Perth", "id '8_0'"),
    ("٨;Broome;-17.96;122.24;Australia/Perth", "id '٨'"),
    ("9223372036854775808;Broome;-17.96;122.24;Australia/Perth", "id '9223372036854775808'"),
    ("8; ;-17.96;122.24;Australia/Perth", "no name"),
    ("8;Broome;;122.24;Australia/Perth", "lat '' is not a number"),
    ("8;Broome;-17.96;east;Australia/Perth", "lon 'east' is not a number"),
    ("8;Broome;-1.017,96;122.24;Australia/Perth", "lat '-1.017,96' is not a number"),
    ("8;Broome;-1_7;122.24;Australia/Perth", "lat '-1_7' is not a number"),
    ("8;Broome;nan;122.24;Australia/Perth", "lat 'nan' is not a number"),
    ("8;Broome;-17.96;-inf;Australia/Perth", "lon '-inf' is not a number"),
    ("8;Broome;-90.0000001;122.24;Australia/Perth", "lat -90.0000001 is outside of ±90"),
    ("8;Broome;122,24;-17,96;Australia/Perth", "lat 122,24 is outside of ±90"),
    ("8;Broome;-17.96;180,0000001;Australia/Perth", "lon 180,0000001 is outside of ±180"),
    ("8;Broome;-17.96;122.24;Australia/Broome", "'Australia/Broome' is not an IANA time zone"),
    ("8;Broome;-17.96;122.24;australia/perth", "'australia/perth' is not an IANA time zone"),
    ("8;Broome;-17.96;122.24;localtime", "'localtime' is not an IANA time zone"),
    ("8;Broome;-17.96;122.24;+08:00", "'+08:00' is not an IANA time zone"),
    ("8;Broome;-17.96;122.24;", "time zone of Broome"),
    ("7;Broome;-17.96;122.24;Australia/Perth", "id 7 is used twice"),
    ("07;Alice Springs;-23.7;133.88;Australia/Darwin", "id 7 is used twice"),
]


@pytest.mark.parametrize(("line", "named"), BROKEN_LINES)
def test_a_broken_line_is_named_with_what_is_wrong(line: str, named: str):
    with pytest.raises(CitiesError) as caught:
        parse_cities((HEADER + ALICE_LINE + "\n" + line + "\n9;Sydney;-33,9;151,2;\n").encode())
    message = str(caught.value)
    assert message.startswith("line 4: ") and message.count("line ") == 1
    assert named in message


def test_all_broken_lines_are_named_at_once():
    lines = "1;;0;0;UTC\n" + ALICE_LINE + "2;B;91;0;UTC\n3;C;0;0;Nowhere\n"
    with pytest.raises(CitiesError, match=r"line 2: .*name; line 4: lat 91 .*; line 5: 'Nowhere' "):
        parse_cities((HEADER + lines).encode())


def test_a_quote_that_is_never_closed_is_an_error_and_does_not_swallow_the_lines_after_it():
    content = (
        'id;lat;lon;timezone;city\n1;-33.9;151.2;UTC;"Sydney\n'
        "2;-37.8;145;UTC;Melbourne\n3;-27.5;153;UTC;Brisbane\n"
    )
    with pytest.raises(CitiesError, match="line"):
        parse_cities(content.encode())


def test_a_field_of_any_length_breaks_at_most_its_own_line():
    with pytest.raises(CitiesError, match="line 2: "):
        parse_cities((HEADER + "1;" + "x" * 200_000 + ";95;0;UTC\n").encode())


ALL_NAMES = "id, city, lat, lon"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", ["empty"]),
        (b"\xef\xbb\xbf\r\n ; \n", ["empty"]),
        (b"id;city;lat;lng\n", ["no cities"]),
        (b"id;city;lat;lng\n\n ;\n", ["no cities"]),
        (
            b"7;Alice Springs;-23.7;133.88\n",
            ["header", ALL_NAMES, "7;Alice Springs;-23.7;133.88"],
        ),
        (b"id,city,lat,lng\n1,A,0,0\n", ["header", ALL_NAMES, "id,city,lat,lng"]),
        (b"id;city;lng\n1;A;0\n", ["header", " lat ", "id;city;lng"]),
        (b"id;city;lat;lng;lon\n1;Sydney;0;0;0\n", ["header", " lon ", "id;city;lat;lng;lon"]),
        ("id;city;lat;lng\n1;Orléans;48;2\n".encode("latin-1"), ["UTF-8"]),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_says_why(content: bytes, named: list[str]):
    with pytest.raises(CitiesError) as caught:
        parse_cities(content)
    assert all(each in str(caught.value) for each in named)

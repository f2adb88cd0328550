"""The file of cities, line by line; distances; the nearest city at every edge.

On the sphere of the specification a degree of a great circle is 6371 π / 180 = 111.19492664455873 km.
"""

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_assets.lake.transform.cities import (
    SHIPPED,
    CitiesError,
    City,
    add_nearest_city,
    city_value,
    distance_km,
    parse_cities,
)

ALICE = City(7, "Alice Springs", -23.7, 133.88, "Australia/Darwin")
BROOME = City(8, "Broome", -17.96, 122.24, "Australia/Perth")
HEADER = "id;city;lat;lng;timezone\n"
ALICE_LINE = "7;Alice Springs;-23.7;133.88;Australia/Darwin\n"
BROOME_LINE = "8;Broome;-17.96;122.24;Australia/Perth\n"
ZONES = {
    "Australia/Sydney": "Sydney Canberra Newcastle Wollongong Maitland",
    "Australia/Melbourne": "Melbourne Cranbourne Geelong Ballarat Bendigo",
    "Australia/Brisbane": "Brisbane Gold_Coast Townsville Ipswich Cairns Toowoomba Mackay Rockhampton",
    "Australia/Hobart": "Hobart Launceston",
    "Australia/Adelaide": "Adelaide",
    "Australia/Darwin": "Darwin",
    "Australia/Perth": "Perth Bunbury",
}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(HEADER + ALICE_LINE + BROOME_LINE, id="decimal points"),
        pytest.param((HEADER + ALICE_LINE + BROOME_LINE).replace(".", ","), id="decimal commas"),
        pytest.param(
            (HEADER + ALICE_LINE + BROOME_LINE).replace("lng", "lon"), id="lon in the header"
        ),
        pytest.param(
            (HEADER + ALICE_LINE + BROOME_LINE).replace(HEADER, "ID;City;LAT;Lng;TimeZone\n"),
            id="capital letters in the header",
        ),
        pytest.param("\ufeff" + HEADER + ALICE_LINE + BROOME_LINE, id="a byte order mark"),
        pytest.param((HEADER + ALICE_LINE + BROOME_LINE).replace("\n", "\r\n"), id="CRLF"),
        pytest.param((HEADER + ALICE_LINE + BROOME_LINE).rstrip("\n"), id="no line end at the end"),
        pytest.param(
            "\n" + HEADER + "  \n" + ALICE_LINE + ";;;;\n\r\n" + BROOME_LINE + "\n\n",
            id="blank lines",
        ),
        pytest.param(HEADER + BROOME_LINE + ALICE_LINE, id="not sorted by id"),
        pytest.param(HEADER + "00" + ALICE_LINE + BROOME_LINE, id="leading zeros"),
        pytest.param(
            HEADER + ALICE_LINE.replace(";", " ; ") + BROOME_LINE, id="blanks around the fields"
        ),
        pytest.param(
            HEADER + '"7";"Alice Springs";"-23,7";133,88;"Australia/Darwin"\n' + BROOME_LINE,
            id="quoted fields",
        ),
        pytest.param(
            "timezone;lng;km2;city;lat;id\nAustralia/Darwin;133.88;328;Alice Springs;-23.7;7\nAustralia/Perth;122,24;;Broome;-17,96;8\n",
            id="another order and one column more",
        ),
    ],
)
def test_a_file_of_cities_is_read_however_it_is_written(content: str):
    assert parse_cities(content.encode()) == [ALICE, BROOME]


def test_a_quoted_name_may_hold_the_separator_quotes_and_letters_of_any_language():
    content = HEADER + '1;"São ""Tomé""; Velha";0,33;6,73;Africa/Sao_Tome\n'
    assert parse_cities(content.encode()) == [
        City(1, 'São "Tomé"; Velha', 0.33, 6.73, "Africa/Sao_Tome")
    ]


def test_the_limits_themselves_are_on_the_globe():
    content = HEADER + "1;North;90;180;UTC\n2;South;-90,0;-180,0;UTC\n"
    assert [(city.lat, city.lon) for city in parse_cities(content.encode())] == [
        (90.0, 180.0),
        (-90.0, -180.0),
    ]


@pytest.mark.parametrize("header", ["id;city;lat;lng", "id;city;lat;lng;timezone"])
def test_known_cities_get_their_time_zones_where_the_file_has_none(header: str):
    names = [
        (name.replace("_", " "), zone) for zone, cities in ZONES.items() for name in cities.split()
    ]
    empty = ";" if header.endswith("timezone") else ""
    lines = [f"{number};{name};-30,5;140,5{empty}" for number, (name, _) in enumerate(names)]
    assert [
        (city.city, city.timezone) for city in parse_cities("\n".join([header, *lines]).encode())
    ] == names


def test_a_time_zone_in_the_file_goes_before_the_known_one():
    assert (
        parse_cities((HEADER + "1;Sydney;-33,9;151,2;Asia/Tokyo\n").encode())[0].timezone
        == "Asia/Tokyo"
    )


def test_the_shipped_file_holds_24_cities_with_their_zones():
    cities = parse_cities(SHIPPED.read_bytes())
    assert [city.city_id for city in cities] == list(range(1, 25))
    assert {city.city.replace(" ", "_"): city.timezone for city in cities} == {
        name: zone for zone, names in ZONES.items() for name in names.split()
    }


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("8;Broome;-17.96;122.24", "4 fields instead of 5"),
        ("8;Broome;-17.96;122.24;Australia/Perth;", "6 fields instead of 5"),
        ("8,Broome,-17.96,122.24,Australia/Perth", "1 fields instead of 5"),
        (";Broome;-17.96;122.24;Australia/Perth", "id '' is no whole number"),
        ("x;Broome;-17.96;122.24;Australia/Perth", "id 'x' is no whole number"),
        ("-8;Broome;-17.96;122.24;Australia/Perth", "id '-8' is no whole number"),
        ("8.0;Broome;-17.96;122.24;Australia/Perth", "id '8.0' is no whole number"),
        ("8_0;Broome;-17.96;122.24;Australia/Perth", "id '8_0' is no whole number"),
        ("٨;Broome;-17.96;122.24;Australia/Perth", "id '٨' is no whole number"),
        (
            "9223372036854775808;Broome;-17.96;122.24;Australia/Perth",
            "id '9223372036854775808' is no whole number",
        ),
        ("8; ;-17.96;122.24;Australia/Perth", "the city has no name"),
        ("8;Broome;;122.24;Australia/Perth", "lat '' is no number"),
        ("8;Broome;-17.96;east;Australia/Perth", "lon 'east' is no number"),
        ("8;Broome;-1.017,96;122.24;Australia/Perth", "lat '-1.017,96' is no number"),
        ("8;Broome;-1_7;122.24;Australia/Perth", "lat '-1_7' is no number"),
        ("8;Broome;-90.0000001;122.24;Australia/Perth", "lat -90.0000001 is outside of ±90"),
        ("8;Broome;122,24;-17,96;Australia/Perth", "lat 122,24 is outside of ±90"),
        ("8;Broome;-17.96;180,0000001;Australia/Perth", "lon 180,0000001 is outside of ±180"),
        ("8;Broome;nan;122.24;Australia/Perth", "lat 'nan' is no number"),
        ("8;Broome;-17.96;-inf;Australia/Perth", "lon '-inf' is no number"),
        ("8;Broome;-17.96;122.24;Australia/Broome", "'Australia/Broome' is no IANA time zone"),
        ("8;Broome;-17.96;122.24;australia/perth", "'australia/perth' is no IANA time zone"),
        ("8;Broome;-17.96;122.24;localtime", "'localtime' is no IANA time zone"),
        ("8;Broome;-17.96;122.24;+08:00", "'+08:00' is no IANA time zone"),
        ("8;Broome;-17.96;122.24;", "no time zone is known for Broome: add it as column timezone"),
        ("7;Broome;-17.96;122.24;Australia/Perth", "id 7 is there twice"),
        ("07;Alice Springs;-23.7;133.88;Australia/Darwin", "id 7 is there twice"),
    ],
)
def test_a_broken_line_is_named_with_what_is_wrong(line: str, error: str):
    with pytest.raises(CitiesError) as caught:
        parse_cities((HEADER + ALICE_LINE + "\n" + line + "\n9;Sydney;-33,9;151,2;\n").encode())
    assert str(caught.value) == f"line 4: {error}"


def test_all_broken_lines_are_named_at_once():
    with pytest.raises(CitiesError) as caught:
        parse_cities(
            (HEADER + "1;;0;0;UTC\n" + ALICE_LINE + "2;B;91;0;UTC\n3;C;0;0;Nowhere\n").encode()
        )
    assert (
        str(caught.value)
        == "line 2: the city has no name; line 4: lat 91 is outside of ±90; line 5: 'Nowhere' is no IANA time zone"
    )


def test_a_quote_that_is_never_closed_is_an_error_and_does_not_swallow_the_lines_after_it():
    with pytest.raises(CitiesError, match="line"):
        parse_cities(
            b'id;lat;lon;timezone;city\n1;-33.9;151.2;UTC;"Sydney\n2;-37.8;145;UTC;Melbourne\n3;-27.5;153;UTC;Brisbane\n'
        )


def test_a_field_of_any_length_is_an_error_of_its_line_at_most():
    with pytest.raises(CitiesError, match="line 2: "):
        parse_cities((HEADER + "1;" + "x" * 200_000 + ";95;0;UTC\n").encode())


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "it is empty"),
        (b"\xef\xbb\xbf\r\n ; \n", "it is empty"),
        (b"id;city;lat;lng\n", "it names no city"),
        (b"id;city;lat;lng\n\n ;\n", "it names no city"),
        (
            b"7;Alice Springs;-23.7;133.88\n",
            "its header must name id, city, lat, lon once, and reads 7;Alice Springs;-23.7;133.88",
        ),
        (
            b"id,city,lat,lng\n1,A,0,0\n",
            "its header must name id, city, lat, lon once, and reads id,city,lat,lng",
        ),
        (b"id;city;lng\n1;A;0\n", "its header must name lat once, and reads id;city;lng"),
        (
            b"id;city;lat;lng;lon\n1;Sydney;0;0;0\n",
            "its header must name lon once, and reads id;city;lat;lng;lon",
        ),
        ("id;city;lat;lng\n1;Orléans;48;2\n".encode("latin-1"), "it is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_says_why(content: bytes, error: str):
    with pytest.raises(CitiesError) as caught:
        parse_cities(content)
    assert str(caught.value) == error


DISTANCES = [
    ("the same place", (-33.865, 151.2094), (-33.865, 151.2094), 0.0),
    ("a degree of latitude", (-34.0, 151.0), (-35.0, 151.0), 111.19492664455873),
    ("a degree of the equator", (0.0, 10.0), (0.0, 11.0), 111.19492664455873),
    ("a degree over the 180th meridian", (0.0, 179.5), (0.0, -179.5), 111.19492664455873),
    ("180 degrees east is 180 degrees west", (-16.8, 180.0), (-16.8, -180.0), 0.0),
    ("all places of longitude are one at the north pole", (90.0, 0.0), (90.0, 123.0), 0.0),
    ("and at the south pole", (-90.0, -180.0), (-90.0, 77.0), 0.0),
    ("over the pole, 60 degrees", (60.0, 20.0), (60.0, -160.0), 6671.695598673524),
    ("over the pole, 0.002 degrees", (89.999, 0.0), (89.999, 180.0), 0.22238985328911745),
    ("from the equator to a pole, a quarter", (0.0, 33.0), (90.0, 0.0), 10007.543398010286),
    ("cos a = cos 45° cos 45° = 1/2: 60 degrees", (0.0, 0.0), (45.0, 45.0), 6671.695598673524),
    ("cos a = sin 45° sin 45° = 1/2: 60 degrees", (45.0, 0.0), (45.0, 90.0), 6671.695598673524),
    (
        "antipodes on the equator, half of a great circle",
        (0.0, -90.0),
        (0.0, 90.0),
        20015.086796020572,
    ),
    ("antipodes elsewhere", (33.865, -28.7906), (-33.865, 151.2094), 20015.086796020572),
    ("the poles", (90.0, 12.0), (-90.0, -100.0), 20015.086796020572),
]


def test_distances_are_those_of_the_great_circle(spark: SparkSession):
    rows = [(name, *one, *other) for name, one, other, _ in DISTANCES]
    frame = spark.createDataFrame(
        rows, "name string, lat double, lon double, lat2 double, lon2 double"
    )
    measured = frame.select(
        "name",
        distance_km(F.col("lat"), F.col("lon"), F.col("lat2"), F.col("lon2")).alias("there"),
        distance_km(F.col("lat2"), F.col("lon2"), F.col("lat"), F.col("lon")).alias("back"),
    ).collect()
    # near antipodes the haversine formula itself is exact to about 1e-8 of the radius only
    expected = {
        name: pytest.approx(km, abs=1e-3 if km > 20_000 else 1e-9) for name, _, _, km in DISTANCES
    }
    assert {name: there for name, there, _ in measured} == expected
    assert {name: back for name, _, back in measured} == expected


@pytest.fixture
def nearest(spark: SparkSession):
    """The ids of the cities nearest to these places."""

    def find(
        cities: list[City], places: list[tuple[float | None, float | None]]
    ) -> list[int | None]:
        frame = spark.createDataFrame(
            [(n, *place) for n, place in enumerate(places)], "n int, lat double, lon double"
        )
        return [
            city_id
            for _, city_id in sorted(
                add_nearest_city(frame, cities).select("n", "city_id").collect()
            )
        ]

    return find


def test_the_nearest_city_is_found_at_each_edge(nearest):
    cities = [
        City(10, "Greenwich", 0.0, 0.0, "UTC"),
        City(2**40, "Fiji", -16.0, 178.0, "UTC"),
        City(30, "Samoa", -16.0, -172.0, "UTC"),
        City(40, "Thule", 76.5, -68.8, "UTC"),
        City(50, "Davis", -68.6, 78.0, "UTC"),
        City(60, "Greenwich's twin", 0.0, 0.0, "UTC"),
        City(70, "Next door", 0.0, 0.00001, "UTC"),  # 1.1 m to the east
    ]
    cases = {
        "in the city itself, and in its twin": ((0.0, 0.0), 10),
        "half a metre from it": ((0.0, 0.0000045), 10),
        "half a metre from next door": ((0.0, 0.0000055), 70),
        "on its meridian": ((-30.0, 0.0), 10),
        "west of the 180th meridian": ((-16.0, 179.9), 2**40),
        "east of it, still nearer to the city in the west": ((-16.0, -178.0), 2**40),
        "east of it": ((-16.0, -176.0), 30),
        "on it, written as 180": ((-16.0, 180.0), 2**40),
        "on it, written as -180": ((-16.0, -180.0), 2**40),
        "at the north pole": ((90.0, 0.0), 40),
        "at the north pole, on Davis' meridian": ((90.0, 78.0), 40),
        "at the south pole": ((-90.0, -68.8), 50),
        "a little beyond the pole": ((-89.9, -102.0), 50),
        "no latitude": ((None, 0.0), None),
        "no longitude": ((0.0, None), None),
        "no position": ((None, None), None),
    }
    found = nearest(cities, [place for place, _ in cases.values()])
    assert dict(zip(cases, found, strict=True)) == {
        name: city_id for name, (_, city_id) in cases.items()
    }


def test_the_nearest_city_is_nearest_on_the_globe_not_on_the_map(nearest):
    """At 60.5 degrees north a degree of longitude is half as long as one of latitude: 14 of longitude are nearer than 7.5 of latitude."""
    cities = [City(1, "Same latitude", 60.5, 0.0, "UTC"), City(2, "Same region", 68.0, 17.0, "UTC")]
    assert nearest(cities, [(60.5, 14.0)]) == [1]


def test_of_one_city_alone_each_position_is_near(nearest):
    cities = [City(9, "Sydney", -33.865, 151.2094, "UTC")]
    assert nearest(cities, [(-33.865, 151.2094), (33.865, -28.7906), (90.0, 0.0), (None, 5.0)]) == [
        9,
        9,
        9,
        None,
    ]


# By how much the city of the smaller id is farther, in 1e-9 km, and whether it is the nearer one for the rule.
# Ten degrees of the equator are 1111.949266445587 km, and 1e-9 km are 8.9932e-12 degrees.
TIES = {
    "equal": (0.0, True),
    "0.1e-9 km farther: both round to ...266446": (0.1, True),
    "0.8e-9 km farther: still ...266446": (0.8, True),
    "0.95e-9 km farther: rounds to ...266447": (0.95, False),
    "2e-9 km farther": (2.0, False),
    "2e-9 km nearer": (-2.0, True),
    "0.3e-9 km nearer: rounds to ...266445": (-0.3, True),
    "1e-6 km farther": (1000.0, False),
}


def test_a_tie_goes_to_the_smaller_id_when_rounded_to_a_billionth_of_a_km(nearest):
    """Eight places of the equator, 45 degrees apart, each with a city 10 degrees to the east and one as far to the west, or almost."""
    places = [(0.0, -157.5 + 45 * n) for n in range(len(TIES))]
    cities = []
    for n, ((_, lon), (farther, _)) in enumerate(zip(places, TIES.values(), strict=True)):
        cities += [
            City(n, "East", 0.0, lon + 10 + farther * 8.9932e-12, "UTC"),
            City(100 + n, "West", 0.0, lon - 10, "UTC"),
        ]
    expected = {
        name: n if smaller else 100 + n for n, (name, (_, smaller)) in enumerate(TIES.items())
    }
    for listed in (cities, cities[::-1]):
        assert dict(zip(TIES, nearest(listed, places), strict=True)) == expected


def test_a_tie_of_many_goes_to_the_smallest_id(nearest):
    """All cities of one latitude are equally far from the pole; one a degree nearer makes it no tie."""
    ring = [
        City(city_id, f"C{city_id}", 60.0, lon, "UTC")
        for city_id, lon in ((31, -170.0), (4, 100.0), (5, -45.0), (12, 12.3))
    ]
    assert nearest(ring, [(90.0, 0.0), (90.0, 55.5)]) == [4, 4]
    assert nearest([*ring, City(99, "Nearer", 61.0, 0.0, "UTC")], [(90.0, 0.0)]) == [99]


def test_of_300_cities_the_nearest_is_found(nearest):
    """A city at every 1.2 degrees of the equator is the nearest up to 0.6 degrees to either side, ids not in the order of the map."""
    ids = [7 * n % 300 + 1 for n in range(300)]
    cities = [
        City(city_id, f"C{city_id}", 0.0, -179.4 + 1.2 * n, "UTC") for n, city_id in enumerate(ids)
    ]
    # and half-way between two it is a tie; -180 lies between the last and the first
    places = [(0.0, city.lon - 0.59) for city in cities] + [
        (5.0, city.lon + 0.59) for city in cities
    ]
    ties = [(0.0, city.lon + 0.6) for city in cities[:-1]] + [(0.0, -180.0)]
    assert nearest(cities, places + ties) == ids + ids + [
        min(pair) for pair in zip(ids, ids[1:] + ids[:1], strict=True)
    ]


def test_what_a_city_has_is_looked_up_by_its_id(spark: SparkSession):
    cities = [
        City(0, "Null Island", 0.0, 0.0, "UTC"),
        City(2**63 - 1, "Big", 1.0, 1.0, "Asia/Tokyo"),
    ]
    frame = spark.createDataFrame([(0,), (2**63 - 1,), (None,), (5,)], "city_id long")
    found = frame.select(
        "city_id", *(city_value(F.col("city_id"), cities, name) for name in ("city", "timezone"))
    ).collect()
    assert [tuple(row) for row in found] == [
        (0, "Null Island", "UTC"),
        (2**63 - 1, "Big", "Asia/Tokyo"),
        (None, None, None),
        (5, None, None),
    ]

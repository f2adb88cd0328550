"""Distances, and the nearest city at every edge of the globe.

On the sphere of rule 2.3 a degree of a great circle is 6371 π / 180 = 111.19492664455873 km.
"""

from collections.abc import Callable

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_assets.lake.transform.cities import City, add_nearest_city, city_value, distance_km

Position = tuple[float | None, float | None]
FindNearest = Callable[[list[City], list[Position]], list[int | None]]

DISTANCES = [
    ("the same place", (-33.865, 151.2094), (-33.865, 151.2094), 0.0),
    ("a degree of latitude", (-34.0, 151.0), (-35.0, 151.0), 111.19492664455873),
    ("a degree of the equator", (0.0, 10.0), (0.0, 11.0), 111.19492664455873),
    ("a degree over the 180th meridian", (0.0, 179.5), (0.0, -179.5), 111.19492664455873),
    ("180 degrees east is 180 degrees west", (-16.8, 180.0), (-16.8, -180.0), 0.0),
    ("all longitudes are one place at the north pole", (90.0, 0.0), (90.0, 123.0), 0.0),
    ("all longitudes are one place at the south pole", (-90.0, -180.0), (-90.0, 77.0), 0.0),
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
    # Near antipodes the haversine formula itself is exact only to about 1e-8 of the radius.
    expected = {
        name: pytest.approx(km, abs=1e-3 if km > 20_000 else 1e-9) for name, _, _, km in DISTANCES
    }
    assert {name: there for name, there, _ in measured} == expected
    assert {name: back for name, _, back in measured} == expected


@pytest.fixture
def find_nearest(spark: SparkSession) -> FindNearest:
    """A function that returns the ids of the cities nearest to these positions."""

    def find(cities: list[City], positions: list[Position]) -> list[int | None]:
        rows = [(n, *position) for n, position in enumerate(positions)]
        frame = spark.createDataFrame(rows, "n int, lat double, lon double")
        found = add_nearest_city(frame, cities).select("n", "city_id").collect()
        return [city_id for _, city_id in sorted(found)]

    return find


def test_the_nearest_city_is_found_at_each_edge(find_nearest: FindNearest):
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
    found = find_nearest(cities, [place for place, _ in cases.values()])
    assert dict(zip(cases, found, strict=True)) == {
        name: city_id for name, (_, city_id) in cases.items()
    }


def test_the_nearest_city_is_nearest_on_the_globe_not_on_the_map(find_nearest: FindNearest):
    """A degree of longitude at 60.5 degrees north is half as long as a degree of latitude.

    So 14 degrees of longitude are nearer than 7.5 degrees of latitude.
    """
    cities = [City(1, "Same latitude", 60.5, 0.0, "UTC"), City(2, "Same region", 68.0, 17.0, "UTC")]
    assert find_nearest(cities, [(60.5, 14.0)]) == [1]


def test_a_single_city_is_nearest_to_every_position(find_nearest: FindNearest):
    cities = [City(9, "Sydney", -33.865, 151.2094, "UTC")]
    positions = [(-33.865, 151.2094), (33.865, -28.7906), (90.0, 0.0), (None, 5.0)]
    assert find_nearest(cities, positions) == [9, 9, 9, None]


# By how many 1e-9 km the city with the smaller id is farther, and whether it is the nearest one by
# the rule. Ten degrees of the equator are 1111.949266445587 km, and 1e-9 km are 8.9932e-12 degrees.
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


def test_a_tie_goes_to_the_smaller_id_when_rounded_to_a_billionth_of_a_km(
    find_nearest: FindNearest,
):
    """Eight places on the equator, 45 degrees apart.

    Each has a city 10 degrees to the east and another one as far to the west, or almost.
    """
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
        assert dict(zip(TIES, find_nearest(listed, places), strict=True)) == expected


def test_a_tie_of_many_goes_to_the_smallest_id(find_nearest: FindNearest):
    """Cities of one latitude are equally far from the pole; a nearer city ends the tie."""
    ring = [
        City(city_id, f"C{city_id}", 60.0, lon, "UTC")
        for city_id, lon in ((31, -170.0), (4, 100.0), (5, -45.0), (12, 12.3))
    ]
    assert find_nearest(ring, [(90.0, 0.0), (90.0, 55.5)]) == [4, 4]
    assert find_nearest([*ring, City(99, "Nearer", 61.0, 0.0, "UTC")], [(90.0, 0.0)]) == [99]


def test_of_300_cities_the_nearest_is_found(find_nearest: FindNearest):
    """A city at every 1.2 degrees of the equator is the nearest one up to 0.6 degrees away.

    Ids are not in the order of the map.
    """
    ids = [7 * n % 300 + 1 for n in range(300)]
    cities = [
        City(city_id, f"C{city_id}", 0.0, -179.4 + 1.2 * n, "UTC") for n, city_id in enumerate(ids)
    ]
    places = [(0.0, city.lon - 0.59) for city in cities]
    places += [(5.0, city.lon + 0.59) for city in cities]
    # Halfway between two cities is a tie; -180 lies between the last and the first.
    ties = [(0.0, city.lon + 0.6) for city in cities[:-1]] + [(0.0, -180.0)]
    smaller = [min(pair) for pair in zip(ids, ids[1:] + ids[:1], strict=True)]
    assert find_nearest(cities, places + ties) == ids + ids + smaller


def test_an_attribute_of_a_city_is_looked_up_by_its_id(spark: SparkSession):
    cities = [
        City(0, "Null Island", 0.0, 0.0, "UTC"),
        City(2**63 - 1, "Big", 1.0, 1.0, "Asia/Tokyo"),
    ]
    frame = spark.createDataFrame([(0,), (2**63 - 1,), (None,), (5,)], "city_id long")
    values = (city_value(F.col("city_id"), cities, name) for name in ("city", "timezone"))
    found = frame.select("city_id", *values).collect()
    assert [tuple(row) for row in found] == [
        (0, "Null Island", "UTC"),
        (2**63 - 1, "Big", "Asia/Tokyo"),
        (None, None, None),
        (5, None, None),
    ]

"""Mart `friend_recomendation`: users within 1 km are found everywhere on the globe, and quickly."""

from math import asin, atan2, cos, degrees, pi, radians, sin

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_assets.lake.tables import LAST_POSITIONS
from promo_assets.lake.transform.history import correspondents
from promo_assets.lake.transform.mart_friends import friend_recomendation
from promo_assets_tests.support.lake.friends import (
    AS_OF,
    CITIES,
    HERE,
    KM,
    NOON,
    PROCESSED_AT,
    at,
    expected_rows,
    find_friends_of_cases,
    pair_ids,
    seen,
)
from promo_assets_tests.support.lake.rows import Row, events_frame, frame, sorted_rows, subscription

# name -> events, given both users, the smaller id first, and a channel; the expected zone of the
# pair, or None if they are not a pair.
CASES = {
    "0.999 km to the north": (seen(HERE, at(-33.865 + 0.999 * KM, 151.2094)), 1),
    "1.001 km to the north": (seen(HERE, at(-33.865 + 1.001 * KM, 151.2094)), None),
    "a tenth of a millimetre less than 1 km": (
        seen(at(10.0, 20.0), at(10.0 + 0.9999999 * KM, 20.0)),
        1,
    ),
    "a tenth of a millimetre more than 1 km": (
        seen(at(10.0, 20.0), at(10.0 + 1.0000001 * KM, 20.0)),
        None,
    ),
    "1 m less than 1 km": (seen(at(10.0, 20.0), at(10.0 + 0.999999 * KM, 20.0)), 1),
    "1 mm more than 1 km": (seen(at(10.0, 20.0), at(10.0 + 1.000001 * KM, 20.0)), None),
    # At 60 degrees a degree of longitude is half as long.
    "0.999 km to the east at 60 degrees": (seen(at(60.0, 30.0), at(60.0, 30.0 + 1.998 * KM)), 1),
    "1.001 km to the east at 60 degrees": (seen(at(60.0, 30.0), at(60.0, 30.0 + 2.002 * KM)), None),
    "the same place": (seen(HERE, HERE), 1),
    "the origin": (seen(at(0.0, 0.0), at(-0.0, -0.0)), 1),
    "on both sides of the equator": (seen(at(0.4995 * KM, 45.0), at(-0.4995 * KM, 45.0)), 1),
    "on both sides of the equator, too far": (
        seen(at(0.5005 * KM, 45.0), at(-0.5005 * KM, 45.0)),
        None,
    ),
    "on the equator and south of it": (seen(at(0.0, 45.0), at(-0.999 * KM, 45.0)), 1),
    "on both sides of Greenwich": (seen(at(0.0, -0.4995 * KM), at(0.0, 0.4995 * KM)), 1),
    "on Greenwich and west of it": (seen(at(0.0, 0.0), at(0.0, -0.999 * KM)), 1),
    "diagonally over the equator and Greenwich": (
        seen(at(-0.35 * KM, -0.35 * KM), at(0.35 * KM, 0.35 * KM)),
        1,
    ),
    "the other diagonal": (seen(at(-0.35 * KM, 0.35 * KM), at(0.35 * KM, -0.35 * KM)), 1),
    "over the 180th meridian": (
        seen(at(0.0, 180.0 - 0.4995 * KM), at(0.0, -180.0 + 0.4995 * KM)),
        1,
    ),
    "over the 180th meridian, too far": (
        seen(at(0.0, 180.0 - 0.5005 * KM), at(0.0, -180.0 + 0.5005 * KM)),
        None,
    ),
    "on the 180th meridian, written as 180 and as -180": (
        seen(at(-16.8, 180.0), at(-16.8, -180.0)),
        1,
    ),
    "180 and 0 are far": (seen(at(-16.8, 180.0), at(-16.8, 0.0)), None),
    "both on the north pole": (seen(at(90.0, 0.0), at(90.0, 123.0)), 1),
    "both on the south pole": (seen(at(-90.0, -180.0), at(-90.0, 57.0)), 1),
    "on the pole and 0.999 km from it": (seen(at(90.0, 0.0), at(90.0 - 0.999 * KM, -140.0)), 1),
    "on the pole and 1.001 km from it": (seen(at(90.0, 0.0), at(90.0 - 1.001 * KM, -140.0)), None),
    "over the pole": (seen(at(90.0 - 0.4995 * KM, 10.0), at(90.0 - 0.4995 * KM, -170.0)), 1),
    "over the south pole, too far": (
        seen(at(-90.0 + 0.5005 * KM, 10.0), at(-90.0 + 0.5005 * KM, -170.0)),
        None,
    ),
    # 0.9 km from the pole, 60 degrees apart: 0.9 km; 80 degrees apart: 2 * 0.9 * sin 40 = 1.157 km
    "near the pole, 60 degrees of longitude apart": (
        seen(at(90.0 - 0.9 * KM, 10.0), at(90.0 - 0.9 * KM, 70.0)),
        1,
    ),
    "near the pole, 80 degrees of longitude apart": (
        seen(at(90.0 - 0.9 * KM, 10.0), at(90.0 - 0.9 * KM, 90.0)),
        None,
    ),
    "the poles are far": (seen(at(90.0, 0.0), at(-90.0, 0.0)), None),
    "the zone is that of the smaller id, who is in the north": (
        seen(at(0.4 * KM, 0.0, 2), at(-0.4 * KM, 0.0, 3)),
        2,
    ),
    "the zone is that of the smaller id, who is in the south": (
        seen(at(-0.4 * KM, 0.0, 3), at(0.4 * KM, 0.0, 2)),
        3,
    ),
    "the zone is that of the smaller id, in one cell": (
        seen(at(10.0, 20.0, 4), at(10.0, 20.0, 2)),
        4,
    ),
}
IDS = pair_ids(CASES)


@pytest.fixture(scope="module")
def mart(spark: SparkSession) -> list[Row]:
    found = find_friends_of_cases(spark, CASES)
    assert found.dtypes == [
        ("user_left", "bigint"),
        ("user_right", "bigint"),
        ("zone_id", "bigint"),
        ("processed_dttm", "timestamp"),
        ("local_time", "timestamp"),
    ]
    return sorted_rows(found)


@pytest.mark.parametrize("name", CASES)
def test_friends_are_at_most_1_km_apart_and_the_smaller_id_has_the_zone(mart: list[Row], name: str):
    found = [row for row in mart if {*row[:2]} & {*IDS[name]}]
    assert found == expected_rows(CASES, name)


def move(lat: float, lon: float, km: float, bearing: float) -> tuple[float, float]:
    """Move a place along a great circle by the direct formula on a sphere."""
    phi, lam, angle = radians(lat), radians(lon), km / 6371.0
    there = asin(sin(phi) * cos(angle) + cos(phi) * sin(angle) * cos(bearing))
    turned = atan2(sin(bearing) * sin(angle) * cos(phi), cos(angle) - sin(phi) * sin(there))
    return degrees(there), (degrees(lam + turned) + 180) % 360 - 180


def test_1_km_is_1_km_everywhere_on_the_globe_and_in_all_directions(spark: SparkSession):
    """1,200 places are spread evenly (a spiral of golden angles), about 650 km apart.

    Each has a neighbour at 0.999 km and another one at 1.001 km.
    """
    positions, near = [], []
    for n in range(1200):
        lat, lon = degrees(asin(1 - (2 * n + 1) / 1200)), 137.50776405 * n % 360 - 180
        bearing = 2 * pi * n / 26
        positions += [
            (10 * n, lat, lon),
            (10 * n + 1, *move(lat, lon, 0.999, bearing)),
            (10 * n + 2, *move(lat, lon, 1.001, bearing + pi)),
        ]
        near.append((10 * n, 10 * n + 1))
    seen_there = frame(
        spark, LAST_POSITIONS, [("2022-05-01", *position, 1) for position in positions]
    )
    subscribed = events_frame(spark, [subscription(user, NOON, 7) for user, _, _ in positions])
    found = friend_recomendation(
        seen_there, subscribed, correspondents(subscribed), CITIES, PROCESSED_AT, AS_OF
    )
    assert sorted(row[:2] for row in sorted_rows(found)) == near


@pytest.mark.timeout(120)
def test_a_channel_of_100_000_subscribers_of_whom_few_are_near_takes_seconds(
    spark: SparkSession,
):
    """They are on a grid, 0.02 degrees (more than 2 km) apart; each of three more is near one.

    All pairs of the channel would be 5,000,000,000.
    """
    near = {100_000: 0, 100_001: 54_321, 100_002: 99_999}
    number = F.coalesce(
        *(F.when(F.col("id") == new, F.lit(old)) for new, old in near.items()), F.col("id")
    )
    people = spark.range(100_003).select(
        F.col("id").alias("user_id"),
        number.alias("n"),
        (F.col("id") >= 100_000).cast("int").alias("new"),
    )
    day = F.lit("2022-05-01").cast("date").alias("date")
    lat, lon = F.floor(F.col("n") / 400) * 0.02 + F.col("new") * 0.001, F.col("n") % 400 * 0.02
    seen_there = people.select(
        day, "user_id", lat.alias("lat"), lon.alias("lon"), F.lit(1).cast("long").alias("city_id")
    )
    subscribed = people.select(
        day,
        "user_id",
        F.lit(7).cast("long").alias("channel_id"),
        F.lit("subscription").alias("event_type"),
    )
    nobody = correspondents(events_frame(spark, []))
    found = friend_recomendation(seen_there, subscribed, nobody, CITIES, PROCESSED_AT, AS_OF)
    assert sorted(row[:2] for row in sorted_rows(found)) == [
        (0, 100_000),
        (54_321, 100_001),
        (99_999, 100_002),
    ]

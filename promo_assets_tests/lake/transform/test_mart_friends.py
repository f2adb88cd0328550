"""Mart `friend_recomendation` of a window of 28 days, from the events themselves through the days' helper tables.

On the sphere of the specification 1 km is 180 / (6371 π) = 0.008993216059187306 degrees of a great circle. One pair is one case, in a
channel of its own, and one Spark job finds all.
"""

from datetime import UTC, date, datetime
from math import asin, atan2, cos, degrees, pi, radians, sin

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_assets.lake.tables import LAST_POSITIONS
from promo_assets.lake.transform.cities import City
from promo_assets.lake.transform.history import correspondents, last_positions
from promo_assets.lake.transform.mart_friends import friend_recomendation
from promo_assets_tests.support.lake.rows import (
    NOWHERE,
    Place,
    Row,
    events_frame,
    frame,
    message,
    reaction,
    subscription,
    told,
)

AS_OF = date(2022, 5, 15)
WINDOW = ("2022-04-18", "2022-05-15")
KM = 0.008993216059187306  # degrees
# The clocks of Sydney are about to go forward by an hour, those of Lord Howe have this very moment, by half an hour.
PROCESSED_AT = datetime(2022, 10, 1, 15, 30, 0, 123456, tzinfo=UTC)
CITIES = [
    City(1, "Sydney", 0.0, 0.0, "Australia/Sydney"),
    City(2, "Lord Howe", 0.0, 0.0, "Australia/Lord_Howe"),
    City(3, "Kathmandu", 0.0, 0.0, "Asia/Kathmandu"),
    City(4, "St. John's", 0.0, 0.0, "America/St_Johns"),
]
LOCAL_TIMES = {
    1: "2022-10-02 01:30:00.123456",
    2: "2022-10-02 02:30:00.123456",
    3: "2022-10-01 21:15:00.123456",
    4: "2022-10-01 13:00:00.123456",
}
BEFORE, FIRST, LAST = (
    "2022-04-17 23:59:59.999999",
    "2022-04-18 00:00:00",
    "2022-05-15 23:59:59.999999",
)
NOON, LATER = "2022-05-01 12:00:00", "2022-05-01 12:00:01"


def at(lat: float | None, lon: float | None, city_id: int | None = 1) -> Place:
    return lat, lon, city_id


HERE = at(-33.865, 151.2094)
NEAR = at(-33.865 + 0.5 * KM, 151.2094)
FAR = at(-33.865 + 2 * KM, 151.2094)


def seen(one: Place, other: Place):
    """Two subscribers of a channel, seen there and there."""
    return lambda left, right, channel: [
        subscription(left, NOON, channel, one),
        subscription(right, LATER, channel, other),
    ]


def and_also(*rows):
    """Two near subscribers of a channel, who also did that; rows are functions of both."""
    return lambda left, right, channel: [
        *seen(HERE, NEAR)(left, right, channel),
        *(row(left, right) for row in rows),
    ]


# name -> events given both users, the smaller one first, and a channel; the zone of the pair, or None where they are no pair
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
    # at 60 degrees a degree of longitude is half as long
    "0.999 km to the east at 60 degrees": (seen(at(60.0, 30.0), at(60.0, 30.0 + 1.998 * KM)), 1),
    "1.001 km to the east at 60 degrees": (seen(at(60.0, 30.0), at(60.0, 30.0 + 2.002 * KM)), None),
    "the same place": (seen(HERE, HERE), 1),
    "the origin": (seen(at(0.0, 0.0), at(-0.0, -0.0)), 1),
    "to both sides of the equator": (seen(at(0.4995 * KM, 45.0), at(-0.4995 * KM, 45.0)), 1),
    "to both sides of the equator, too far": (
        seen(at(0.5005 * KM, 45.0), at(-0.5005 * KM, 45.0)),
        None,
    ),
    "on the equator and south of it": (seen(at(0.0, 45.0), at(-0.999 * KM, 45.0)), 1),
    "to both sides of Greenwich": (seen(at(0.0, -0.4995 * KM), at(0.0, 0.4995 * KM)), 1),
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
    "the zone is the smaller user's, who is in the north": (
        seen(at(0.4 * KM, 0.0, 2), at(-0.4 * KM, 0.0, 3)),
        2,
    ),
    "the zone is the smaller user's, who is in the south": (
        seen(at(-0.4 * KM, 0.0, 3), at(0.4 * KM, 0.0, 2)),
        3,
    ),
    "the zone is the smaller user's, in one cell": (seen(at(10.0, 20.0, 4), at(10.0, 20.0, 2)), 4),
    "the last position decides: near, then far": (
        and_also(lambda left, right: reaction(right, LAST, FAR)),
        None,
    ),
    "the last position decides: far, then near": (
        and_also(
            lambda left, right: message(left, "2022-05-02 00:00:00", FAR),
            lambda left, right: reaction(right, LAST, at(FAR[0], FAR[1], 3)),
            lambda left, right: reaction(left, LAST, at(FAR[0], FAR[1], 2)),
        ),
        2,
    ),
    "the last position decides: near in between": (
        lambda left, right, channel: [
            *(subscription(left, NOON, channel, HERE), subscription(right, NOON, channel, FAR)),
            *(
                message(right, "2022-05-02 10:00:00", HERE),
                message(right, "2022-05-02 11:00:00", FAR),
            ),
        ],
        None,
    ),
    "at one moment the greater id is the last": (
        and_also(
            lambda left, right: reaction(right, LAST, NEAR, 10),
            lambda left, right: message(right, LAST, FAR, 9),
        ),
        1,
    ),
    "an event without a position moves nobody": (
        and_also(
            lambda left, right: message(right, LAST, NOWHERE),
            lambda left, right: reaction(left, LAST, at(0.0, None, None)),
        ),
        1,
    ),
    "subscribed without a position, seen by other events": (
        lambda left, right, channel: [
            *(subscription(left, NOON, channel), message(left, FIRST, HERE)),
            *(subscription(right, NOON, channel), reaction(right, LAST, NEAR)),
        ],
        1,
    ),
    "one was never seen": (
        lambda left, right, channel: [
            subscription(left, NOON, channel, HERE),
            subscription(right, NOON, channel),
        ],
        None,
    ),
    "one was last seen before the window": (
        lambda left, right, channel: [
            *(subscription(left, NOON, channel, HERE), subscription(right, NOON, channel)),
            reaction(right, BEFORE, HERE),
        ],
        None,
    ),
    "one was elsewhere before the window": (
        and_also(lambda left, right: reaction(right, BEFORE, FAR)),
        1,
    ),
    "subscribed in the window's first and last moment": (
        lambda left, right, channel: [
            subscription(left, FIRST, channel, HERE),
            subscription(right, LAST, channel, HERE),
        ],
        1,
    ),
    "one subscribed before the window": (
        lambda left, right, channel: [
            subscription(left, NOON, channel, HERE),
            *(subscription(right, BEFORE, channel, HERE), reaction(right, NOON, HERE)),
        ],
        None,
    ),
    "no channel is common": (
        lambda left, right, channel: [
            subscription(left, NOON, channel, HERE),
            subscription(right, NOON, channel + 1, HERE),
        ],
        None,
    ),
    "no channel at all": (
        lambda left, right, channel: [
            subscription(left, NOON, None, HERE),
            subscription(right, NOON, None, HERE),
        ],
        None,
    ),
    "one wrote and reacted in the channel, but did not subscribe": (
        lambda left, right, channel: [
            subscription(left, NOON, channel, HERE),
            *(
                message(right, NOON, HERE, channel=channel),
                reaction(right, NOON, HERE, channel=channel),
            ),
        ],
        None,
    ),
    "one channel of several is common": (
        lambda left, right, channel: [
            *(subscription(left, NOON, channel + n, HERE) for n in (1, 2, 3)),
            *(subscription(right, NOON, channel + n, HERE) for n in (5, 3, 4)),
        ],
        1,
    ),
    "two channels in common, each subscribed to twice: one pair": (
        lambda left, right, channel: [
            subscription(user, NOON, channel + n % 2, HERE)
            for user in (left, right)
            for n in range(4)
        ],
        1,
    ),
    "the smaller one wrote, years ago": (
        and_also(lambda left, right: message(left, "2019-05-01 10:00:00", NOWHERE, to=right)),
        None,
    ),
    "the greater one wrote, years ago": (
        and_also(lambda left, right: message(right, "2019-05-01 10:00:00", NOWHERE, to=left)),
        None,
    ),
    "one wrote in the window's last moment": (
        and_also(lambda left, right: message(right, LAST, NOWHERE, to=left)),
        None,
    ),
    "both wrote": (
        and_also(
            lambda left, right: message(left, NOON, NOWHERE, to=right),
            lambda left, right: message(right, NOON, NOWHERE, to=left),
        ),
        None,
    ),
    "they wrote to others, to themselves and to nobody": (
        and_also(
            lambda left, right: message(left, NOON, NOWHERE, to=left),
            lambda left, right: message(right, NOON, NOWHERE, to=right),
            lambda left, right: message(left, NOON, NOWHERE, to=right + 10**9),
            lambda left, right: message(right + 10**9, NOON, NOWHERE, to=left),
            lambda left, right: message(right, NOON, NOWHERE, to=None, channel=left),
        ),
        1,
    ),
    "a reaction to a message is not writing": (
        and_also(
            lambda left, right: ("2022-05-01", left, 5, right, None, NOON, *NOWHERE, "reaction")
        ),
        1,
    ),
}
# 9 and 10, 99 and 100: as texts the greater id would be the smaller
IDS = {
    name: (10 ** (n % 18 + 1) + 2 * n - 1, 10 ** (n % 18 + 1) + 2 * n)
    for n, name in enumerate(CASES)
}


def find_friends(spark: SparkSession, rows: list[Row]) -> DataFrame:
    history = events_frame(spark, rows)
    window = history.where(F.col("date").between(*WINDOW))
    return friend_recomendation(
        last_positions(window), window, correspondents(history), CITIES, PROCESSED_AT, AS_OF
    )


@pytest.fixture(scope="module")
def mart(spark: SparkSession) -> list[Row]:
    found = find_friends(
        spark,
        [
            row
            for n, (name, (events, _)) in enumerate(CASES.items())
            for row in events(*IDS[name], 100 * n)
        ],
    )
    assert found.dtypes == [
        ("user_left", "bigint"),
        ("user_right", "bigint"),
        ("zone_id", "bigint"),
        ("processed_dttm", "timestamp"),
        ("local_time", "timestamp"),
    ]
    return told(found)


@pytest.mark.parametrize("name", CASES)
def test_a_pair_is_near_shares_a_channel_and_never_wrote(mart: list[Row], name: str):
    zone = CASES[name][1]
    expected = (
        []
        if zone is None
        else [(*IDS[name], zone, "2022-10-01 15:30:00.123456", LOCAL_TIMES[zone])]
    )
    assert [row for row in mart if {*row[:2]} & {*IDS[name]}] == expected


def test_all_pairs_of_a_crowd_are_found_once(spark: SparkSession):
    """Five at one place, and one who is near to none but one of two in a row, each 0.7 km from the next."""
    places = {1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0, 5: 0.0, 11: 5.0, 12: 5.7, 10: 6.4}
    rows = [subscription(user, NOON, 7, at(50.0 + km * KM, 8.0)) for user, km in places.items()]
    pairs = [
        (1, 2),
        (1, 3),
        (1, 4),
        (1, 5),
        (2, 3),
        (2, 4),
        (2, 5),
        (3, 4),
        (3, 5),
        (4, 5),
        (10, 12),
        (11, 12),
    ]
    assert [row[:2] for row in told(find_friends(spark, rows))] == sorted(pairs, key=repr)


def moved(lat: float, lon: float, km: float, bearing: float) -> tuple[float, float]:
    """Along a great circle: the direct formula on a sphere."""
    phi, lam, angle = radians(lat), radians(lon), km / 6371.0
    there = asin(sin(phi) * cos(angle) + cos(phi) * sin(angle) * cos(bearing))
    turned = atan2(sin(bearing) * sin(angle) * cos(phi), cos(angle) - sin(phi) * sin(there))
    return degrees(there), (degrees(lam + turned) + 180) % 360 - 180


def test_1_km_is_1_km_all_over_the_globe_and_in_all_directions(spark: SparkSession):
    """1,200 places spread evenly (a spiral of golden angles), some 650 km apart: one neighbour at 0.999 km, another one at 1.001 km."""
    positions, near = [], []
    for n in range(1200):
        lat, lon = degrees(asin(1 - (2 * n + 1) / 1200)), 137.50776405 * n % 360 - 180
        bearing = 2 * pi * n / 26
        positions += [
            (10 * n, lat, lon),
            (10 * n + 1, *moved(lat, lon, 0.999, bearing)),
            (10 * n + 2, *moved(lat, lon, 1.001, bearing + pi)),
        ]
        near.append((10 * n, 10 * n + 1))
    seen_there = frame(
        spark, LAST_POSITIONS, [("2022-05-01", *position, 1) for position in positions]
    )
    subscribed = events_frame(spark, [subscription(user, NOON, 7) for user, _, _ in positions])
    found = friend_recomendation(
        seen_there, subscribed, correspondents(subscribed), CITIES, PROCESSED_AT, AS_OF
    )
    assert sorted(row[:2] for row in told(found)) == near


@pytest.mark.timeout(120)
def test_a_channel_of_100_000_subscribers_of_whom_few_are_near_is_done_in_seconds(
    spark: SparkSession,
):
    """They stand on a grid, 0.02 degrees (more than 2 km) apart, and three more near one each. All pairs would be 5,000,000,000."""
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
    assert sorted(row[:2] for row in told(found)) == [
        (0, 100_000),
        (54_321, 100_001),
        (99_999, 100_002),
    ]

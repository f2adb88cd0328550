"""Mart `geo` as of Wednesday, 1 June 2022 with a depth of 28 days: Thursday, 5 May to 1 June.

The weeks of that window begin on the Mondays 2, 9, 16, 23 and 30 May; the last one is in May and in
June. One zone with users of its own is one case, and one Spark job counts all cases. Events outside
of the window matter for registrations only.
"""

from datetime import date

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_assets.lake.transform.history import first_messages
from promo_assets.lake.transform.mart_geo import geo
from promo_assets_tests.support.lake.rows import (
    NOWHERE,
    Row,
    events_frame,
    message,
    reaction,
    sorted_rows,
    subscription,
)

AS_OF, DEPTH = date(2022, 6, 1), 28
MAY, JUNE = "2022-05-01 00:00:00", "2022-06-01 00:00:00"


def monday(day: str) -> str:
    return f"2022-05-{day} 00:00:00"


# Events, given the zone's place and a user of the zone's own (and the next 9 users); the expected
# rows: week, month, week_message, week_reaction, week_subscription, week_user, month_message,
# month_reaction, month_subscription, month_user.
CASES = {
    "one message of a new user": (
        lambda here, u: [message(u, "2022-05-18 10:00:00", here)],
        [(monday("16"), MAY, 1, 0, 0, 1, 1, 0, 0, 1)],
    ),
    "reactions only": (
        lambda here, u: [
            reaction(u, "2022-05-18 10:00:00", here),
            reaction(u, "2022-05-18 10:00:00", here),
        ],
        [(monday("16"), MAY, 0, 2, 0, 0, 0, 2, 0, 0)],
    ),
    "one subscription": (
        lambda here, u: [subscription(u, "2022-05-18 10:00:00", 5, here)],
        [(monday("16"), MAY, 0, 0, 1, 0, 0, 0, 1, 0)],
    ),
    "a week begins on Monday at midnight": (
        lambda here, u: [
            reaction(u, "2022-05-22 23:59:59.999999", here),
            subscription(u, "2022-05-23 00:00:00", 5, here),
        ],
        [(monday("16"), MAY, 0, 1, 0, 0, 0, 1, 1, 0), (monday("23"), MAY, 0, 0, 1, 0, 0, 1, 1, 0)],
    ),
    "a month that ends within a week has two rows with the same counts of the week": (
        lambda here, u: [
            message(u, "2022-05-31 23:59:59.999999", here),
            message(u, "2022-06-01 00:00:00", here),
            message(u + 1, "2022-06-01 23:59:59.999999", here),
            reaction(u, "2022-05-25 10:00:00", here),
        ],
        [
            (monday("23"), MAY, 0, 1, 0, 0, 1, 1, 0, 1),
            (monday("30"), MAY, 3, 0, 0, 2, 1, 1, 0, 1),
            (monday("30"), JUNE, 3, 0, 0, 2, 2, 0, 0, 1),
        ],
    ),
    "only June": (
        lambda here, u: [reaction(u, "2022-06-01 12:00:00", here)],
        [(monday("30"), JUNE, 0, 1, 0, 0, 0, 1, 0, 0)],
    ),
    "a week that begins before the window is counted from the window's first day": (
        lambda here, u: [
            reaction(u, "2022-05-04 23:59:59.999999", here),
            message(u, "2022-05-04 10:00:00", here),
            message(u, "2022-05-05 00:00:00", here),
            subscription(u, "2022-05-08 23:59:59.999999", 5, here),
        ],
        [(monday("02"), MAY, 1, 0, 1, 0, 1, 0, 1, 0)],
    ),
    "a user who wrote before the window is not new": (
        lambda here, u: [
            message(u, "2021-05-18 10:00:00", here),
            message(u, "2022-05-18 10:00:00", here),
        ],
        [(monday("16"), MAY, 1, 0, 0, 0, 1, 0, 0, 0)],
    ),
    "a user who wrote before the window without a city is not new either": (
        lambda here, u: [
            message(u, "2022-05-04 23:59:59.999999", NOWHERE),
            message(u, "2022-05-18 10:00:00", here),
        ],
        [(monday("16"), MAY, 1, 0, 0, 0, 1, 0, 0, 0)],
    ),
    "a first message without a city is no registration, and neither is the next message": (
        lambda here, u: [
            message(u, "2022-05-18 10:00:00", NOWHERE),
            message(u, "2022-05-18 10:00:01", here),
        ],
        [(monday("16"), MAY, 1, 0, 0, 0, 1, 0, 0, 0)],
    ),
    "the next message is no registration on a later day either": (
        lambda here, u: [
            message(u, "2022-05-18 10:00:00", NOWHERE),
            message(u, "2022-05-19 10:00:00", here),
        ],
        [(monday("16"), MAY, 1, 0, 0, 0, 1, 0, 0, 0)],
    ),
    "a user who reacted or subscribed before registers with the first message": (
        lambda here, u: [
            reaction(u, "2022-04-18 10:00:00", here),
            subscription(u, "2022-05-09 10:00:00", 5, here),
            message(u, "2022-05-18 10:00:00", here),
        ],
        [(monday("09"), MAY, 0, 0, 1, 0, 1, 0, 1, 1), (monday("16"), MAY, 1, 0, 0, 1, 1, 0, 1, 1)],
    ),
    "each user registers once": (
        lambda here, u: [
            message(u, "2022-05-18 10:00:00", here),
            message(u, "2022-05-18 11:00:00", here),
            message(u, "2022-05-19 10:00:00", here),
            message(u, "2022-05-26 10:00:00", here),
            message(u + 1, "2022-05-26 10:00:00", here),
        ],
        [(monday("16"), MAY, 3, 0, 0, 1, 5, 0, 0, 2), (monday("23"), MAY, 2, 0, 0, 1, 5, 0, 0, 2)],
    ),
    "the first moment of the window belongs to it": (
        lambda here, u: [message(u, "2022-05-05 00:00:00", here)],
        [(monday("02"), MAY, 1, 0, 0, 1, 1, 0, 0, 1)],
    ),
    "an event without a city is not counted": (
        lambda here, u: [
            reaction(u, "2022-05-18 10:00:00", NOWHERE),
            subscription(u, "2022-05-18 10:00:00", 5),
            reaction(u, "2022-05-18 10:00:00", (here[0], None, None)),
        ],
        [],
    ),
    "a registration counts in the city of the first message only": (
        lambda here, u: [
            message(u, "2022-05-18 10:00:00", ELSEWHERE),
            message(u, "2022-05-18 10:00:01", here),
        ],
        [(monday("16"), MAY, 1, 0, 0, 0, 1, 0, 0, 0)],
    ),
    "of two simultaneous messages the one without an id is the registration": (
        lambda here, u: [
            message(u, "2022-05-18 10:00:00", ELSEWHERE, 1),
            message(u, "2022-05-18 10:00:00", here, None),
        ],
        [(monday("16"), MAY, 1, 0, 0, 1, 1, 0, 0, 1)],
    ),
    "then the one with the smaller id is the registration": (
        lambda here, u: [
            message(u, "2022-05-18 10:00:00", ELSEWHERE, 9),
            message(u, "2022-05-18 10:00:00", here, 10),
        ],
        [(monday("16"), MAY, 1, 0, 0, 0, 1, 0, 0, 0)],
    ),
    "then the one in the south is the registration": (
        lambda here, u: [
            message(u, "2022-05-18 10:00:00", ELSEWHERE, 9),
            message(u, "2022-05-18 10:00:00", (-50.0, 0.0, here[2]), 9),
        ],
        [(monday("16"), MAY, 1, 0, 0, 1, 1, 0, 0, 1)],
    ),
    "then the one in the west is the registration": (
        lambda here, u: [
            message(u, "2022-05-18 10:00:00", ELSEWHERE, 9),
            message(u, "2022-05-18 10:00:00", (-40.0, -179.0, here[2]), 9),
        ],
        [(monday("16"), MAY, 1, 0, 0, 1, 1, 0, 0, 1)],
    ),
}
ELSEWHERE = (-40.0, 0.0, 999_999)  # gets 5 messages of the cases above, 2 of them registrations
ZONES = {name: number for number, name in enumerate(CASES, 1)}


@pytest.fixture(scope="module")
def mart(spark: SparkSession) -> list[Row]:
    rows = [
        row
        for name, (events, _) in CASES.items()
        for row in events((0.0, 0.0, ZONES[name]), 10 * ZONES[name])
    ]
    history = events_frame(spark, rows)
    frame = geo(
        history.where(F.col("date").between("2022-05-05", "2022-06-01")),
        first_messages(history),
        AS_OF,
        DEPTH,
    )
    counts = [
        f"{period}_{kind}"
        for period in ("week", "month")
        for kind in ("message", "reaction", "subscription", "user")
    ]
    assert frame.dtypes == [
        ("zone_id", "bigint"),
        ("week", "timestamp"),
        ("month", "timestamp"),
        *((name, "bigint") for name in counts),
    ]
    return sorted_rows(frame)


@pytest.mark.parametrize("name", CASES)
def test_a_zone_is_counted_by_week_and_month(mart: list[Row], name: str):
    assert sorted(row[1:] for row in mart if row[0] == ZONES[name]) == sorted(CASES[name][1])


def test_a_zone_does_not_count_events_of_other_zones(mart: list[Row]):
    assert [row[1:] for row in mart if row[0] == ELSEWHERE[2]] == [
        (monday("16"), MAY, 5, 0, 0, 2, 5, 0, 0, 2)
    ]
    assert {row[0] for row in mart} <= {*ZONES.values(), ELSEWHERE[2]}


def test_the_depth_decides_which_first_messages_are_registrations(spark: SparkSession):
    rows = [
        message(1, "2022-05-31 23:59:59.999999", (0.0, 0.0, 1)),
        message(2, "2022-06-01 00:00:00", (0.0, 0.0, 1)),
    ]
    history = events_frame(spark, rows).cache()
    last_day = geo(history.where("date = '2022-06-01'"), first_messages(history), AS_OF, 1)
    assert sorted_rows(last_day) == [(1, monday("30"), JUNE, 1, 0, 0, 1, 1, 0, 0, 1)]
    assert sorted_rows(geo(history, first_messages(history), AS_OF, 2)) == [
        (1, monday("30"), MAY, 2, 0, 0, 2, 1, 0, 0, 1),
        (1, monday("30"), JUNE, 2, 0, 0, 2, 1, 0, 0, 1),
    ]


def test_no_events_give_no_zones(spark: SparkSession):
    nothing = events_frame(spark, [])
    assert sorted_rows(geo(nothing, first_messages(nothing), AS_OF, DEPTH)) == []

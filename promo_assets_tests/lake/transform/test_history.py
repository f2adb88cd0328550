"""History: visits, first messages, correspondents and last positions. One user is one case."""

from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_assets.lake.transform import history
from promo_assets_tests.support.lake.rows import (
    ADELAIDE,
    NOWHERE,
    PERTH,
    SYDNEY,
    events_frame,
    message,
    reaction,
    sorted_rows,
    subscription,
)

DAY, NEXT = "2022-05-28", "2022-05-29"
NOON = f"{DAY} 12:00:00"
# Places that differ in latitude or longitude, which decide the order of simultaneous messages.
WEST, EAST, SOUTH, LAT_ONLY = (0.0, 115.0, 2), (0.0, 150.0, 1), (-1.0, 150.0, 3), (0.0, None, None)


@pytest.fixture
def check(spark: SparkSession):
    """A function that checks cases of a table.

    A case is: name -> the user's events, given the user, and the expected rows without the user.
    """

    def check_cases(table: Callable[[DataFrame], DataFrame], cases: dict) -> None:
        users = list(enumerate(cases.values(), 1))
        events = [row for user, (make_events, _) in users for row in make_events(user)]
        expected = [(row[0], user, *row[1:]) for user, (_, rows) in users for row in rows]
        assert sorted_rows(table(events_frame(spark, events))) == sorted(expected, key=repr)

    return check_cases


def at(time: str, day: str = DAY) -> str:
    return f"{day} {time}"


# name -> the user's events; date, visit_number, city_id, first_message_at, last_message_at
VISITS = {
    "one message": (lambda u: [message(u, NOON, PERTH)], [(DAY, 1, 2, NOON, NOON)]),
    "there and back are three visits": (
        lambda u: [
            message(u, at("08:00:00"), SYDNEY),
            message(u, at("09:00:00"), SYDNEY),
            message(u, at("10:00:00"), PERTH),
            message(u, at("11:00:00.000001"), SYDNEY),
            message(u, at("23:59:59.999999"), SYDNEY),
        ],
        [
            (DAY, 1, 1, at("08:00:00"), at("09:00:00")),
            (DAY, 2, 2, at("10:00:00"), at("10:00:00")),
            (DAY, 3, 1, at("11:00:00.000001"), at("23:59:59.999999")),
        ],
    ),
    "messages without a city and other events do not interrupt a visit": (
        lambda u: [
            message(u, at("08:00:00"), SYDNEY),
            message(u, at("09:00:00"), NOWHERE),
            reaction(u, at("10:00:00"), PERTH),
            subscription(u, at("11:00:00"), 5, ADELAIDE),
            message(u, at("12:00:00"), SYDNEY),
            message(u, at("13:00:00"), NOWHERE),
        ],
        [(DAY, 1, 1, at("08:00:00"), at("12:00:00"))],
    ),
    "no message has a city": (
        lambda u: [
            message(u, NOON, NOWHERE),
            reaction(u, NOON, PERTH),
            subscription(u, NOON, 5, PERTH),
        ],
        [],
    ),
    "a visit ends with the day, and numbers restart": (
        lambda u: [
            message(u, at("08:00:00"), PERTH),
            message(u, at("23:59:59.999999"), SYDNEY),
            message(u, at("00:00:00", NEXT), SYDNEY),
            message(u, at("01:00:00", NEXT), PERTH),
        ],
        [
            (DAY, 1, 2, at("08:00:00"), at("08:00:00")),
            (DAY, 2, 1, at("23:59:59.999999"), at("23:59:59.999999")),
            (NEXT, 1, 1, at("00:00:00", NEXT), at("00:00:00", NEXT)),
            (NEXT, 2, 2, at("01:00:00", NEXT), at("01:00:00", NEXT)),
        ],
    ),
    "of simultaneous messages the one without an id is first, then the smaller id": (
        lambda u: [
            message(u, NOON, SYDNEY, 10),
            message(u, NOON, PERTH, 9),
            message(u, NOON, ADELAIDE, None),
            message(u, NOON, WEST, -5),
        ],
        [(DAY, 1, 3, NOON, NOON), (DAY, 2, 2, NOON, NOON), (DAY, 3, 1, NOON, NOON)],
    ),
    "with the same id the smaller latitude is first, then the smaller longitude": (
        lambda u: [
            message(u, NOON, EAST, 5),
            message(u, NOON, WEST, 5),
            message(u, NOON, SOUTH, 5),
        ],
        [(DAY, 1, 3, NOON, NOON), (DAY, 2, 2, NOON, NOON), (DAY, 3, 1, NOON, NOON)],
    ),
    "the same order applies to messages without an id": (
        lambda u: [
            message(u, NOON, EAST),
            message(u, NOON, WEST),
            message(u, NOON, SOUTH),
            message(u, at("12:00:00.000001"), WEST, -9),
        ],
        [
            (DAY, 1, 3, NOON, NOON),
            (DAY, 2, 2, NOON, NOON),
            (DAY, 3, 1, NOON, NOON),
            (DAY, 4, 2, *[at("12:00:00.000001")] * 2),
        ],
    ),
    "the same message twice is one visit": (
        lambda u: [message(u, NOON, PERTH, 5)] * 2,
        [(DAY, 1, 2, NOON, NOON)],
    ),
}


def test_a_visit_is_a_run_of_messages_in_one_city(check):
    check(history.visits, VISITS)


# name -> the user's events; date, city_id
FIRST_MESSAGES = {
    "the earliest message of each day": (
        lambda u: [
            message(u, at("10:00:00"), PERTH, 1),
            message(u, at("09:59:59.999999"), SYDNEY, 2),
            message(u, at("23:00:00", NEXT), ADELAIDE),
        ],
        [(DAY, 1), (NEXT, 3)],
    ),
    "a message without a city is still the first": (
        lambda u: [message(u, at("10:00:00"), PERTH), message(u, at("09:00:00"), NOWHERE)],
        [(DAY, None)],
    ),
    "other events are not messages": (
        lambda u: [
            reaction(u, at("09:00:00"), SYDNEY),
            subscription(u, at("09:30:00"), 5, SYDNEY),
            message(u, at("10:00:00"), PERTH),
        ],
        [(DAY, 2)],
    ),
    "a user who only reacts has no first message": (
        lambda u: [reaction(u, NOON, SYDNEY), subscription(u, NOON, 5, SYDNEY)],
        [],
    ),
    "of simultaneous messages the one without an id": (
        lambda u: [
            message(u, NOON, SYDNEY, 1),
            message(u, NOON, PERTH, None),
            message(u, NOON, ADELAIDE, -1),
        ],
        [(DAY, 2)],
    ),
    "then the smaller id": (
        lambda u: [message(u, NOON, SYDNEY, 10), message(u, NOON, PERTH, 9)],
        [(DAY, 2)],
    ),
    "then the smaller latitude": (
        lambda u: [message(u, NOON, WEST, 5), message(u, NOON, SOUTH, 5)],
        [(DAY, 3)],
    ),
    "then the smaller longitude": (
        lambda u: [message(u, NOON, EAST, 5), message(u, NOON, WEST, 5)],
        [(DAY, 2)],
    ),
    "a null longitude comes first": (
        lambda u: [message(u, NOON, WEST, 5), message(u, NOON, LAT_ONLY, 5)],
        [(DAY, None)],
    ),
}


def test_the_first_message_of_a_day_may_lack_a_city(check):
    check(history.first_messages, FIRST_MESSAGES)


# name -> the user's events; date, latitude, longitude, city_id
LAST_POSITIONS = {
    "the latest position of each day, from an event of any type": (
        lambda u: [
            subscription(u, at("10:00:00"), 5, PERTH),
            reaction(u, at("09:59:59.999999"), SYDNEY),
            message(u, at("08:00:00"), SYDNEY),
            reaction(u, at("00:00:00", NEXT), ADELAIDE),
        ],
        [(DAY, *PERTH), (NEXT, *ADELAIDE)],
    ),
    "an event without a position changes nothing": (
        lambda u: [
            message(u, at("08:00:00"), SYDNEY),
            message(u, at("09:00:00"), NOWHERE),
            reaction(u, at("10:00:00"), LAT_ONLY),
        ],
        [(DAY, *SYDNEY)],
    ),
    "a user without a position has no row": (
        lambda u: [message(u, NOON, NOWHERE), subscription(u, NOON, 5)],
        [],
    ),
    "of simultaneous events the largest id, whatever the type": (
        lambda u: [
            reaction(u, NOON, SYDNEY, 9),
            message(u, NOON, PERTH, 10),
            subscription(u, NOON, 5, ADELAIDE),
        ],
        [(DAY, *PERTH)],
    ),
    "an event with an id comes after one without": (
        lambda u: [message(u, NOON, SYDNEY, -1), subscription(u, NOON, 5, PERTH)],
        [(DAY, *SYDNEY)],
    ),
    "then the larger latitude": (
        lambda u: [message(u, NOON, WEST, 5), reaction(u, NOON, SOUTH, 5)],
        [(DAY, *WEST)],
    ),
    "then the larger longitude": (
        lambda u: [message(u, NOON, EAST, 5), reaction(u, NOON, WEST, 5)],
        [(DAY, *EAST)],
    ),
}


def test_the_last_position_of_a_day_is_that_of_the_last_event_with_a_position(check):
    check(history.last_positions, LAST_POSITIONS)


def test_two_correspondents_are_one_row_a_day_whoever_wrote(spark: SparkSession):
    rows = [
        message(1, NOON, NOWHERE, to=2),
        message(1, NOON, PERTH, to=2),
        message(2, at("13:00:00"), SYDNEY, to=1),
        message(2, at("00:00:00", NEXT), NOWHERE, to=1),
        message(9, NOON, NOWHERE, to=3),
        message(10, NOON, NOWHERE, to=9),
        message(4, NOON, NOWHERE, to=4),  # to oneself
        message(5, NOON, NOWHERE, to=None, channel=6),
        message(0, NOON, NOWHERE, to=2**63 - 1),
        (DAY, 7, None, 8, None, NOON, *NOWHERE, "reaction"),  # the author of the message reacted to
        (DAY, 7, None, 8, None, NOON, *NOWHERE, "subscription"),
    ]
    pairs = [(DAY, 1, 2), (NEXT, 1, 2), (DAY, 3, 9), (DAY, 9, 10), (DAY, 0, 2**63 - 1)]
    assert sorted_rows(history.correspondents(events_frame(spark, rows))) == sorted(pairs, key=repr)


def test_an_empty_day_has_no_history(spark: SparkSession):
    tables = (
        history.visits,
        history.first_messages,
        history.correspondents,
        history.last_positions,
    )
    assert [sorted_rows(table(events_frame(spark, []))) for table in tables] == [[], [], [], []]

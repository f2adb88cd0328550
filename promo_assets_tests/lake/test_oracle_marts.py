"""The oracle's marts `users` and `geo` are compared with rows worked out by hand."""

from datetime import date, datetime
from pathlib import Path

import pytest

from promo_assets_tests.support.lake.oracle_world import (
    DAY,
    EAST,
    NORTH,
    NOWHERE,
    WEST,
    open_oracle,
)
from promo_assets_tests.support.lake.raw import message, reaction, subscription


@pytest.mark.parametrize(
    ("leaves_at", "home"), [("2022-05-28 00:00:00", None), ("2022-05-28 00:00:01", "East")]
)
def test_home_is_where_a_visit_lasted_more_than_27_days(
    tmp_path: Path, leaves_at: str, home: str | None
):
    """A visit lasts from 1 May 00:00 until the first message of the next visit.

    A message without a city and an event of another type do not end it.
    """
    oracle = open_oracle(
        tmp_path,
        message(1, "2022-05-01 00:00:00", EAST),
        message(1, "2022-05-26 10:00:00", NOWHERE),
        reaction("1", "2022-05-27 10:00:00", WEST),
        message(1, leaves_at, WEST),
    )
    at_perth = datetime.fromisoformat(leaves_at).replace(hour=8)
    assert oracle.users(DAY, 28) == [(1, "West", home, 2, ["East", "West"], at_perth)]
    assert oracle.users(DAY, 1) == [(1, "West", home, 1, ["West"], at_perth)]


@pytest.mark.parametrize(
    ("arrives_at", "as_of", "home"),
    [
        ("2022-05-01 00:00:00", date(2022, 5, 27), None),  # 27 days to 24:00
        ("2022-04-30 23:59:59.5", date(2022, 5, 27), "East"),
        ("2022-05-01 00:00:00", date(2022, 5, 28), "East"),
    ],
)
def test_the_current_visit_lasts_to_the_end_of_the_day(
    tmp_path: Path, arrives_at: str, as_of: date, home: str | None
):
    """Messages of later days are not known yet."""
    oracle = open_oracle(
        tmp_path, message(1, arrives_at, EAST), message(1, "2022-05-29 00:00:00", WEST)
    )
    ((_, *row, _),) = oracle.users(as_of, 40)
    assert row == ["East", home, 1, ["East"]]


def test_home_is_the_last_of_the_long_visits_even_outside_of_the_window(tmp_path: Path):
    oracle = open_oracle(
        tmp_path,
        message(1, "2022-01-01 10:00:00", EAST),  # to 1 March
        message(1, "2022-03-01 10:00:00", WEST),  # to 1 April: the last of more than 27 days
        message(1, "2022-04-01 10:00:00", EAST),
        message(1, "2022-04-20 10:00:00", NORTH),
        message(1, "2022-05-15 10:00:00", EAST),
        message(2, "2022-04-01 10:00:00", EAST),  # no message in the window
        message(3, "2022-05-28 10:00:00", NOWHERE),  # none with a city
        reaction("4", "2022-05-28 10:00:00", EAST),
    )
    assert oracle.users(DAY, 28) == [(1, "East", "West", 1, ["East"], datetime(2022, 5, 15, 20))]


def test_messages_of_one_second_are_ordered_by_id_nulls_first_then_latitude_then_longitude(
    tmp_path: Path,
):
    second = "2022-05-28 10:00:00"
    oracle = open_oracle(
        tmp_path,
        message(1, second, WEST, -5),
        message(1, second, EAST, None),
        message(2, second, EAST, 1),
        message(2, second, NORTH, 1),
        message(3, second, EAST, None),
        message(3, second, WEST, None),
        message(5, second, (59.0, 10.0), 1),
        message(5, second, (1.0, 11.0), 1),
        message(4, "2022-05-28 10:00:00.000001", EAST, None),
        message(4, second, NORTH, 9),
    )
    cities = {user: (last, travel) for user, last, _, _, travel, _ in oracle.users(DAY, 28)}
    assert cities == {
        1: ("West", ["East", "West"]),
        2: ("North", ["East", "North"]),
        3: ("East", ["West", "East"]),
        4: ("East", ["North", "East"]),
        5: ("North", ["East", "North"]),
    }


def test_local_time_respects_summer_time(tmp_path: Path):
    oracle = open_oracle(
        tmp_path,
        message(1, "2022-01-15 13:30:00", EAST),
        message(2, "2022-01-15 13:30:00.25", WEST),
    )
    assert sorted(row[5] for row in oracle.users(date(2022, 1, 15), 1)) == [
        datetime(2022, 1, 15, 21, 30, 0, 250_000),
        datetime(2022, 1, 16, 0, 30),
    ]


def test_a_week_over_two_months_is_counted_whole(tmp_path: Path):
    """Monday is 30 May 2022, the first day of the window as of 2 June with a depth of 4 days."""
    oracle = open_oracle(
        tmp_path,
        message(1, "2022-05-29 10:00:00", EAST),  # before the window: no registration, no message
        message(1, "2022-05-30 10:00:00", EAST),
        message(2, "2022-05-31 10:00:00", EAST),
        message(2, "2022-05-31 10:00:00", NOWHERE),
        reaction("3", "2022-06-01 10:00:00", EAST),
        subscription("3", "2022-06-02 10:00:00", WEST, 1),
        message(4, "2022-06-03 10:00:00", EAST),  # after the day
    )
    monday, may, june = datetime(2022, 5, 30), datetime(2022, 5, 1), datetime(2022, 6, 1)
    assert sorted(oracle.geo(date(2022, 6, 2), 4)) == [
        (1, monday, may, 2, 1, 0, 0, 2, 0, 0, 0),
        (1, monday, june, 2, 1, 0, 0, 0, 1, 0, 0),
        (2, monday, june, 0, 0, 1, 0, 0, 0, 1, 0),
    ]


def test_registrations_are_first_messages_ever_in_their_city(tmp_path: Path):
    oracle = open_oracle(
        tmp_path,
        message(1, "2022-01-01 10:00:00", WEST),  # long before the window
        message(1, "2022-05-28 10:00:00", EAST),
        message(2, "2022-05-28 10:00:00", NOWHERE),  # without a city: not counted
        message(2, "2022-05-28 10:00:01", EAST),
        reaction("3", "2022-05-27 10:00:00", WEST, 1),  # no message
        message(3, "2022-05-28 10:00:00", EAST, None),
        message(3, "2022-05-28 10:00:00", WEST, 0),
        message(4, "2022-05-28 10:00:00", (59.0, 10.0), 1),
        message(4, "2022-05-28 10:00:00", (1.0, 11.0), 1),  # the smaller latitude is the first
    )
    monday, may = datetime(2022, 5, 23), datetime(2022, 5, 1)
    assert sorted(oracle.geo(DAY, 2)) == [
        (1, monday, may, 4, 0, 0, 2, 4, 0, 0, 2),
        (2, monday, may, 1, 1, 0, 0, 1, 1, 0, 0),
        (3, monday, may, 1, 0, 0, 0, 1, 0, 0, 0),
    ]

"""The oracle is suspect too: it is held against rows worked out by hand."""

from collections import defaultdict
from datetime import date, datetime
from pathlib import Path

import pytest

from promo_assets_tests.support.lake.generated import (
    SHIPPED_CITIES,
    message,
    reaction,
    subscription,
    write_day,
    write_generated,
)
from promo_assets_tests.support.lake.oracle import Oracle, comparable

# On the equator, 10 degrees to both sides of Greenwich, and one in the north. A degree of latitude is 6371 π / 180 = 111.194927 km.
CITIES = """id;city;lat;lng;timezone
1;East;0,0;10,0;Australia/Sydney
2;West;0,0;-10,0;Australia/Perth
3;North;60.5;10.0;UTC
"""
EAST, WEST, NORTH, NOWHERE = (0.0, 10.0), (0.0, -10.0), (60.5, 10.0), (None, None)
DAY = date(2022, 5, 28)


@pytest.fixture
def lake(tmp_path: Path):
    """Makes the oracle of these rows of RAW, each in the partition that its time begins with."""

    def of(*rows: dict, cities: str = CITIES) -> Oracle:
        rows_of = defaultdict(list)
        for row in rows:
            rows_of[
                date.fromisoformat(
                    (row["event"].get("datetime") or row["event"]["message_ts"])[:10]
                )
            ].append(row)
        for day, its_rows in rows_of.items():
            write_day(tmp_path / "events", day, its_rows)
        (tmp_path / "geo.csv").write_text(cities)
        return Oracle(tmp_path / "events", tmp_path / "geo.csv")

    return of


def test_events_are_typed_by_their_type(lake):
    oracle = lake(
        message(
            7,
            "2022-05-28T10:00:00.5",
            EAST,
            1,
            8,
            message_channel_to=30,
            channel_id=31,
            subscription_channel=32,
        ),
        reaction(
            "007",
            "2022-05-28 10:00:00.1234567",
            (0.0, None),
            2,
            channel_id=31,
            message_channel_to=30,
            message_ts="rubbish",
        ),
        subscription(
            "9223372036854775807",
            "2022-05-28 23:59:59",
            WEST,
            32,
            subscription_user="1",
            channel_id=31,
        ),
        subscription(
            None,
            "2022-05-28 00:00:00",
            NOWHERE,
            None,
            subscription_user="5",
            message_channel_to=30,
            channel_id=31,
        ),
        reaction("0" * 30 + "7", "2022-05-28 00:00:00", (90.0, 180.0), message_channel_to=30),
        message(0, "2022-05-28 00:00:00", (90.0, -180.0), channel_id=31),
    )
    assert oracle.rejected() == []
    assert comparable(oracle.events()) == comparable(
        [
            (7, 1, 8, 30, datetime(2022, 5, 28, 10, 0, 0, 500_000), 0.0, 10.0, 1, "message", DAY),
            (
                7,
                2,
                None,
                31,
                datetime(2022, 5, 28, 10, 0, 0, 123_456),
                0.0,
                None,
                None,
                "reaction",
                DAY,
            ),
            (
                2**63 - 1,
                None,
                None,
                32,
                datetime(2022, 5, 28, 23, 59, 59),
                0.0,
                -10.0,
                2,
                "subscription",
                DAY,
            ),
            (5, None, None, None, datetime(2022, 5, 28), None, None, None, "subscription", DAY),
            (7, None, None, None, datetime(2022, 5, 28), 90.0, 180.0, 3, "reaction", DAY),
            (0, None, None, None, datetime(2022, 5, 28), 90.0, -180.0, 3, "message", DAY),
        ]
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        *((message(user, "2022-05-28 10:00:00", EAST), "no user") for user in (None, -7)),
        *(
            (reaction(user, "2022-05-28 10:00:00", EAST), "no user")
            for user in ("", "-7", "+7", " 7", "7\n", "٧", "7.0", "1_0", str(2**63))
        ),
        *(
            (subscription(user, "2022-05-28 10:00:00", EAST, subscription_user="1"), "no user")
            for user in ("x", "")
        ),
        *(
            (message(1, f"2022-05-28{rest}", EAST), "no readable time")
            for rest in (
                "",
                " 24:00:00",
                " 10:00",
                " 10:00:60",
                " 10:00:00.",
                " 10:00:00Z",
                " 10:00:00+00",
                " 10:00:00 ",
                "t10:00:00",
            )
        ),
        (
            message(
                1,
                "2022-05-28 10:00:00",
                EAST,
                datetime="2022-02-30 10:00:00",
                message_ts="2022-05-28 10:00:00",
            ),
            "no readable time",
        ),
        (message(1, "2022-05-28 10:00:00", EAST, datetime=""), "no readable time"),
        *(
            (message(1, "2022-05-28 10:00:00", place), "position out of range")
            for place in (
                (90.1, 0.0),
                (-90.1, None),
                (0.0, 180.1),
                (None, -180.1),
                (float("nan"), 0.0),
                (0.0, float("-inf")),
            )
        ),
        *(
            (message(1, "2022-05-28 10:00:00", EAST) | {"event_type": other}, "unknown type")
            for other in (None, "Message", "story")
        ),
    ],
)
def test_an_unusable_event_is_rejected_for_its_reason(lake, tmp_path: Path, row: dict, reason: str):
    write_day(tmp_path / "events", DAY, [row])
    oracle = lake()
    assert oracle.events() == []
    ((event, event_type, _, _, reasons, day),) = oracle.rejected()
    assert (event["message_ts"], event_type, day) == (
        row["event"].get("message_ts"),
        row["event_type"],
        DAY,
    )
    assert reason in reasons and set(reasons) <= {reason, "no user"}


def test_an_event_of_another_day_is_rejected_to_the_microsecond(lake, tmp_path: Path):
    times = (
        "2022-05-27 23:59:59.9999999",
        "2022-05-28 00:00:00",
        "2022-05-28 23:59:59.9999999",
        "2022-05-29 00:00:00",
    )
    write_day(tmp_path / "events", DAY, [message(1, at, EAST) for at in times])
    oracle = lake()
    assert sorted(row[4] for row in oracle.events()) == [
        datetime(2022, 5, 28),
        datetime(2022, 5, 28, 23, 59, 59, 999_999),
    ]
    assert sorted((row[0]["message_ts"], row[4]) for row in oracle.rejected()) == [
        (times[0], ["time outside the partition's day"]),
        (times[3], ["time outside the partition's day"]),
    ]


def test_an_event_that_is_null_is_rejected(lake, tmp_path: Path):
    write_day(tmp_path / "events", DAY, [message(1, "", EAST) | {"event": None}])
    assert lake().rejected() == [(None, "message", 0.0, 10.0, ["no user", "no readable time"], DAY)]


# 10 degrees of longitude on the equator are 1111.949266445587 km; 1e-12 degrees more are 1.1e-10 km more
@pytest.mark.parametrize(
    ("lon_of_first", "nearest"),
    [("10,0", 1), ("10.000000000001", 1), ("10.00000001", 2), ("9.99999999", 1)],
)
def test_a_tie_of_cities_goes_to_the_smaller_id(lake, lon_of_first: str, nearest: int):
    cities = f"id;city;lat;lon;timezone\n2;West;0;-10;UTC\n1;East;0;{lon_of_first};UTC\n"
    ((*_, city_id, _, _),) = lake(
        message(1, "2022-05-28 10:00:00", (0.0, 0.0)), cities=cities
    ).events()
    assert city_id == nearest


def test_the_nearest_city_is_found_across_the_180th_meridian_and_by_great_circle(lake):
    # (0, 170) is 15 degrees of longitude from West. (60.5, 14) is 14 of longitude from High, each half as long as one of latitude there:
    # nearer than 7.5 degrees of latitude
    cities = "id;city;lat;lng;timezone\n1;East;0;150;UTC\n2;West;0;-175;UTC\n3;High;60,5;0;UTC\n4;Higher;68;17;UTC\n"
    rows = (
        message(1, "2022-05-28 10:00:00", (0.0, 170.0)),
        message(2, "2022-05-28 10:00:00", (60.5, 14.0)),
    )
    assert sorted((row[0], row[7]) for row in lake(*rows, cities=cities).events()) == [
        (1, 2),
        (2, 3),
    ]


@pytest.mark.parametrize(
    ("leaves_at", "home"), [("2022-05-28 00:00:00", None), ("2022-05-28 00:00:01", "East")]
)
def test_home_is_where_a_visit_lasted_more_than_27_days(lake, leaves_at: str, home: str | None):
    """From 1 May 00:00 to the first message of the next visit: 27 days, and a second more. Without a city, or a message, nothing ends."""
    oracle = lake(
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
    lake, arrives_at: str, as_of: date, home: str | None
):
    """What comes on a later day is not known yet."""
    oracle = lake(message(1, arrives_at, EAST), message(1, "2022-05-29 00:00:00", WEST))
    ((_, *row, _),) = oracle.users(as_of, 40)
    assert row == ["East", home, 1, ["East"]]


def test_home_is_the_last_of_the_long_visits_even_outside_of_the_window(lake):
    oracle = lake(
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


def test_messages_of_one_second_are_ordered_by_id_nulls_first_then_latitude_then_longitude(lake):
    second = "2022-05-28 10:00:00"
    oracle = lake(
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


def test_local_time_knows_summer_time(lake):
    oracle = lake(
        message(1, "2022-01-15 13:30:00", EAST), message(2, "2022-01-15 13:30:00.25", WEST)
    )
    assert sorted(row[5] for row in oracle.users(date(2022, 1, 15), 1)) == [
        datetime(2022, 1, 15, 21, 30, 0, 250_000),
        datetime(2022, 1, 16, 0, 30),
    ]


def test_a_week_over_two_months_is_counted_whole(lake):
    """Monday is 30 May 2022; as of 2 June to a depth of 4 days the window begins with it."""
    oracle = lake(
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


def test_registrations_are_first_messages_ever_in_their_city(lake):
    oracle = lake(
        message(1, "2022-01-01 10:00:00", WEST),  # long before the window
        message(1, "2022-05-28 10:00:00", EAST),
        message(2, "2022-05-28 10:00:00", NOWHERE),  # without a city: nowhere counted
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


def friends_at(left: tuple[float, float], right: tuple[float, float]) -> list[dict]:
    """User 1 there and user 2 here, both subscribed to channel 5."""
    return [
        message(1, "2022-05-28 10:00:00", left),
        reaction("2", "2022-05-20 10:00:00", right),
        subscription("1", "2022-05-27 10:00:00", NOWHERE, 5),
        subscription("2", "2022-05-26 10:00:00", NOWHERE, 5),
    ]


@pytest.mark.parametrize(
    ("left", "right", "zone"),
    [
        ((0.0, 10.0), (-0.008984, 10.0), 1),  # 0.998975 km
        ((0.0, 10.0), (-0.009003, 10.0), None),  # 1.001088 km
        ((0.0, 10.0), (0.00899312, 10.0), 1),  # a kilometre is 0.00899322 degrees
        ((0.0, 10.0), (0.00899331, 10.0), None),
        ((0.0, -0.002), (0.0, 0.002), 2),  # between two cities it is the left one's
        (
            (60.0, 10.0),
            (60.0, 10.017968),
            3,
        ),  # a degree of longitude is half as long there: 0.99897 km
        ((60.0, 10.0), (60.0, 10.018006), None),  # 1.00109 km
        ((0.0, 179.996), (0.0, -179.996), 3),  # 0.008 degrees: 0.88956 km
        ((0.0, 179.995), (0.0, -179.995), None),  # 0.01 degrees: 1.11195 km
        ((89.996, 0.0), (89.996, 180.0), 3),  # over the pole, 0.008 degrees
        ((-89.995, 0.0), (-89.995, 180.0), None),
        ((90.0, 5.0), (90.0, -120.0), 3),  # one point
    ],
)
def test_friends_are_within_a_kilometre(lake, left: tuple, right: tuple, zone: int | None):
    assert lake(*friends_at(left, right)).friends(DAY, 28) == (
        [] if zone is None else [(1, 2, zone)]
    )


@pytest.mark.parametrize(
    ("rows", "are_friends"),
    [
        ([], True),
        ([message(1, "2021-01-01 10:00:00", NOWHERE, 1, 2)], False),
        ([message(2, "2021-01-01 10:00:00", NOWHERE, 1, 1)], False),
        (
            [
                message(1, "2021-01-01 10:00:00", NOWHERE, 1, 1),
                message(2, "2021-01-01 10:00:00", NOWHERE, 1, 3),
            ],
            True,
        ),
        ([message(1, "2022-05-29 10:00:00", NOWHERE, 1, 2)], True),  # after the day
        ([message(1, "2021-01-01 10:00:00", (91.0, 0.0), 1, 2)], True),  # rejected
        (
            [reaction("2", "2022-05-20 10:00:00", WEST, 1)],
            False,
        ),  # same second, null first: last seen far away
        ([reaction("2", "2022-05-20 10:00:00", (0.0, None), 1)], True),  # no position
        (
            [reaction("2", "2022-05-20 10:00:00", (-1.0, 11.0))],
            True,
        ),  # same second: the greater latitude is the later, then the longitude
        ([reaction("2", "2022-05-20 10:00:00", (1.0, 9.0))], False),
        ([reaction("2", "2022-05-20 10:00:00", (0.0, 9.0))], True),
    ],
)
def test_friends_never_wrote_to_each_other_and_are_where_last_seen(
    lake, rows: list[dict], are_friends: bool
):
    assert lake(*friends_at(EAST, EAST), *rows).friends(DAY, 28) == (
        [(1, 2, 1)] if are_friends else []
    )


def test_positions_and_subscriptions_are_those_of_the_window(lake):
    pair = friends_at(EAST, EAST)
    as_it_is = lake(*pair)
    assert as_it_is.friends(DAY, 9) == [(1, 2, 1)]  # 20 May, when 2 was last seen, is the first day
    assert as_it_is.friends(DAY, 8) == []
    seen_again = lake(*pair, reaction("2", "2022-05-28 10:00:00", EAST))
    assert seen_again.friends(DAY, 3) == [(1, 2, 1)]  # 26 May, when 2 subscribed, is the first day
    assert seen_again.friends(DAY, 2) == []


def test_a_channel_is_shared_by_subscriptions_only(lake):
    others = [
        subscription("1", "2022-05-28 10:00:00", NOWHERE, None),
        subscription("2", "2022-05-28 10:00:00", EAST, None),
        subscription("2", "2022-05-28 10:00:00", EAST, 6, channel_id=5),
        reaction("2", "2022-05-28 10:00:00", EAST, channel_id=5),
        message(2, "2022-05-28 10:00:00", EAST, message_channel_to=5),
    ]
    assert lake(*friends_at(EAST, EAST)[:3], *others).friends(DAY, 28) == []


def test_the_generator_repeats_itself_and_leaves_no_rule_untried(tmp_path: Path):
    for name in ("one", "two"):
        write_generated(tmp_path / name, 1, DAY, 62, 3000)
    one, two = (Oracle(tmp_path / name, SHIPPED_CITIES) for name in ("one", "two"))
    assert comparable(one.events()) == comparable(two.events())
    assert len(one.events()) + len(one.rejected()) == 3000
    assert 0.005 < len(one.rejected()) / 3000 < 0.04
    assert len({reason for row in one.rejected() for reason in row[4]}) == 5
    assert {row[2] is None for row in one.users(DAY, 28)} == {True, False}
    assert any(row[6] for row in one.geo(DAY, 7)) and one.friends(DAY, 28) and one.friends(DAY, 7)

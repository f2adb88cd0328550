"""The oracle may be wrong, too: its events are compared with rows worked out by hand."""

from datetime import datetime
from pathlib import Path

import pytest

from promo_assets_tests.support.lake.generated import SHIPPED_CITIES, write_generated
from promo_assets_tests.support.lake.oracle import Oracle, comparable
from promo_assets_tests.support.lake.oracle_world import DAY, EAST, NOWHERE, WEST, open_oracle
from promo_assets_tests.support.lake.raw import message, reaction, subscription, write_day


def test_columns_of_an_event_depend_on_its_type(tmp_path: Path):
    oracle = open_oracle(
        tmp_path,
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
def test_an_unusable_event_is_rejected_for_its_reason(tmp_path: Path, row: dict, reason: str):
    write_day(tmp_path / "events", DAY, [row])
    oracle = open_oracle(tmp_path)
    assert oracle.events() == []
    ((event, event_type, _, _, reasons, day),) = oracle.rejected()
    assert (event["message_ts"], event_type, day) == (
        row["event"].get("message_ts"),
        row["event_type"],
        DAY,
    )
    assert reason in reasons and set(reasons) <= {reason, "no user"}


def test_an_event_of_another_day_is_rejected_to_the_microsecond(tmp_path: Path):
    times = (
        "2022-05-27 23:59:59.9999999",
        "2022-05-28 00:00:00",
        "2022-05-28 23:59:59.9999999",
        "2022-05-29 00:00:00",
    )
    write_day(tmp_path / "events", DAY, [message(1, at, EAST) for at in times])
    oracle = open_oracle(tmp_path)
    assert sorted(row[4] for row in oracle.events()) == [
        datetime(2022, 5, 28),
        datetime(2022, 5, 28, 23, 59, 59, 999_999),
    ]
    assert sorted((row[0]["message_ts"], row[4]) for row in oracle.rejected()) == [
        (times[0], ["time outside the partition's day"]),
        (times[3], ["time outside the partition's day"]),
    ]


def test_an_event_that_is_null_is_rejected(tmp_path: Path):
    write_day(tmp_path / "events", DAY, [message(1, "", EAST) | {"event": None}])
    assert open_oracle(tmp_path).rejected() == [
        (None, "message", 0.0, 10.0, ["no user", "no readable time"], DAY)
    ]


# 10 degrees of longitude on the equator are 1111.949266445587 km; 1e-12 degrees more are 1.1e-10 km
# more.
@pytest.mark.parametrize(
    ("lon_of_first", "nearest"),
    [("10,0", 1), ("10.000000000001", 1), ("10.00000001", 2), ("9.99999999", 1)],
)
def test_a_tie_of_cities_goes_to_the_smaller_id(tmp_path: Path, lon_of_first: str, nearest: int):
    cities = f"id;city;lat;lon;timezone\n2;West;0;-10;UTC\n1;East;0;{lon_of_first};UTC\n"
    oracle = open_oracle(tmp_path, message(1, "2022-05-28 10:00:00", (0.0, 0.0)), cities=cities)
    ((*_, city_id, _, _),) = oracle.events()
    assert city_id == nearest


def test_the_nearest_city_is_found_across_the_180th_meridian_and_by_great_circle(tmp_path: Path):
    # (0, 170) is 15 degrees of longitude from West. (60.5, 14) is 14 degrees of longitude from
    # High, which are half as long as degrees of latitude there: nearer than 7.5 degrees north.
    cities = (
        "id;city;lat;lng;timezone\n"
        "1;East;0;150;UTC\n2;West;0;-175;UTC\n3;High;60,5;0;UTC\n4;Higher;68;17;UTC\n"
    )
    rows = (
        message(1, "2022-05-28 10:00:00", (0.0, 170.0)),
        message(2, "2022-05-28 10:00:00", (60.5, 14.0)),
    )
    assert sorted(
        (row[0], row[7]) for row in open_oracle(tmp_path, *rows, cities=cities).events()
    ) == [
        (1, 2),
        (2, 3),
    ]


def test_the_generator_is_repeatable_and_covers_every_rule(tmp_path: Path):
    for name in ("one", "two"):
        write_generated(tmp_path / name, 1, DAY, 62, 3000)
    one, two = (Oracle(tmp_path / name, SHIPPED_CITIES) for name in ("one", "two"))
    assert comparable(one.events()) == comparable(two.events())
    assert len(one.events()) + len(one.rejected()) == 3000
    assert 0.005 < len(one.rejected()) / 3000 < 0.04
    assert len({reason for row in one.rejected() for reason in row[4]}) == 5
    assert {row[2] is None for row in one.users(DAY, 28)} == {True, False}
    assert any(row[6] for row in one.geo(DAY, 7)) and one.friends(DAY, 28) and one.friends(DAY, 7)

"""The oracle's friends are compared with pairs worked out by hand."""

from pathlib import Path

import pytest

from promo_assets_tests.support.lake.oracle_world import DAY, EAST, NOWHERE, WEST, open_oracle
from promo_assets_tests.support.lake.raw import message, reaction, subscription


def friends_at(left: tuple[float, float], right: tuple[float, float]) -> list[dict]:
    """Return the events of users 1 (left) and 2 (right), who are subscribed to channel 5."""
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
        # A degree of longitude is half as long there: 0.99897 km.
        ((60.0, 10.0), (60.0, 10.017968), 3),
        ((60.0, 10.0), (60.0, 10.018006), None),  # 1.00109 km
        ((0.0, 179.996), (0.0, -179.996), 3),  # 0.008 degrees: 0.88956 km
        ((0.0, 179.995), (0.0, -179.995), None),  # 0.01 degrees: 1.11195 km
        ((89.996, 0.0), (89.996, 180.0), 3),  # over the pole, 0.008 degrees
        ((-89.995, 0.0), (-89.995, 180.0), None),
        ((90.0, 5.0), (90.0, -120.0), 3),  # one point
    ],
)
def test_friends_are_within_a_kilometre(
    tmp_path: Path, left: tuple, right: tuple, zone: int | None
):
    assert open_oracle(tmp_path, *friends_at(left, right)).friends(DAY, 28) == (
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
        # The same second, nulls first: last seen far away.
        ([reaction("2", "2022-05-20 10:00:00", WEST, 1)], False),
        ([reaction("2", "2022-05-20 10:00:00", (0.0, None), 1)], True),  # no position
        # The same second: the larger latitude is later, then the larger longitude.
        ([reaction("2", "2022-05-20 10:00:00", (-1.0, 11.0))], True),
        ([reaction("2", "2022-05-20 10:00:00", (1.0, 9.0))], False),
        ([reaction("2", "2022-05-20 10:00:00", (0.0, 9.0))], True),
    ],
)
def test_friends_never_wrote_to_each_other_and_are_where_they_were_last_seen(
    tmp_path: Path, rows: list[dict], are_friends: bool
):
    assert open_oracle(tmp_path, *friends_at(EAST, EAST), *rows).friends(DAY, 28) == (
        [(1, 2, 1)] if are_friends else []
    )


def test_positions_and_subscriptions_are_those_of_the_window(tmp_path: Path):
    pair = friends_at(EAST, EAST)
    as_it_is = open_oracle(tmp_path, *pair)
    assert as_it_is.friends(DAY, 9) == [(1, 2, 1)]  # 20 May, when 2 was last seen, is the first day
    assert as_it_is.friends(DAY, 8) == []
    seen_again = open_oracle(tmp_path, *pair, reaction("2", "2022-05-28 10:00:00", EAST))
    assert seen_again.friends(DAY, 3) == [(1, 2, 1)]  # 26 May, when 2 subscribed, is the first day
    assert seen_again.friends(DAY, 2) == []


def test_a_channel_is_shared_by_subscriptions_only(tmp_path: Path):
    others = [
        subscription("1", "2022-05-28 10:00:00", NOWHERE, None),
        subscription("2", "2022-05-28 10:00:00", EAST, None),
        subscription("2", "2022-05-28 10:00:00", EAST, 6, channel_id=5),
        reaction("2", "2022-05-28 10:00:00", EAST, channel_id=5),
        message(2, "2022-05-28 10:00:00", EAST, message_channel_to=5),
    ]
    assert open_oracle(tmp_path, *friends_at(EAST, EAST)[:3], *others).friends(DAY, 28) == []

"""Mart `friend_recomendation`: which users are friends. Distances have a module of their own."""

from itertools import combinations

import pytest
from pyspark.sql import SparkSession

from promo_assets_tests.support.lake.friends import (
    BEFORE,
    FAR,
    FIRST,
    HERE,
    KM,
    LAST,
    NEAR,
    NOON,
    and_also,
    at,
    expected_rows,
    find_friends,
    find_friends_of_cases,
    pair_ids,
)
from promo_assets_tests.support.lake.rows import (
    NOWHERE,
    Row,
    message,
    reaction,
    sorted_rows,
    subscription,
)

# name -> events, given both users, the smaller id first, and a channel; the expected zone of the
# pair, or None if they are not a pair.
CASES = {
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
    "of simultaneous events the one with the larger id is the last": (
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
    "one has no position": (
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
    "one was far away before the window": (
        and_also(lambda left, right: reaction(right, BEFORE, FAR)),
        1,
    ),
    "they subscribed in the first and in the last moment of the window": (
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
    "they have no channel in common": (
        lambda left, right, channel: [
            subscription(left, NOON, channel, HERE),
            subscription(right, NOON, channel + 1, HERE),
        ],
        None,
    ),
    "they have no channel at all": (
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
    "they have one of several channels in common": (
        lambda left, right, channel: [
            *(subscription(left, NOON, channel + n, HERE) for n in (1, 2, 3)),
            *(subscription(right, NOON, channel + n, HERE) for n in (5, 3, 4)),
        ],
        1,
    ),
    "two common channels, each subscribed to twice, make one pair": (
        lambda left, right, channel: [
            subscription(user, NOON, channel + n % 2, HERE)
            for user in (left, right)
            for n in range(4)
        ],
        1,
    ),
    "the smaller id wrote, years ago": (
        and_also(lambda left, right: message(left, "2019-05-01 10:00:00", NOWHERE, to=right)),
        None,
    ),
    "the larger id wrote, years ago": (
        and_also(lambda left, right: message(right, "2019-05-01 10:00:00", NOWHERE, to=left)),
        None,
    ),
    "one wrote in the last moment of the window": (
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
def test_friends_share_a_channel_are_near_last_and_never_wrote(mart: list[Row], name: str):
    found = [row for row in mart if {*row[:2]} & {*IDS[name]}]
    assert found == expected_rows(CASES, name)


def test_every_pair_of_a_crowd_is_found_once(spark: SparkSession):
    """Five users are at one place; three more are in a row, each 0.7 km from the next one."""
    places = {1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0, 5: 0.0, 11: 5.0, 12: 5.7, 10: 6.4}
    rows = [subscription(user, NOON, 7, at(50.0 + km * KM, 8.0)) for user, km in places.items()]
    pairs = [*combinations((1, 2, 3, 4, 5), 2), (10, 12), (11, 12)]
    assert [row[:2] for row in sorted_rows(find_friends(spark, rows))] == sorted(pairs, key=repr)

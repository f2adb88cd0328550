"""The stream as a whole on real Kafka and Postgres: campaigns go in, notifications come out."""

import random
import time

import pytest

from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.world import World

NOW = int(time.time())
SOON, LATER = NOW - 100, NOW + 86_400


def test_300_campaigns_reach_30000_pairs_once_each_field_by_field(world: World, catch_up) -> None:
    favourites = {
        (f"client-{number % 5_000}", f"restaurant-{number // 100}") for number in range(30_000)
    }
    world.favour(sorted(favourites))
    world.favour(sorted(favourites)[:1_000])  # a repeated pair counts once
    campaigns = [
        campaign(f"restaurant-{number}", f"promo-{number}", SOON, LATER) for number in range(300)
    ]
    for partition in range(3):
        world.send(*campaigns[partition::3], partition=partition)
    stream_run = catch_up(world)
    assert problems(world, campaigns, [favourites]) == []
    assert len(world.rows()) == 30_000
    assert (stream_run.metrics.campaigns, stream_run.metrics.notifications) == (300, 30_000)


ODD_TEXTS = [
    "\\",
    "\\N",
    "a\tb",
    "line\nline\r",
    "'; DROP TABLE subscribers_feedback; --",
    '"quoted"',
    "{}",
    "%s",
    "$1",
    "\b\f\v",
    "日本 🍜",
    " ",
    "\x7f\x01",
]


def test_texts_and_clients_with_any_characters_come_out_unchanged(world: World, catch_up) -> None:
    restaurants = [text for text in ODD_TEXTS if text.strip()]
    favourites = {(client, restaurant) for client in ODD_TEXTS for restaurant in restaurants}
    world.favour(sorted(favourites))
    campaigns = []
    for restaurant, name in zip(ODD_TEXTS, reversed(ODD_TEXTS), strict=True):
        if restaurant.strip() and name.strip():
            texts = {"adv_campaign_content": restaurant + name, "adv_campaign_owner": name}
            campaigns.append(campaign(restaurant, name, SOON, LATER, **texts))
    world.send(*campaigns)
    catch_up(world)
    assert problems(world, campaigns, [favourites]) == []
    assert len(world.rows()) == len(campaigns) * len(ODD_TEXTS)


def test_ids_too_long_for_an_index_find_their_followers(world: World, catch_up) -> None:
    letters = random.Random(7)
    long_id = "".join(letters.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(9_000))
    favourites = {("short", long_id), (long_id, "restaurant"), (long_id + "2", long_id)}
    world.favour(sorted(favourites) * 2)
    campaigns = [campaign(long_id, long_id, SOON, LATER), campaign("restaurant", "x", SOON, LATER)]
    world.send(*campaigns)
    catch_up(world)
    assert problems(world, campaigns, [favourites]) == []
    assert len(world.rows()) == 3


def test_only_the_active_campaign_is_sent_and_expired_and_waiting_ones_are_counted(
    world: World, catch_up
) -> None:
    world.favour([("c", "r")])
    # Quoted numbers are numbers.
    due = campaign("r", "active", str(SOON), str(LATER), created="0001700000000")
    world.send(
        due, campaign("r", "expired", 1, NOW - 1), campaign("r", "waiting", LATER, LATER + 1)
    )
    stream_run = catch_up(world)
    assert [row["adv_campaign_id"] for row in world.rows()] == ["active"]
    assert problems(world, [{**due, "datetime_created": 1_700_000_000}], [{("c", "r")}]) == []
    metrics = stream_run.metrics
    assert (metrics.campaigns, metrics.expired, metrics.waiting) == (1, 1, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"adv_campaign_content": "other"}),
        ({"adv_campaign_datetime_start": 1, "adv_campaign_datetime_end": 2}, {}),
        ({"adv_campaign_datetime_start": LATER, "adv_campaign_datetime_end": LATER + 1}, {}),
    ],
    ids=["due", "expired", "waiting"],
)
def test_the_first_valid_message_of_a_key_decides_whichever_partition_it_is_in(
    world: World, catch_up, first: dict, second: dict
) -> None:
    world.favour([("c", "r")])
    one = campaign("r", "twice", SOON, LATER) | first
    other = campaign("r", "twice", SOON, LATER) | second
    world.send(campaign("r", "twice", 5, 4), partition=1)  # invalid: decides nothing
    world.send(one, partition=2)
    world.send(other, partition=0)  # later by Kafka's time, though an earlier partition
    catch_up(world)
    world.send(other, one, other, partition=1)
    stream_run = catch_up(world)
    assert stream_run.metrics.repeated == 3
    due = [one] if not first else []
    assert problems(world, due, [{("c", "r")}]) == []
    assert len(world.rows()) == len(due)


def test_the_first_message_of_a_partition_decides_whatever_the_senders_clocks_say(
    world: World, catch_up
) -> None:
    world.favour([("c", "r")])
    one = campaign("r", "twice", SOON, LATER)
    world.send(one, partition=1, at_ms=NOW * 1_000 + 5_000)
    world.send(
        one | {"adv_campaign_content": "second of the partition"},
        partition=1,
        at_ms=NOW * 1_000 - 5_000,
    )
    catch_up(world)
    assert problems(world, [one], [{("c", "r")}]) == []
    # Between partitions the clocks decide. No message counts as older than one before it in its
    # partition.
    other = campaign("r", "thrice", SOON, LATER)
    world.send(
        b"broken",
        other | {"adv_campaign_content": "later"},
        partition=0,
        at_ms=NOW * 1_000 + 10_000,
    )
    world.send(
        other | {"adv_campaign_content": "later, and dated back"}, partition=0, at_ms=NOW * 1_000
    )
    world.send(other, partition=2, at_ms=NOW * 1_000 + 1_000)
    catch_up(world)
    assert problems(world, [one, other], [{("c", "r")}, {("c", "r")}]) == []


def test_same_ids_created_at_another_time_are_another_campaign(world: World, catch_up) -> None:
    world.favour([("c", "r")])
    campaigns = [campaign("r", "again", SOON, LATER, created=created) for created in (1, 2)]
    world.send(*campaigns)
    catch_up(world)
    assert problems(world, campaigns, [{("c", "r")}]) == []
    assert len(world.rows()) == 2

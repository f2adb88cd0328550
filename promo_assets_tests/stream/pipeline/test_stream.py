"""The stream as a whole on real Kafka and Postgres: what goes in, what must come out."""

import json
import random
import time

import pytest

from promo_assets.stream.errors import StreamError
from promo_assets.stream.ledger.lease import acquire_lease
from promo_assets.stream.pipeline.run import StreamRun, run_stream
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

NOW = int(time.time())
SOON, LATER = NOW - 100, NOW + 86_400


def test_300_campaigns_reach_30000_pairs_once_each_field_by_field(world: World, catch_up) -> None:
    favourites = {
        (f"client-{number % 5_000}", f"restaurant-{number // 100}") for number in range(30_000)
    }
    world.favour(sorted(favourites))
    world.favour(sorted(favourites)[:1_000])  # a pair that stands twice counts once
    campaigns = [
        campaign(f"restaurant-{number}", f"promo-{number}", SOON, LATER) for number in range(300)
    ]
    for partition in range(3):
        world.send(*campaigns[partition::3], partition=partition)
    stream_run = catch_up(world)
    assert problems(world, campaigns, [favourites]) == []
    assert len(world.rows()) == 30_000
    assert (stream_run.metrics.campaigns, stream_run.metrics.notifications) == (300, 30_000)


def test_texts_and_clients_of_any_characters_come_out_as_they_went_in(
    world: World, catch_up
) -> None:
    odd = [
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
    favourites = {
        (client, restaurant) for client in odd for restaurant in odd if restaurant.strip()
    }
    world.favour(sorted(favourites))
    campaigns = [
        campaign(
            restaurant,
            name,
            SOON,
            LATER,
            adv_campaign_content=restaurant + name,
            adv_campaign_owner=name,
        )
        for restaurant, name in zip(odd, reversed(odd), strict=True)
        if restaurant.strip() and name.strip()
    ]
    world.send(*campaigns)
    catch_up(world)
    assert problems(world, campaigns, [favourites]) == []
    assert len(world.rows()) == len(campaigns) * len(odd)


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


def test_active_means_start_included_end_excluded_and_an_expired_campaign_is_counted(
    world: World, catch_up
) -> None:
    world.favour([("c", "r")])
    due = campaign(
        "r", "active", str(SOON), str(LATER), created="0001700000000"
    )  # quoted numbers are numbers
    world.send(
        due, campaign("r", "expired", 1, NOW - 1), campaign("r", "waiting", LATER, LATER + 1)
    )
    stream_run = catch_up(world)
    assert [row["adv_campaign_id"] for row in world.rows()] == ["active"]
    assert problems(world, [{**due, "datetime_created": 1_700_000_000}], [{("c", "r")}]) == []
    assert (
        stream_run.metrics.campaigns,
        stream_run.metrics.expired,
        stream_run.metrics.waiting,
    ) == (1, 1, 1)


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


def test_the_first_of_a_partition_decides_whatever_its_senders_clocks_say(
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
    # Between partitions the clocks decide: this one's second message cannot be older than its first.
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


def test_a_waiting_campaign_is_sent_at_its_start_by_a_later_run_and_an_ended_one_never(
    world: World, spark, catch_up
) -> None:
    world.favour([("c", "r")])
    waiting, missed = (
        campaign("r", "soon", LATER, LATER + 3_600),
        campaign("r", "missed", LATER, LATER + 3_600),
    )
    world.send(waiting, missed)
    assert catch_up(world).metrics.waiting == 2
    start = int(time.time()) + 4  # instead of waiting a day: the clock is set forward for both
    times = {"adv_campaign_datetime_start": start, "adv_campaign_datetime_end": start + 3_600}
    world.execute(
        "UPDATE promo_ledger.campaigns SET (adv_campaign_datetime_start, adv_campaign_datetime_end) = (%s, %s)",
        (*times.values(),),
    )
    world.execute(
        "UPDATE promo_ledger.campaigns SET (adv_campaign_datetime_start, adv_campaign_datetime_end) = (5, 6)"
        " WHERE adv_campaign_id = 'missed'"
    )
    world.favour([("late", "r")])  # before the first batch that sends it: counts
    stream_run = StreamRun(world.settings, lambda: spark, "test")
    stream_run.start()
    try:
        wait_for(lambda: len(world.rows()) == 2, "the waiting campaign's rows", seconds=40)
    finally:
        stream_run.finish()
    assert stream_run.error is None
    assert problems(world, [waiting | times], [{("c", "r"), ("late", "r")}]) == []
    assert {row["trigger_datetime_created"] >= start for row in world.rows()} == {True}
    assert {
        (stream_run.metrics.expired, stream_run.metrics.campaigns, stream_run.metrics.waiting)
    } == {(1, 1, 0)}


def test_dead_letters_keep_their_bytes_and_say_why_and_where_from(world: World, catch_up) -> None:
    world.favour([("c", "r")])
    good = campaign("r", "good", SOON, LATER)
    world.send(b"\xff\x00 not json", None, b"{}", good, partition=2, key=b"\x00key\xff")
    stream_run = catch_up(world)
    found = {
        int(dict(letter.headers())["source_offset"]): letter for letter in world.dead_letters()
    }
    assert {offset: (letter.key(), letter.value()) for offset, letter in found.items()} == {
        0: (b"\x00key\xff", b"\xff\x00 not json"),
        1: (b"\x00key\xff", None),
        2: (b"\x00key\xff", b"{}"),
    }
    assert {name for letter in found.values() for name, _ in letter.headers()} == {
        "reason",
        "source_topic",
        "source_partition",
        "source_offset",
    }
    assert dict(found[0].headers()) == {
        "reason": b"the value is not UTF-8 text (byte 0)",
        "source_topic": world.topic_in.encode(),
        "source_partition": b"2",
        "source_offset": b"0",
    }
    assert [dict(found[offset].headers())["reason"].decode() for offset in (1, 2)] == [
        "the message has no value (null)",
        "restaurant_id is missing or null",
    ]
    assert stream_run.metrics.rejected == 3
    assert problems(world, [good], [{("c", "r")}]) == []


def test_a_message_as_large_as_its_topic_takes_goes_through_whether_good_or_bad(
    world: World, catch_up
) -> None:
    world.favour([("c", "r")])
    size = 1_048_588 - 500
    good = campaign("r", "large", SOON, LATER, adv_campaign_content="")
    good["adv_campaign_content"] = "x" * (size - len(json.dumps(good)))
    bad = random.Random(3).randbytes(size)
    world.send(good, bad)
    catch_up(world)
    assert problems(world, [good], [{("c", "r")}]) == []
    assert [letter.value() for letter in world.dead_letters()] == [bad]


def test_5000_hostile_messages_end_notified_or_dead_lettered_and_stop_nothing(
    world: World, catch_up
) -> None:
    world.favour([("c", "r"), ("c", "x' OR '1'='1")])
    draw = random.Random(20_240_229)
    template = json.dumps(campaign("r", "template", SOON, LATER), ensure_ascii=False)
    good, sent = [], 0

    def hostile(number: int) -> bytes:
        value = campaign("r", f"h-{number}", SOON, LATER)
        kind = number % 14
        field = draw.choice(list(value))
        if kind == 0:
            return draw.randbytes(draw.randrange(200))
        if kind == 1:
            return template[: draw.randrange(len(template) - 1)].encode(errors="replace")
        if kind == 2:
            return b'{"restaurant_id":' + b"[" * draw.randrange(1, 60_000)
        if kind == 3:
            value[field] = draw.choice([None, True, [], {}, 1.5, -0.0, [value[field]]])
        if kind == 4:
            value["adv_campaign_datetime_end"] = draw.choice(
                [10**13, 10**400, -(10**30), "9" * 30, "1e9", "1_000", " 17", "٣"]
            )
        if kind == 5:
            value[draw.choice(list(value)[:5])] = "nul \0 in it"
        if kind == 6:
            return json.dumps(value).replace("h-", "\\ud800h-").encode()
        if kind == 7:
            return json.dumps(value)[:-1].encode() + b',"restaurant_id":"r"}'
        if kind == 8:
            return json.dumps(value).encode() + draw.choice([b"x", b"{}", b"\0", b","])
        if kind == 9:
            value.pop(field)
        if kind == 10:
            value["restaurant_id"] = "x' OR '1'='1"
            value["adv_campaign_id"] += "'); DELETE FROM subscribers_feedback; --\t\\."
            good.append(value)
        if kind == 11:
            value["surprise"] = {"deep": [{}] * draw.randrange(50), "nul": "\0"}
            good.append(value)
        if kind == 12:
            value["adv_campaign_content"] = "x" * (1_000_000 if number % 700 == 12 else 2_000)
            good.append(value)
        if kind == 13:
            good.append(value)
        return json.dumps(value).encode()

    messages = [hostile(number) for number in range(5_000)]
    for partition in range(3):
        part = messages[partition::3]
        sent += len(part)
        world.send(*part, partition=partition)
    catch_up(world)
    assert problems(world, good, [{("c", "r"), ("c", "x' OR '1'='1")}]) == []
    assert len(world.rows()) == len(good) == 1_428
    letters = world.dead_letters()
    assert len(letters) == sent - len(good)
    positions = {
        (dict(letter.headers())["source_partition"], dict(letter.headers())["source_offset"])
        for letter in letters
    }
    assert len(positions) == len(letters)
    for letter in letters:
        partition, offset = (
            int(dict(letter.headers())[name]) for name in ("source_partition", "source_offset")
        )
        assert letter.value() == messages[partition::3][offset]
        assert len(dict(letter.headers())["reason"]) > 15


def test_a_second_stream_writes_nothing_and_says_who_runs(world: World, spark, monkeypatch) -> None:
    monkeypatch.setattr("promo_assets.stream.ledger.lease.ACQUIRE_TIMEOUT_S", 2)
    world.favour([("c", "r")])
    world.send(campaign("r", "x", SOON, LATER), b"broken")
    with acquire_lease(world.postgres_url, "the first one"):
        with pytest.raises(
            StreamError,
            match=r"another promo stream is running \(the first one since .*Nothing was written",
        ):
            run_stream(
                StreamRun(world.settings, lambda: spark, "the second one", until_caught_up=True)
            )
        assert (world.rows(), world.messages(), world.dead_letters()) == ([], [], [])


def test_what_cannot_be_done_fails_in_one_line_and_is_done_by_the_next_run(
    world: World, spark, catch_up, monkeypatch
) -> None:
    monkeypatch.setattr("promo_assets.stream.pipeline.query.RETRY_TIMEOUT_S", 2)
    world.favour([("c", "r")])
    world.send(campaign("r", "x", SOON, LATER), b"broken")
    world.execute("ALTER TABLE subscribers_feedback ADD CONSTRAINT not_now CHECK (false)")
    with pytest.raises(
        StreamError, match=r'^the stream failed: .*violates check constraint "not_now"$'
    ):
        run_stream(StreamRun(world.settings, lambda: spark, "test"))
    world.execute("ALTER TABLE subscribers_feedback DROP CONSTRAINT not_now")
    catch_up(world)
    assert problems(world, [campaign("r", "x", SOON, LATER)], [{("c", "r")}]) == []
    assert [letter.value() for letter in world.dead_letters()] == [b"broken"]


def test_a_stream_stopped_in_the_middle_of_a_batch_ends_in_seconds_and_loses_nothing(
    world: World, spark, catch_up
) -> None:
    favourites = {(f"client-{number}", "r") for number in range(60_000)}
    world.favour(sorted(favourites))
    campaigns = [campaign("r", name, SOON, LATER) for name in "abc"]
    world.send(*campaigns)
    stream_run = StreamRun(world.settings, lambda: spark, "test")
    stream_run.start()
    wait_for(
        lambda: world.execute("SELECT 1 FROM subscribers_feedback LIMIT 1"),
        "the first chunk's rows",
        seconds=40,
    )
    began = time.monotonic()
    stream_run.finish()
    assert time.monotonic() - began < 8
    assert (stream_run.ended.is_set(), stream_run.error) == (True, None)
    assert len(world.rows()) < 180_000
    catch_up(world)
    assert problems(world, campaigns, [favourites]) == []

"""Reading the input topic again notifies nobody twice, and delivers what was missed."""

import json
import time
from collections import Counter
from datetime import UTC, datetime

from pyspark.sql import SparkSession

from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.lease import read_status
from promo_assets.stream.offsets import Offsets
from promo_assets.stream.pipeline.reprocess import offsets_at
from promo_assets.stream.pipeline.run import StreamRun, run_stream
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.world import World

NOW = int(time.time())
FOLLOWERS = {(f"client-{number}", "r") for number in range(50)}


def due(*names: str) -> list[dict]:
    return [campaign("r", name, NOW - 100, NOW + 86_400) for name in names]


def reprocess(world: World, spark: SparkSession, requested: Offsets) -> StreamRun:
    stream_run = StreamRun(
        world.settings, lambda: spark, "test", until_caught_up=True, reprocess_from=requested
    )
    run_stream(stream_run)
    assert not list((world.home / "checkpoint").rglob("*reprocess*"))
    return stream_run


def count_sinks(world: World) -> tuple[int, int, int]:
    return len(world.rows()), len(world.messages()), len(world.dead_letters())


def read_sums(stream_run: StreamRun) -> tuple[int, int, int, int]:
    """Return the numbers of campaigns, notifications, repeated and rejected messages."""
    sums = stream_run.metrics.sums
    return sums["campaigns"], sums["notifications"], sums["repeated"], sums["rejected"]


def test_known_messages_read_again_from_an_offset_or_a_time_notify_nobody(
    world: World, spark, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a", "b"), b"broken", partition=0)
    catch_up(world)
    between = datetime.fromtimestamp(time.time(), UTC)
    world.send(*due("c"), b"broken too", partition=1)
    catch_up(world)
    assert offsets_at(world.settings, between) == {0: 3, 1: 0, 2: 0}
    for requested, repeated, rejected in (
        ({0: 0, 1: 0, 2: 0}, 3, 2),
        ({0: 2, 1: 2, 2: 0}, 0, 1),
        (offsets_at(world.settings, between), 1, 1),
    ):
        assert read_sums(reprocess(world, spark, requested)) == (0, 0, repeated, rejected)
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []
    assert count_sinks(world) == (150, 150, 2)
    world.send(*due("d"))
    # The stream's own checkpoint has stayed where it was.
    assert read_sums(catch_up(world)) == (1, 50, 0, 0)


def test_messages_that_the_stream_has_not_read_are_not_skipped(
    world: World, spark, catch_up
) -> None:
    """A dead letter from behind a gap would tell the stream that those of the gap are published."""
    world.favour(FOLLOWERS)
    world.send(*due("a"), partition=0)
    catch_up(world)
    world.send(b"broken in the gap", *due("in the gap"), *due("b"), b"broken", partition=0)
    assert read_sums(reprocess(world, spark, {0: 3, 1: 0, 2: 0})) == (2, 100, 0, 2)
    assert read_sums(catch_up(world)) == (0, 0, 2, 2)
    assert problems(world, due("a", "in the gap", "b"), [FOLLOWERS]) == []
    assert sorted(letter.value() for letter in world.dead_letters()) == [
        b"broken",
        b"broken in the gap",
    ]


def test_only_messages_that_the_ledger_never_ingested_are_notified(
    world: World, spark, catch_up
) -> None:
    """A new ledger with an old checkpoint has this: the stream itself continues after them."""
    world.favour(FOLLOWERS)
    world.send(*due("a", "b"), partition=0)
    catch_up(world)
    world.execute(
        "TRUNCATE promo_ledger.campaigns, promo_ledger.dispatches, promo_ledger.audience,"
        " promo_ledger.batches, subscribers_feedback;"
        " UPDATE promo_ledger.heartbeat SET read_offsets = NULL"
    )
    world.delete_topics(world.topic_out)
    world.create_topics(world.topic_out)
    world.send(*due("c"), partition=0)
    assert read_sums(catch_up(world)) == (1, 50, 0, 0)
    assert read_sums(reprocess(world, spark, {0: 0, 1: 0, 2: 0})) == (2, 100, 1, 0)
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []


def test_after_an_old_backup_of_the_database_missing_rows_return_and_kafka_repeats_their_ids(
    world: World, spark, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a"), b"broken", partition=0)
    catch_up(world)
    (kept,) = world.execute(
        "SELECT to_jsonb(heartbeat) ->> 'read_offsets' FROM promo_ledger.heartbeat"
    )
    world.send(*due("b"), b"broken too", partition=0)
    catch_up(world)
    # The tables are again as they were after the first run.
    world.execute("DELETE FROM promo_ledger.campaigns WHERE adv_campaign_id = 'b'")
    world.execute("DELETE FROM subscribers_feedback WHERE adv_campaign_id = 'b'")
    world.execute("UPDATE promo_ledger.heartbeat SET read_offsets = %s", kept)
    ends = {0: 4, 1: 0, 2: 0}  # the restored ledger itself knows where it has read to
    assert read_sums(reprocess(world, spark, ends)) == (1, 50, 0, 1)
    assert Counter(row["adv_campaign_id"] for row in world.rows()) == {"a": 50, "b": 50}
    assert sorted(letter.value() for letter in world.dead_letters()) == [b"broken", b"broken too"]
    ids = Counter(
        (json.loads(each.value())["adv_campaign_id"], dict(each.headers() or [])["notification_id"])
        for each in world.messages()
    )
    assert (
        sorted((name, count) for (name, _), count in ids.items())
        == [("a", 1)] * 50 + [("b", 2)] * 50
    )


def test_a_checkpoint_that_a_crash_left_does_not_shorten_the_next_reprocess(
    world: World, spark, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a", "b"), partition=0)
    catch_up(world)
    (regular,) = (path.parent for path in (world.home / "checkpoint").rglob("metadata"))
    left = regular.with_name(f"{regular.name}-reprocess")
    left.mkdir()
    for path in regular.rglob("*"):  # a copy of the regular checkpoint, which is at the end
        target = left / path.relative_to(regular)
        target.mkdir(parents=True, exist_ok=True) if path.is_dir() else target.write_bytes(
            path.read_bytes()
        )
    assert read_sums(reprocess(world, spark, {0: 0, 1: 0, 2: 0})) == (0, 0, 2, 0)


def test_the_metrics_and_read_offsets_of_a_run_are_known_after_its_end(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a"), b"broken", partition=1)
    catch_up(world)
    with connect(world.postgres_url, "test") as connection:
        status = read_status(connection)
    assert status.metrics and status.read_offsets
    expected = {"notifications": 50, "rejected": 1, "waiting": 0}
    assert {name: status.metrics[name] for name in expected} == expected
    assert status.read_offsets["offsets"] == {0: 0, 1: 2, 2: 0}
    catch_up(world)  # a run that reads nothing does not change them
    with connect(world.postgres_url, "test") as connection:
        assert read_status(connection).read_offsets == status.read_offsets

"""The procedures of docs/operations.md: the commands are read from the page, and run as they are.

`test_operations_ledger.py` and `test_operations_status.py` run the others.
"""

import json
import re
import shlex
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from promo_assets.jvm.jars import hdfs_classpath
from promo_assets.jvm.java import java_home
from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.ledger import NEW_VERSION, install_newer_release, read_shape
from promo_assets_tests.support.operations import (
    FOLLOWERS,
    LATER,
    NOW,
    PAGE,
    count_ingested,
    due,
    run_block,
)
from promo_assets_tests.support.pages import install_fake_docker, read_blocks
from promo_assets_tests.support.world import World


def put_half_delivered_dispatch(world: World, value: dict) -> None:
    """A frozen dispatch of two shards: one shard's rows are stored, and no message is published."""
    dispatch, trigger = str(uuid4()), NOW - 10
    columns, placeholders = ", ".join(value), ", ".join(["%s"] * len(value))
    world.execute(
        """INSERT INTO promo_ledger.dispatches
            (dispatch_id, topic, shards, frozen_at, campaigns, pairs)
        VALUES (%s, %s, 2, now(), 1, 50)""",
        (dispatch, world.topic_out),
    )
    identity = ["r", value["adv_campaign_id"], value["datetime_created"]]
    key = json.dumps(identity, separators=(",", ":"))
    world.execute(
        f"""INSERT INTO promo_ledger.campaigns
            ({columns}, campaign_key, query_id, batch_id, source_at, source_partition,
             source_offset, state, trigger_datetime_created, dispatch_id, dispatch_position)
        SELECT {placeholders}, sha256(%s::bytea), query_id, batch_id, 1, 0, 0, 'dispatched',
            %s, %s, 1
        FROM promo_ledger.batches WHERE messages > 0 LIMIT 1""",
        (*value.values(), key, trigger, dispatch),
    )
    for shard in range(2):
        clients = [f"client-{number}" for number in range(25 * shard, 25 * shard + 25)]
        world.execute(
            "INSERT INTO promo_ledger.audience VALUES (%s, %s, 0, %s, %s)",
            (dispatch, shard, json.dumps([[1, clients]]), shard == 0),
        )
    world.execute(
        f"""INSERT INTO subscribers_feedback ({columns}, client_id, trigger_datetime_created)
        SELECT {placeholders}, 'client-' || number, %s FROM generate_series(0, 24) number""",
        (*value.values(), trigger),
    )


@contextmanager
def new_role(world: World, name: str) -> Iterator[str]:
    """The URL of a role that owns nothing, and exists until the end of the `with` block."""
    quoted = sql.Identifier(name).as_string()
    world.execute(f"CREATE ROLE {quoted} LOGIN PASSWORD 'secret'")
    try:
        parts = urlsplit(world.postgres_url)
        yield parts._replace(netloc=f"{quote(name)}:secret@{parts.hostname}:{parts.port}").geturl()
    finally:
        world.execute(f"DROP OWNED BY {quoted}")
        world.execute(f"DROP ROLE {quoted}")


def test_the_indexes_that_are_created_concurrently_are_those_of_the_schema(world: World) -> None:
    shape = read_shape(world)
    indexes = (
        "subscribers_restaurants_followers",
        "subscribers_restaurants_followers_long",
        "subscribers_feedback_triggered",
    )
    world.execute(f"DROP INDEX {', '.join(indexes)}")
    assert read_shape(world) != shape
    for _ in range(2):
        run_block(world, "Deploy", OWNER_URL=world.postgres_url)
        assert read_shape(world) == shape


def test_an_upgraded_ledger_keeps_the_checkpoint_and_finishes_what_was_half_delivered(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    waiting = campaign("r", "waiting", NOW + 3_600, LATER)
    world.send(*due("before"), waiting, b"broken")
    catch_up(world)
    (half_way,) = due("half-way")
    put_half_delivered_dispatch(world, half_way)
    start = int(time.time()) - 1  # its start comes while the release is changed
    world.execute(
        """UPDATE promo_ledger.campaigns SET adv_campaign_datetime_start = %s
        WHERE state = 'waiting'""",
        (start,),
    )
    world.send(*due("after", "before"), half_way)
    install_newer_release(world)
    with new_role(world, "promo stream") as url, new_role(world, "promo lake") as reader:
        world.extra_env["PROMO_POSTGRES_URL"] = url
        names = {"ROLE": "promo stream", "READER": "promo lake"}
        run_block(world, "Upgrade", OWNER_URL=world.postgres_url, **names)
        with psycopg.connect(reader) as connection:
            feedback = connection.execute("SELECT count(*) FROM subscribers_feedback").fetchone()
    assert feedback == (200,)
    started = waiting | {"adv_campaign_datetime_start": start}
    sent = [*due("before", "after"), half_way, started]
    assert problems(world, sent, [FOLLOWERS]) == []
    assert len(world.rows()) == 200
    assert [letter.value() for letter in world.dead_letters()] == [b"broken"]
    assert count_ingested(world) == 6  # the checkpoint was kept: three messages before, three after
    assert world.execute("SELECT version FROM promo_ledger.stream") == [(NEW_VERSION,)]
    assert world.execute("SELECT DISTINCT channel FROM promo_ledger.campaigns") == [("push",)]


def test_a_moved_checkpoint_continues_where_it_was_and_a_lost_one_notifies_nobody_twice(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a", "b"), b"broken")
    catch_up(world)
    old, new = world.home / "checkpoint", world.home / "elsewhere"
    world.send(*due("c"))
    run_block(world, "Move the checkpoint", OLD=str(old), NEW=str(new))
    assert count_ingested(world) == 4  # no message was read twice
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []
    world.extra_env["PROMO_CHECKPOINT_DIR"] = str(world.home / "lost")
    catch_up(world)
    assert count_ingested(world) == 8  # every message was read twice
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []
    assert len(world.dead_letters()) == 1


def test_a_checkpoint_moved_to_hdfs_continues_there(world: World, catch_up, hdfs) -> None:
    java = [
        str(java_home() / "bin" / "java"),
        "-cp",
        f"{hdfs.conf}:{hdfs_classpath()}",
        "org.apache.hadoop.fs.FsShell",
    ]
    program = install_fake_docker(world.home / "bin") / "hdfs"
    # Hadoop's own command does the same.
    program.write_text(f'#!/bin/sh\n[ "$1" = dfs ] && shift && exec {shlex.join(java)} "$@"\n')
    program.chmod(0o755)
    world.favour(FOLLOWERS)
    world.send(*due("a", "b"))
    catch_up(world)
    first, second, third = (f"{hdfs.uri}/checkpoint-{uuid4().hex}" for _ in range(3))
    run_block(world, "Move the checkpoint", 2, OLD=str(world.home / "checkpoint"), NEW=first)
    run_block(world, "Move the checkpoint", 1, OLD=first, NEW=second)
    run_block(
        world, "Move the checkpoint", 3, OLD=second, NEW=third, HADOOP_CONF_DIR=str(hdfs.conf)
    )
    world.extra_env["PROMO_CHECKPOINT_DIR"] = third
    world.send(*due("c"))
    catch_up(world)
    assert count_ingested(world) == 3
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []


def test_reprocessing_from_a_time_and_from_offsets_sends_what_is_missing_and_nothing_else(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a"), b"broken", partition=0)
    catch_up(world)
    since = f"{datetime.fromtimestamp(time.time(), UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    world.send(*due("b", "c"), b"broken too", partition=1)
    catch_up(world)
    run_block(world, "Reprocess", SINCE=since)
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []
    assert (count_ingested(world), len(world.dead_letters())) == (5 + 3, 2)
    # As if the stream had skipped two campaigns.
    world.execute("DELETE FROM promo_ledger.campaigns WHERE adv_campaign_id IN ('a', 'c')")
    world.execute("DELETE FROM subscribers_feedback WHERE adv_campaign_id IN ('a', 'c')")
    run_block(world, "Reprocess", 1)
    assert Counter(row["adv_campaign_id"] for row in world.rows()) == {"a": 50, "b": 50, "c": 50}
    names = Counter(json.loads(message.value())["adv_campaign_id"] for message in world.messages())
    # The two had been sent, so Kafka has their messages a second time, as the page says.
    assert names == {"a": 100, "b": 50, "c": 100}
    assert count_ingested(world) == 8 + 5


def test_every_command_of_the_page_is_run_by_a_test() -> None:
    sources = [path.read_text() for path in Path(__file__).parent.glob("test_operations*.py")]
    call = re.compile(r'\b(?:run|try)_block\(\s*world,\s*"([^"]+)"(?:,\s*(\d))?')
    run = {(heading, int(number or 0)) for heading, number in call.findall("".join(sources))}
    page = (PROJECT_ROOT / "docs" / PAGE).read_text()
    headings = re.findall(r"^## (.*)$", page, flags=re.MULTILINE)
    assert run == {
        (heading, number)
        for heading in headings
        for number in range(len(read_blocks(PAGE, heading)))
    }

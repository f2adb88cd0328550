"""docs/operations.md, procedure by procedure: the commands are read from the page, and run as they stand there."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from promo_assets.jvm.jars import hdfs_classpath
from promo_assets.jvm.java import java_home
from promo_assets.settings import PROJECT_ROOT
from promo_assets.stream.pipeline.run import StreamRun
from promo_assets_tests.stream.ledger.test_ledger_versions import V1, shape
from promo_assets_tests.support.compose import POSTGRES_PROGRAMS
from promo_assets_tests.support.daemons import QUICKLY
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.pages import blocks, commands_of_containers_here
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

PAGE = (PROJECT_ROOT / "docs" / "operations.md").read_text()
NOW = int(time.time())
LATER = NOW + 86_400
FOLLOWERS = {(f"client-{number}", "r") for number in range(50)}
LEDGER = ("batches", "dispatches", "campaigns", "audience")


def do(
    world: World, heading: str, number: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs a block in a shell, as it stands on the page."""
    block = blocks("operations.md", heading)[number]
    path = (
        f"{world.home}/bin:{Path(sys.executable).parent}:{POSTGRES_PROGRAMS}:{os.environ['PATH']}"
    )
    env = world.env | {"PATH": path} | QUICKLY | variables
    command = ["bash", "-euo", "pipefail", "-c", block]
    return subprocess.run(
        command, cwd=PROJECT_ROOT, env=env, capture_output=True, text=True, timeout=200
    )


def done(world: World, heading: str, number: int = 0, **variables: str) -> str:
    ended = do(world, heading, number, **variables)
    assert ended.returncode == 0, ended.stderr[-3_000:]
    return ended.stdout


def due(*names: str) -> list[dict]:
    return [campaign("r", name, NOW - 100, LATER) for name in names]


def messages_taken_in(world: World) -> int:
    return world.execute("SELECT sum(messages)::int8 FROM promo_ledger.batches")[0][0]


def back_to_version_1(world: World) -> None:
    """The rows of the ledger's tables, in the tables as the first release made them."""
    world.execute("ALTER SCHEMA promo_ledger RENAME TO newer")
    world.execute(V1.read_text())
    for table in LEDGER:
        columns = "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        names = world.execute(columns, (f"promo_ledger.{table}",))[0][0]
        where = (
            " WHERE query_id <> '00000000-0000-0000-0000-000000000000'"
            if table == "batches"
            else ""
        )
        world.execute(
            f"INSERT INTO promo_ledger.{table} ({names}) SELECT {names} FROM newer.{table}{where}"
        )
    world.execute(
        "UPDATE promo_ledger.stream SET (ledger_id, epoch, holder) = (SELECT ledger_id, epoch, holder FROM newer.stream)"
    )
    world.execute("DROP SCHEMA newer CASCADE")


def half_delivered_dispatch(world: World, value: dict) -> None:
    """A dispatch whose audience is frozen in two shards; one shard's rows are stored, none of its messages are published."""
    dispatch, trigger = str(uuid4()), NOW - 10
    world.execute(
        "INSERT INTO promo_ledger.dispatches (dispatch_id, topic, shards, frozen_at, campaigns, pairs) VALUES (%s, %s, 2, now(), 1, 50)",
        (dispatch, world.topic_out),
    )
    key = json.dumps(
        ["r", value["adv_campaign_id"], value["datetime_created"]], separators=(",", ":")
    )
    world.execute(
        f"""INSERT INTO promo_ledger.campaigns ({", ".join(value)}, campaign_key, query_id, batch_id, source_at, source_partition,
            source_offset, state, trigger_datetime_created, dispatch_id, dispatch_position)
        SELECT {", ".join(["%s"] * 8)}, sha256(%s::bytea), query_id, batch_id, 1, 0, 0, 'dispatched', %s, %s, 1
        FROM promo_ledger.batches LIMIT 1""",
        (*value.values(), key, trigger, dispatch),
    )
    for shard in range(2):
        clients = [f"client-{number}" for number in range(25 * shard, 25 * shard + 25)]
        world.execute(
            "INSERT INTO promo_ledger.audience VALUES (%s, %s, 0, %s, %s)",
            (dispatch, shard, json.dumps([[1, clients]]), shard == 0),
        )
    world.execute(
        f"""INSERT INTO subscribers_feedback ({", ".join(value)}, client_id, trigger_datetime_created)
        SELECT {", ".join(["%s"] * 8)}, 'client-' || number, %s FROM generate_series(0, 24) number""",
        (*value.values(), trigger),
    )


@contextmanager
def role(world: World, name: str) -> Iterator[str]:
    """The URL by which a role that owns nothing comes."""
    quoted = sql.Identifier(name).as_string()
    world.execute(f"CREATE ROLE {quoted} LOGIN PASSWORD 'secret'")
    try:
        parts = urlsplit(world.postgres_url)
        yield parts._replace(netloc=f"{quote(name)}:secret@{parts.hostname}:{parts.port}").geturl()
    finally:
        world.execute(f"DROP OWNED BY {quoted}")
        world.execute(f"DROP ROLE {quoted}")


def test_the_indexes_that_hold_nobody_up_are_those_of_the_schema(world: World) -> None:
    new = shape(world)
    indexes = (
        "subscribers_restaurants_followers",
        "subscribers_restaurants_followers_long",
        "subscribers_feedback_triggered",
    )
    world.execute(f"DROP INDEX {', '.join(indexes)}")
    assert shape(world) != new
    for _ in range(2):
        done(world, "Deploy", OWNER_URL=world.postgres_url)
        assert shape(world) == new


def test_an_older_ledger_is_upgraded_and_the_stream_goes_on_with_its_checkpoint_and_half_done_work(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    waiting = campaign("r", "waiting", NOW + 3_600, LATER)
    world.send(*due("before"), waiting, b"broken")
    catch_up(world)
    half = due("half-way")[0]
    half_delivered_dispatch(world, half)
    back_to_version_1(world)
    start = int(time.time()) - 1  # its time comes while the release is changed
    world.execute(
        "UPDATE promo_ledger.campaigns SET adv_campaign_datetime_start = %s WHERE state = 'waiting'",
        (start,),
    )
    world.send(*due("after", "before"), half)
    with role(world, "promo stream") as url, role(world, "promo lake") as reader:
        world.extra_env["PROMO_POSTGRES_URL"] = url
        done(
            world, "Upgrade", OWNER_URL=world.postgres_url, ROLE="promo stream", READER="promo lake"
        )
        with psycopg.connect(reader) as connection:
            assert connection.execute("SELECT count(*) FROM subscribers_feedback").fetchone() == (
                200,
            )
    sent = [*due("before", "after"), half, waiting | {"adv_campaign_datetime_start": start}]
    assert problems(world, sent, [FOLLOWERS]) == []
    assert len(world.rows()) == 200
    assert [letter.value() for letter in world.dead_letters()] == [b"broken"]
    assert (
        messages_taken_in(world) == 6
    )  # the checkpoint was kept: three messages before, three after
    assert world.execute("SELECT version FROM promo_ledger.stream") == [(2,)]


def test_a_moved_checkpoint_goes_on_where_it_was_and_a_lost_one_notifies_nobody_twice(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a", "b"), b"broken")
    catch_up(world)
    old, new = world.home / "checkpoint", world.home / "elsewhere"
    world.send(*due("c"))
    done(world, "Move the checkpoint", OLD=str(old), NEW=str(new))
    assert messages_taken_in(world) == 4  # none was read twice
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []
    world.extra_env["PROMO_CHECKPOINT_DIR"] = str(world.home / "lost")
    catch_up(world)
    assert messages_taken_in(world) == 8  # all were
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []
    assert len(world.dead_letters()) == 1


def test_a_checkpoint_moved_to_hdfs_goes_on_there(world: World, catch_up, hdfs) -> None:
    java = [
        str(java_home() / "bin" / "java"),
        "-cp",
        f"{hdfs.conf}:{hdfs_classpath()}",
        "org.apache.hadoop.fs.FsShell",
    ]
    program = commands_of_containers_here(world.home / "bin") / "hdfs"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = dfs ] && shift && exec {shlex.join(java)} "$@"\n'
    )  # as Hadoop's own does
    program.chmod(0o755)
    world.favour(FOLLOWERS)
    world.send(*due("a", "b"))
    catch_up(world)
    first, second, third = (f"{hdfs.uri}/checkpoint-{uuid4().hex}" for _ in range(3))
    done(world, "Move the checkpoint", 2, OLD=str(world.home / "checkpoint"), NEW=first)
    done(world, "Move the checkpoint", 1, OLD=first, NEW=second)
    done(world, "Move the checkpoint", 3, OLD=second, NEW=third, HADOOP_CONF_DIR=str(hdfs.conf))
    world.extra_env["PROMO_CHECKPOINT_DIR"] = third
    world.send(*due("c"))
    catch_up(world)
    assert messages_taken_in(world) == 3
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []


def test_reprocessing_from_a_time_and_from_offsets_makes_up_for_what_is_missing_and_for_nothing_else(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a"), b"broken", partition=0)
    catch_up(world)
    since = f"{datetime.fromtimestamp(time.time(), UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    world.send(*due("b", "c"), b"broken too", partition=1)
    catch_up(world)
    done(world, "Reprocess", SINCE=since)
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []
    assert (messages_taken_in(world), len(world.dead_letters())) == (5 + 3, 2)
    world.execute(
        "DELETE FROM promo_ledger.campaigns WHERE adv_campaign_id IN ('a', 'c')"
    )  # as if they had been skipped
    world.execute("DELETE FROM subscribers_feedback WHERE adv_campaign_id IN ('a', 'c')")
    done(world, "Reprocess", 1)
    assert Counter(row["adv_campaign_id"] for row in world.rows()) == {"a": 50, "b": 50, "c": 50}
    names = Counter(json.loads(message.value())["adv_campaign_id"] for message in world.messages())
    assert names == {
        "a": 100,
        "b": 50,
        "c": 100,
    }  # they had been sent: Kafka has them a second time, as the page says
    assert messages_taken_in(world) == 8 + 5


def test_the_ledger_is_cleaned_and_waiting_campaigns_are_listed_and_cancelled(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    waits, goes = (campaign("r", name, NOW + 3_600, LATER) for name in ("waits", "called off"))
    world.send(campaign("r", "over", 1, NOW - 31 * 86_400), *due("sent"), waits, goes)
    catch_up(world)

    def texts() -> set[str]:
        return {
            row[0]
            for row in world.execute(
                "SELECT adv_campaign_id FROM promo_ledger.campaigns WHERE adv_campaign_owner <> ''"
            )
        }

    told = [json.loads(line) for line in done(world, "Clean the ledger").splitlines()]
    # the dry run is for 90 days, the other for 30
    assert [(each["table"], each["rows"]) for each in told] == [
        ("campaigns", 0), ("batches", 0), ("dispatches", 0), ("campaigns", 1), ("batches", 0), ("dispatches", 0),
    ]  # fmt: skip
    assert all(each["bytes_before"] > 0 for each in told)
    assert texts() == {"sent", "waits", "called off"}

    once = done(world, "Waiting campaigns").splitlines()
    assert once[:2] == once[2:]
    fields = (
        "restaurant_id",
        "adv_campaign_id",
        "adv_campaign_datetime_start",
        "adv_campaign_datetime_end",
        "datetime_created",
    )
    listed = sorted(
        (json.loads(line) for line in once[:2]),
        key=lambda each: each["adv_campaign_id"],
        reverse=True,
    )
    assert listed == [{name: each[name] for name in fields} for each in (waits, goes)]
    names = {
        "RESTAURANT_ID": "r",
        "CAMPAIGN_ID": "called off",
        "DATETIME_CREATED": str(goes["datetime_created"]),
    }
    for told_now in ("cancelled, nobody is notified of it", "was cancelled before"):
        ended = do(world, "Waiting campaigns", 1, **names)
        assert (ended.returncode, ended.stdout) == (0, "")
        assert told_now in ended.stderr
    for name, told_now in (
        ("sent", "it was sent already"),
        ("over", "it was over before"),
        ("unknown", "no such campaign was ingested"),
    ):
        ended = do(world, "Waiting campaigns", 1, **names | {"CAMPAIGN_ID": name})
        assert (ended.returncode, told_now in ended.stderr) == (2, True)
    start = int(time.time()) - 1
    world.execute(
        "UPDATE promo_ledger.campaigns SET adv_campaign_datetime_start = %s WHERE adv_campaign_datetime_start > %s",
        (start, NOW),
    )
    world.send(goes)
    metrics = catch_up(world).metrics
    assert (metrics.campaigns, metrics.repeated, metrics.waiting) == (1, 1, 0)
    assert (
        problems(world, [*due("sent"), waits | {"adv_campaign_datetime_start": start}], [FOLLOWERS])
        == []
    )


def test_no_command_of_the_page_is_left_out() -> None:
    run = {
        (heading, int(number or 0))
        for heading, number in re.findall(
            r'\bdo(?:ne)?\(\s*world, "([^"]+)"(?:, (\d))?', Path(__file__).read_text()
        )
    }
    headings = re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    assert run == {
        (heading, number)
        for heading in headings
        for number in range(len(blocks("operations.md", heading)))
    }


def test_status_tells_who_runs_how_far_behind_and_what_waits(world: World, spark) -> None:
    def state() -> dict:
        told = done(world, "Check the status").split("\n", 2)
        assert told[0] == f"kafka {world.kafka}"
        assert told[1].startswith("postgres postgresql://")
        return json.loads(told[2])

    world.favour(FOLLOWERS)
    before = state()["stream"]
    assert (before["running"], before["holder"], before["lag_messages"], before["metrics"]) == (
        False,
        None,
        None,
        None,
    )
    start = NOW + 3_600
    world.send(*due("a"), campaign("r", "waits", start, LATER), b"broken")
    stream_run = StreamRun(world.settings, lambda: spark, "the one that streams")
    stream_run.start()
    try:
        wait_for(lambda: state()["stream"]["lag_messages"] == 0, "no lag", 120)
        running = state()
    finally:
        stream_run.finish()
    assert {name: part["answers"] for name, part in running.items() if name != "stream"} == {
        "kafka": True,
        "postgres": True,
    }
    stream = running["stream"]
    assert (stream["running"], stream["holder"], stream["last_error"]) == (
        True,
        "the one that streams",
        None,
    )
    assert (stream["waiting"], stream["next_start"], stream["lag_seconds"]) == (1, start, 0)
    assert (stream["metrics"]["notifications"], stream["metrics"]["rejected"]) == (50, 1)
    assert stream["metrics"]["notifications_per_minute"] == 50
    assert [
        (each["adv_campaign_id"], each["adv_campaign_datetime_start"])
        for each in stream["waiting_campaigns"]
    ] == [("waits", start)]
    assert [
        each["reason"].partition(":")[0] for each in stream["metrics"]["latest_rejections"]
    ] == ["the value is not JSON"]
    assert stream["heartbeat_age_seconds"] < 10
    assert time.time() - 120 < stream["started_at"] <= stream["heartbeat_at"] <= time.time()
    world.send(*due("b", "c"))
    stopped = state()["stream"]
    assert (stopped["running"], stopped["lag_messages"]) == (False, 2)
    assert 0 <= stopped["lag_seconds"] < 60
    said = do(world, "Check the status").stderr
    assert "stream: does not run; last sign of life 20" in said
    assert "lag: 2 messages, the oldest is " in said
    assert "waiting: 1 campaign\n  starts 20" in said and "UTC: waits of r\n" in said
    assert "50 notifications, 1 campaign, 1 rejected" in said
    assert re.search(r"last rejected: the value is not JSON: .* \(\d-\d+, 20\d\d-.* UTC\)", said)


@pytest.mark.parametrize(
    ("away", "told"),
    [
        (
            {"PROMO_POSTGRES_URL": "postgresql://promo:s3cret@127.0.0.1:1/promo"},
            "Postgres: gives no answer: ",
        ),
        ({"PROMO_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "Kafka: gives no answer: "),
    ],
    ids=["Postgres", "Kafka"],
)
def test_status_says_who_is_away_and_tells_what_the_other_knows(
    world: World, away: dict[str, str], told: str
) -> None:
    ended = do(world, "Check the status", **away)
    assert ended.returncode == 0
    assert told in ended.stderr
    assert "s3cret" not in ended.stderr + ended.stdout
    state = json.loads(ended.stdout.split("\n", 2)[2])
    name, other = ("postgres", "kafka") if "POSTGRES" in next(iter(away)) else ("kafka", "postgres")
    assert (state[name]["answers"], state[other]["answers"]) == (False, True)
    assert state["stream"]["running"] is (None if name == "postgres" else False)


def test_status_needs_neither_spark_nor_dagster() -> None:
    code = (
        "import sys; import promo_assets.commands.services as s; "
        "print([m for m in ('pyspark', 'dagster', 'pandas')"
        " if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        == b"[]\n"
    )

"""Postgres is lost under load, its standby takes over at the same address, the stream goes on."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.load import Load
from promo_assets_tests.support.postgres_server import PostgresServer, Standby
from promo_assets_tests.support.stream_process import StreamProcess, wait_for
from promo_assets_tests.support.world import World, make_database

NOW = int(time.time())
STANDBY_STREAMS = """SELECT count(*) > 0 FROM pg_stat_replication
    WHERE application_name = 'standby' AND state = 'streaming'"""
STANDBY_IS_SYNCHRONOUS = """SELECT count(*) > 0 FROM pg_stat_replication
    WHERE application_name = 'standby' AND sync_state = 'sync'"""
CAUGHT_UP = "SELECT count(*) = 0 FROM pg_stat_replication WHERE replay_lsn < pg_current_wal_lsn()"


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path / "primary") as server:
        yield server


@pytest.fixture
def world(primary: PostgresServer, services, tmp_path: Path) -> Iterator[World]:
    name = f"w{uuid.uuid4().hex[:10]}"
    made = World(
        services.kafka,
        make_database(primary.owner_url, name),
        tmp_path,
        f"{name}.in",
        f"{name}.out",
        f"{name}.dead",
    )
    made.create_topics(made.topic_in, made.topic_out, made.topic_dead_letters)
    yield made
    made.delete_topics(made.topic_in, made.topic_out, made.topic_dead_letters)


@pytest.fixture
def standby(world: World, primary: PostgresServer, tmp_path: Path) -> Iterator[Standby]:
    """A standby that follows the primary. The test decides whether commits wait for it."""
    with Standby(tmp_path / "standby", primary) as server:
        wait_for(lambda: primary.execute(STANDBY_STREAMS) == [(True,)], "the standby to follow")
        yield server


@pytest.mark.timeout(300)
def test_after_a_failover_to_a_synchronous_standby_every_pair_is_in_both_sinks_once(
    world: World, primary: PostgresServer, standby: Standby
) -> None:
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    primary.execute("SELECT pg_reload_conf()")
    wait_for(
        lambda: primary.execute(STANDBY_IS_SYNCHRONOUS) == [(True,)],
        "the primary to wait for the standby",
    )
    load = Load(world, seed=11)
    load.send_some(10)
    stream = StreamProcess(world)
    try:
        wait_for(lambda: world.rows(), "the first rows", 90)
        load.send_some(40)
        handled = len(world.rows())
        wait_for(lambda: len(world.rows()) > handled, "some of the load")
        primary.kill()
        standby.take_over(primary.port)
        taken_over = len(world.rows())
        load.send_some(5)
        wait_for(lambda: len(world.rows()) > taken_over, "rows after the failover", 120)
        wait_for(
            lambda: load.problems() == [] or stream.process.poll() is not None,
            "everything in both sinks",
            120,
        )
        assert stream.process.poll() is None, stream.tail()
    finally:
        stream.end()
    assert load.problems() == []


@pytest.mark.timeout(300)
@pytest.mark.whole
def test_an_asynchronous_standby_loses_commits_and_kafka_is_ahead(
    world: World, primary: PostgresServer, standby: Standby
) -> None:
    """This is the control, and what docs/security.md says of such a failover."""
    followers = {(f"client-{number}", "r") for number in range(50)}
    kept, lost = (campaign("r", name, NOW - 100, NOW + 86_400) for name in ("kept", "lost"))
    world.favour(sorted(followers))
    stream = StreamProcess(world)
    try:
        world.send(kept)
        wait_for(
            lambda: len(world.messages()) == 50 and is_settled(world), "the first notifications", 90
        )
        wait_for(lambda: primary.execute(CAUGHT_UP) == [(True,)], "the standby to have all of it")
        with standby.frozen():
            # Otherwise the connection would buffer what is sent to the standby.
            primary.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
            world.send(lost)
            wait_for(
                lambda: len(world.messages()) == 100 and is_settled(world),
                "notifications of a campaign that the standby has not received",
                60,
            )
            primary.kill()
        standby.take_over(primary.port)
        later = campaign("r", "later", NOW - 100, NOW + 86_400)
        world.send(later)
        wait_for(lambda: len(world.messages()) == 150, "notifications after the failover", 120)
        assert stream.process.poll() is None, stream.tail()
    finally:
        stream.end()
    found = problems(world, [kept, lost, later], [followers])
    assert sum(problem.startswith("a message without a row") for problem in found) == 50, found[:5]
    assert {row["adv_campaign_id"] for row in world.rows()} == {"kept", "later"}
    read_again_with_a_new_checkpoint(world)
    rows = Counter(row["adv_campaign_id"] for row in world.rows())
    assert rows == {"kept": 50, "lost": 50, "later": 50}
    messages = Counter(json.loads(each.value())["adv_campaign_id"] for each in world.messages())
    assert messages == {"kept": 50, "lost": 100, "later": 50}


def read_again_with_a_new_checkpoint(world: World) -> None:
    new_checkpoint = {"PROMO_CHECKPOINT_DIR": str(world.home / "new")}
    stream = StreamProcess(world, "--until-caught-up", env=new_checkpoint)
    try:
        assert stream.process.wait(120) == 0, stream.tail()
    finally:
        stream.end()


def is_settled(world: World) -> bool:
    """Return whether Spark has committed every micro-batch that it began: none will be repeated."""
    begun, done = (
        {file.name for file in world.home.glob(f"checkpoint/*/{log}/[0-9]*")}
        for log in ("offsets", "commits")
    )
    return begun == done

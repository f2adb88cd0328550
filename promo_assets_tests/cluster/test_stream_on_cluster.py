"""The stream with its executors in other processes: nothing lost and nothing doubled, whatever becomes of them."""

import time

import pytest

from promo_assets_tests.cluster.conftest import configure_spark
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.spark_clusters import Yarn
from promo_assets_tests.support.stream_process import StreamProcess, wait_for
from promo_assets_tests.support.world import World

NOW = int(time.time())
RESTAURANTS, CLIENTS = 20, 5_000
FOLLOWERS = {(f"client-{number}", "r") for number in range(200)}
EXECUTOR_POINTS = [
    "registered",
    "before the Kafka commit of dead letters",
    "after the Kafka commit of dead letters",
    "shard noted",
    "in the Postgres write",
    "after the Postgres commit",
    "while producing",
    "before the Kafka commit",
    "after the Kafka commit",
]


def test_executors_killed_at_every_point_of_a_delivery_of_100_000_pairs(
    on_standalone: World,
) -> None:
    campaigns, favourites = load(on_standalone)
    configure_spark(on_standalone, **killing_executors(on_standalone, *EXECUTOR_POINTS))
    run(on_standalone)
    assert {file.name for file in on_standalone.home.glob("killed-*")} == {
        f"killed-{point}" for point in EXECUTOR_POINTS
    }
    assert problems(on_standalone, campaigns, [favourites]) == []
    assert len(on_standalone.rows()) == RESTAURANTS * CLIENTS
    assert [letter.value() for letter in on_standalone.dead_letters()] == [b"broken"]


@pytest.mark.whole
def test_the_number_of_lanes_follows_the_executors_and_a_unit_keeps_its_own(
    on_standalone: World,
) -> None:
    """Two cores first, and the driver is killed with a dispatch half delivered; then four, of which three shards can be used."""
    world = on_standalone
    world.favour(FOLLOWERS)
    before, after = (
        [campaign("r", f"{when}-{number}", NOW - 100, NOW + 86_400) for number in range(5)]
        for when in ("before", "after")
    )
    world.send(*before)
    configure_spark(
        world,
        **cores(2),
        **killing_executors(world, "before the Kafka commit")
        | {"spark.executorEnv.KILL_WHOM": "driver"},
    )
    stream = StreamProcess(
        world, env={"PYTHONPATH": StreamProcess.HOOKS, "KILL_MARK": str(world.home / "killed")}
    )
    try:
        stream.wait_until_killed()
    finally:
        stream.end()
    assert world.execute("SELECT shards, finished_at FROM promo_ledger.dispatches") == [(2, None)]
    configure_spark(world, **cores(4))
    world.send(*after)
    run(world)
    assert world.execute("SELECT shards FROM promo_ledger.dispatches ORDER BY opened_at") == [
        (2,),
        (3,),
    ]
    assert problems(world, before + after, [FOLLOWERS]) == []


def test_on_yarn_with_all_that_executors_import_in_an_archive(on_yarn: World) -> None:
    on_yarn.favour(FOLLOWERS)
    campaigns = [campaign("r", f"promo-{number}", NOW - 100, NOW + 86_400) for number in range(5)]
    on_yarn.send(*campaigns, b"broken")
    run(on_yarn)
    assert problems(on_yarn, campaigns, [FOLLOWERS]) == []
    assert [letter.value() for letter in on_yarn.dead_letters()] == [b"broken"]


@pytest.mark.whole
def test_an_executor_killed_in_the_middle_of_100_000_pairs_on_yarn(
    on_yarn: World, yarn: Yarn
) -> None:
    campaigns, favourites = load(on_yarn)
    stream = StreamProcess(on_yarn, "--until-caught-up")
    try:
        wait_for(lambda: stored_chunks(on_yarn)[0], "a chunk in Postgres", 180)
        stored, chunks = stored_chunks(on_yarn)
        yarn.executors()[0].kill()
        assert stream.process.wait(180) == 0, stream.tail()
    finally:
        stream.end()
    assert stored < chunks, "the kill came in the middle"
    assert problems(on_yarn, campaigns, [favourites]) == []
    assert len(on_yarn.rows()) == RESTAURANTS * CLIENTS


@pytest.mark.whole
def test_no_room_on_the_cluster_is_told_while_the_stream_waits(on_standalone: World) -> None:
    world = on_standalone
    configure_spark(world, **{"spark.executor.memory": "64g"})
    stream = StreamProcess(world)
    try:
        told = f"{world.settings.spark_master} has given no executor yet: has the cluster room?"
        wait_for(
            lambda: world.execute("SELECT last_error FROM promo_ledger.heartbeat") == [(told,)],
            "what it waits for",
            90,
        )
        assert told in stream.tail()
        stream.process.terminate()
        assert stream.process.wait(30) == 0
    finally:
        stream.end()


@pytest.mark.parametrize(
    ("master", "env", "told"),
    [
        (
            "spark://127.0.0.1:1",
            {},
            "PROMO_SPARK_MASTER=spark://127.0.0.1:1: no master of Spark answers there",
        ),
        (
            "yarn",
            {},
            "PROMO_SPARK_MASTER=yarn: HADOOP_CONF_DIR must name the folder of YARN's and HDFS's configuration",
        ),
    ],
)
def test_a_cluster_that_is_not_there_is_told_in_one_line(
    world: World, master: str, env: dict[str, str], told: str
) -> None:
    stream = StreamProcess(world, env={"PROMO_SPARK_MASTER": master, **env})
    try:
        assert stream.process.wait(60) == 1
        assert told in stream.tail().splitlines()[-1]
    finally:
        stream.end()


def load(world: World) -> tuple[list[dict], set[tuple[str, str]]]:
    """100,000 pairs, due, and a broken message."""
    favourites = {
        (f"client-{client}", f"restaurant-{number}")
        for client in range(CLIENTS)
        for number in range(RESTAURANTS)
    }
    world.favour(sorted(favourites))
    campaigns = [
        campaign(f"restaurant-{number}", "promo", NOW - 100, NOW + 86_400)
        for number in range(RESTAURANTS)
    ]
    world.send(*campaigns, b"broken")
    return campaigns, favourites


def stored_chunks(world: World) -> tuple[int, int]:
    """Of the frozen dispatch: chunks in Postgres, and all."""
    chunks = """SELECT count(*) FILTER (WHERE stored), count(*)
        FROM promo_ledger.audience JOIN promo_ledger.dispatches USING (dispatch_id) WHERE frozen_at IS NOT NULL"""
    return world.execute(chunks)[0]


def run(world: World) -> None:
    """Until all is handled."""
    stream = StreamProcess(world, "--until-caught-up")
    try:
        assert stream.process.wait(300) == 0, stream.tail()
    finally:
        stream.end()


def killing_executors(world: World, *points: str) -> dict[str, str]:
    """Spark's configuration with which an executor's Python worker takes its executor with it when it first passes each of the points."""
    hooks = {
        "PYTHONPATH": StreamProcess.HOOKS,
        "KILL_AT": ";".join(points),
        "KILL_WHOM": "executor",
        "KILL_MARK": str(world.home / "killed"),
        "PROMO_TOPIC_OUT": world.topic_out,
    }
    return {f"spark.executorEnv.{name}": value for name, value in hooks.items()}


def cores(number: int) -> dict[str, str]:
    """So many, and no task before all of them are there."""
    return {"spark.cores.max": str(number), "spark.scheduler.minRegisteredResourcesRatio": "1.0"}

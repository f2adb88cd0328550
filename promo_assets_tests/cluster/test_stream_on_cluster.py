"""Nothing is lost or sent twice with executors in other processes, even if they are killed."""

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


def test_killing_executors_at_every_point_of_a_delivery_loses_and_repeats_nothing(
    on_standalone: World,
) -> None:
    campaigns, favourites = prepare_load(on_standalone)
    configure_spark(on_standalone, **kill_executors_at(on_standalone, *EXECUTOR_POINTS))
    run_until_caught_up(on_standalone)
    assert {file.name for file in on_standalone.home.glob("killed-*")} == {
        f"killed-{point}" for point in EXECUTOR_POINTS
    }
    assert problems(on_standalone, campaigns, [favourites]) == []
    assert len(on_standalone.rows()) == RESTAURANTS * CLIENTS
    assert [letter.value() for letter in on_standalone.dead_letters()] == [b"broken"]


@pytest.mark.whole
def test_the_number_of_shards_follows_the_executors_and_an_open_dispatch_keeps_its_own(
    on_standalone: World,
) -> None:
    """The driver is killed while a dispatch is half delivered with two cores.

    The next run has four cores, and uses three shards.
    """
    world = on_standalone
    world.favour(FOLLOWERS)
    before, after = (
        [campaign("r", f"{when}-{number}", NOW - 100, NOW + 86_400) for number in range(5)]
        for when in ("before", "after")
    )
    world.send(*before)
    configure_spark(
        world,
        **use_cores(2),
        **kill_executors_at(world, "before the Kafka commit")
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
    configure_spark(world, **use_cores(4))
    world.send(*after)
    run_until_caught_up(world)
    assert world.execute("SELECT shards FROM promo_ledger.dispatches ORDER BY opened_at") == [
        (2,),
        (3,),
    ]
    assert problems(world, before + after, [FOLLOWERS]) == []


def test_executors_on_yarn_need_only_the_archive(on_yarn: World) -> None:
    on_yarn.favour(FOLLOWERS)
    campaigns = [campaign("r", f"promo-{number}", NOW - 100, NOW + 86_400) for number in range(5)]
    on_yarn.send(*campaigns, b"broken")
    run_until_caught_up(on_yarn)
    assert problems(on_yarn, campaigns, [FOLLOWERS]) == []
    assert [letter.value() for letter in on_yarn.dead_letters()] == [b"broken"]


@pytest.mark.whole
def test_killing_an_executor_on_yarn_in_the_middle_of_a_delivery_loses_and_repeats_nothing(
    on_yarn: World, yarn: Yarn
) -> None:
    campaigns, favourites = prepare_load(on_yarn)
    stream = StreamProcess(on_yarn, "--until-caught-up")
    try:
        wait_for(lambda: count_chunks(on_yarn)[0], "a chunk in Postgres", 180)
        stored, chunks = count_chunks(on_yarn)
        yarn.executors()[0].kill()
        assert stream.process.wait(180) == 0, stream.tail()
    finally:
        stream.end()
    assert stored < chunks, "the executor was killed too late"
    assert problems(on_yarn, campaigns, [favourites]) == []
    assert len(on_yarn.rows()) == RESTAURANTS * CLIENTS


@pytest.mark.whole
def test_a_stream_that_waits_for_executors_reports_it(on_standalone: World) -> None:
    world = on_standalone
    configure_spark(world, **{"spark.executor.memory": "64g"})
    stream = StreamProcess(world)
    try:
        error = wait_for(lambda: read_executor_error(world), "the error about executors", 90)
        assert world.settings.spark_master in error
        assert error in stream.tail()
        stream.process.terminate()
        assert stream.process.wait(30) == 0
    finally:
        stream.end()


@pytest.mark.parametrize(
    ("master", "named"),
    [("spark://127.0.0.1:1", "no Spark master answers"), ("yarn", "HADOOP_CONF_DIR")],
)
def test_an_unreachable_cluster_is_reported_in_one_line(
    world: World, master: str, named: str
) -> None:
    stream = StreamProcess(world, env={"PROMO_SPARK_MASTER": master})
    try:
        assert stream.process.wait(60) == 1
        last_line = stream.tail().splitlines()[-1]
        assert f"PROMO_SPARK_MASTER={master}: " in last_line
        assert named in last_line
    finally:
        stream.end()


def prepare_load(world: World) -> tuple[list[dict], set[tuple[str, str]]]:
    """Send due campaigns for 100,000 pairs, and a broken message.

    Returns the campaigns and the favourites.
    """
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


def count_chunks(world: World) -> tuple[int, int]:
    """Return how many chunks of the frozen dispatch are stored in Postgres, and how many it has."""
    chunks = """SELECT count(*) FILTER (WHERE stored), count(*)
        FROM promo_ledger.audience JOIN promo_ledger.dispatches USING (dispatch_id)
        WHERE frozen_at IS NOT NULL"""
    return world.execute(chunks)[0]


def read_executor_error(world: World) -> str | None:
    """Return the heartbeat's last error, if it is about missing executors."""
    ((error,),) = world.execute("SELECT max(last_error) FROM promo_ledger.heartbeat")
    return error if error and "executor" in error else None


def run_until_caught_up(world: World) -> None:
    """Run the stream until it has handled all input; it must succeed."""
    stream = StreamProcess(world, "--until-caught-up")
    try:
        assert stream.process.wait(300) == 0, stream.tail()
    finally:
        stream.end()


def kill_executors_at(world: World, *points: str) -> dict[str, str]:
    """Return Spark's configuration that kills executors at points of the delivery.

    The executor's Python worker kills its executor when it passes each point for the first time.
    """
    hooks = {
        "PYTHONPATH": StreamProcess.HOOKS,
        "KILL_AT": ";".join(points),
        "KILL_WHOM": "executor",
        "KILL_MARK": str(world.home / "killed"),
        "PROMO_TOPIC_OUT": world.topic_out,
    }
    return {f"spark.executorEnv.{name}": value for name, value in hooks.items()}


def use_cores(number: int) -> dict[str, str]:
    """Return Spark's configuration for so many cores; no task starts before all are there."""
    return {"spark.cores.max": str(number), "spark.scheduler.minRegisteredResourcesRatio": "1.0"}

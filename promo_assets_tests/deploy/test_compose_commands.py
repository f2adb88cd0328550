"""The commands of docker-compose.yml work with the environment that the file gives them.

HDFS, Spark, Dagster and the stream run as processes of this machine.
"""

import time
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import psycopg
import pytest
from psycopg import sql
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from promo_assets_tests.support.compose import LocalCompose
from promo_assets_tests.support.compose_roles import create_roles
from promo_assets_tests.support.dagster_api import launch_params, launch_run, query_dagster
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World, new_world

NOW = int(time.time())
FOLLOWERS = {(f"client-{number}", "r") for number in range(100)}
RUNS = """query ($job: String!) {
    runsOrError(filter: {pipelineName: $job}) { ... on Runs { results { runId status } } }
}"""
CONFIGURATION = "{ instance { info } }"
PASSWORDS = {"stream_password": "5tream", "lake_password": "l4ke", "dagster_password": "d4gster"}
DAGSTER_SERVICES = ("code-location", "webserver", "daemon")


@pytest.fixture(scope="module")
def world(services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all tests of this file: each continues where the one before stopped."""
    with new_world(services, tmp_path_factory.mktemp("compose")) as world:
        world.execute("DROP SCHEMA promo_ledger CASCADE")  # `prepare` creates it again
        world.favour(FOLLOWERS)
        yield world


@pytest.fixture(scope="module")
def secrets(world: World) -> Iterator[dict[str, str]]:
    with create_roles(world, PASSWORDS) as secrets:
        yield secrets


@pytest.fixture(scope="module")
def compose(world: World, secrets: dict[str, str]) -> Iterator[LocalCompose]:
    """All the project's services, healthy."""
    compose = LocalCompose(world, secrets)
    try:
        compose.start_all()
        compose.run("prepare")  # a second time, as after a restart of the machine
        yield compose
    finally:
        compose.end()


def send_and_wait(world: World, name: str) -> None:
    """Send a campaign to all followers and wait until all have their notification."""
    before = len(world.messages())
    world.send(campaign("r", name, NOW - 100, NOW + 86_400))
    wait_for(
        lambda: len(world.messages()) == before + len(FOLLOWERS),
        f"the notifications of {name}",
        180,
    )


def test_the_sensor_starts_a_stream_on_the_cluster_with_the_role_that_owns_nothing(
    world: World, compose: LocalCompose
) -> None:
    world.send(b"broken")
    send_and_wait(world, "first")
    assert problems(world, [campaign("r", "first", NOW - 100, NOW + 86_400)], [FOLLOWERS]) == []
    wait_for(
        lambda: [letter.value() for letter in world.dead_letters()] == [b"broken"],
        "the dead letter",
    )
    assert world.execute("SELECT holder LIKE 'dagster run %%' FROM promo_ledger.heartbeat") == [
        (True,)
    ]
    connected = (
        "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name LIKE 'promo stream%%'"
    )
    assert world.execute(connected) == [("promo_stream",)]


def test_a_second_run_of_the_stream_stays_queued_while_other_jobs_run(
    compose: LocalCompose,
) -> None:
    second, other = launch_job(compose, "promo_stream"), launch_job(compose, "promo_retention")
    wait_for(
        lambda: read_run_states(compose, "promo_retention").get(other) == "SUCCESS",
        "the end of another job's run",
        120,
    )
    found = read_run_states(compose, "promo_stream")
    assert found.pop(second) == "QUEUED"
    assert list(found.values()) == ["STARTED"]


def test_dagsters_history_is_in_postgres_and_its_password_is_not_shown(
    compose: LocalCompose, secrets: dict[str, str]
) -> None:
    shown = retry_query(compose, CONFIGURATION)["instance"]["info"]
    assert "promo_assets/subsystem" in shown
    assert not any(password in shown for password in PASSWORDS.values())
    with psycopg.connect(secrets["dagster_url"]) as connection:
        for table in ("runs", "event_logs", "job_ticks"):
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            ((rows,),) = connection.execute(query).fetchall()
            assert rows > 0, table


def test_the_stream_run_continues_while_dagsters_database_is_unavailable(
    world: World, compose: LocalCompose
) -> None:
    holder = "SELECT holder, started_at FROM promo_ledger.heartbeat"
    before = world.execute(holder)
    world.execute("ALTER DATABASE dagster ALLOW_CONNECTIONS false")
    try:
        world.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'dagster'"
        )
        for name in ("while away", "still away"):
            send_and_wait(world, name)
        wait_for(
            lambda: "Dagster's database" in compose.log("code-location").read_text(),
            "the run's message about Dagster's database",
        )
    finally:
        world.execute("ALTER DATABASE dagster ALLOW_CONNECTIONS true")
    send_and_wait(world, "back")
    assert world.execute(holder) == before


@pytest.mark.whole
def test_a_run_that_died_with_its_container_fails_and_frees_its_place_in_the_queue(
    world: World, compose: LocalCompose
) -> None:
    for service in DAGSTER_SERVICES:  # those that exited without their database
        compose.restart_if_exited(service)
    (alive,) = [
        run
        for run, status in read_run_states(compose, "promo_stream").items()
        if status == "STARTED"
    ]
    lost = launch_job(compose, "initial_load")
    wait_for(
        lambda: read_run_states(compose, "initial_load")[lost] == "STARTED",
        "the start of a run of the lake",
        120,
    )
    compose.kill("code-location")
    compose.start("code-location")
    compose.wait_until_healthy("code-location")
    wait_for(
        lambda: read_run_states(compose, "initial_load")[lost] == "FAILURE",
        "the failure of the run whose process is gone",
        180,
    )
    send_and_wait(world, "after the restart")
    assert read_run_states(compose, "promo_stream")[alive] == "FAILURE"


@pytest.mark.whole
def test_hdfs_is_unhealthy_until_a_block_can_be_written(world: World) -> None:
    alone = LocalCompose(world, {}, "alone")
    try:
        alone.start("namenode")
        wait_for(
            lambda: "no DataNode can take a block yet" in alone.check("namenode").stderr,
            "a NameNode without a DataNode",
            60,
        )
        alone.start("datanode")
        alone.wait_until_healthy("namenode")
    finally:
        alone.end()


def read_run_states(compose: LocalCompose, job: str) -> dict[str, str]:
    return {
        run["runId"]: run["status"]
        for run in retry_query(compose, RUNS, job=job)["runsOrError"]["results"]
    }


# Each connection that an outage of the database closed fails once.
retry_closed_connections = retry(
    retry=retry_if_exception_type(HTTPError),
    wait=wait_fixed(0.5),
    stop=stop_after_attempt(10),
    reraise=True,
)


@retry_closed_connections
def retry_query(compose: LocalCompose, query: str, **variables: Any) -> dict[str, Any]:
    return query_dagster(compose.url, query, **variables)


@retry_closed_connections
def launch_job(compose: LocalCompose, job: str) -> str:
    return launch_run(compose.url, launch_params(job))

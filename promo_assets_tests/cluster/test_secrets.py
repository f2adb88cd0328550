"""No secret is written or shown anywhere.

Everything runs with marked secrets. Then everything that was written or shown is searched for them.
"""

import json
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from promo_assets.local import processes
from promo_assets_tests.cluster.conftest import configure_spark
from promo_assets_tests.support.dagster_api import launch_params, launch_run, query_dagster
from promo_assets_tests.support.expectation import campaign
from promo_assets_tests.support.marked_project import (
    DAGSTER_PASSWORD,
    KAFKA_PASSWORD,
    LAKE_PASSWORD,
    PUSH_PASSWORD,
    STREAM_PASSWORD,
    WRONG_PASSWORD,
    MarkedProject,
    open_marked_project,
)
from promo_assets_tests.support.secret_search import crawl_pages, record_command_lines
from promo_assets_tests.support.spark_clusters import Standalone
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

NOW = int(time.time())
DAY = "2022-05-02"
SAMPLE = f"lake sample --days 1 --last-day {DAY} --events-per-day 300"
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
COMMANDS = (
    "status",
    "status --json",
    "campaigns waiting",
    "ledger clean --dry-run",
    "ledger clean",
)


@pytest.fixture(scope="module")
def project(
    services,
    standalone: Standalone,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[MarkedProject]:
    with open_marked_project(services, standalone, tmp_path_factory) as project:
        with record_command_lines(project.command_lines):
            _run_everything(project, whole=bool(pytestconfig.getoption("whole")))
        yield project


def test_no_secret_is_written_or_shown_anywhere(project: MarkedProject) -> None:
    spark_pages = [page for page in project.pages.values() if "Spark" in page]
    assert len(spark_pages) > 20, "Spark's UI was not read"
    assert any("/environment" in url for url in project.pages)
    assert list((project.world.home / "spark-events").iterdir()), "Spark wrote no event log"
    assert len(project.command_lines) > 20
    assert project.find_secrets() == []


def test_control_the_search_finds_secrets_that_are_planted(project: MarkedProject) -> None:
    planted = project.world.home / "checkpoint" / "deep" / "down"
    planted.mkdir(parents=True)
    (planted / "note").write_bytes(b"\0\xff" + KAFKA_PASSWORD.encode())
    compressed = zlib.compress(quote(LAKE_PASSWORD, safe="").encode())
    values = ((project.dagster_url, compressed), (project.world.postgres_url, STREAM_PASSWORD))
    for url, value in values:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE planted AS SELECT %s AS note", (value,))
    failing_query = sql.SQL("SELECT {} || 1 / 0").format(PUSH_PASSWORD.partition("#")[2])
    with (
        psycopg.connect(project.world.postgres_url) as connection,
        pytest.raises(psycopg.errors.DivisionByZero),
    ):
        connection.execute(failing_query)
    child = [sys.executable, "-c", "import sys; sys.stdin.read()", DAGSTER_PASSWORD]
    with (
        record_command_lines(project.command_lines),
        subprocess.Popen(child, stdin=subprocess.PIPE) as process,
    ):
        wait_for(
            lambda: any(DAGSTER_PASSWORD in line for line in project.command_lines),
            "the planted process",
        )
        process.communicate()
    kinds = [place.partition(":")[0] for place in project.find_secrets()]
    assert kinds == ["process", "file", "log", "table", "table"]


def _run_everything(project: MarkedProject, whole: bool) -> None:
    """Run the stream, the lake and the commands; with `whole`, also all jobs of the lake."""
    ui = processes.free_port()
    _show_and_log_everything(project.world, ui)
    _send_input(project.world)
    if whole:
        project.run(*SAMPLE.split())
    with project.dagster_dev(processes.free_port()) as url:
        wait_for(
            lambda: len(project.world.messages()) == 50 and len(project.world.dead_letters()) == 1,
            "the stream's work",
            180,
        )
        if whole:
            _run_job(url, "daily_lake")
            _run_job(url, "campaign_results")
        else:  # only the asset that reads the feedback, without the marts
            _run_job(url, "campaign_results", ["stg", "subscribers_feedback"])
        spark_ui = f"http://127.0.0.1:{ui}/"
        project.pages |= crawl_pages(spark_ui, f"{spark_ui}api/v1/applications")
        project.pages["dagster"] = json.dumps(query_dagster(url, "{ instance { info } }"))
        _run_commands(project)
    if whole:
        project.run("stream", "reprocess", "--from-offset", "0:0")
    _run_with_wrong_passwords(project)


def _show_and_log_everything(world: World, ui_port: int) -> None:
    """Turn on Spark's UI and its event log."""
    events = world.home / "spark-events"
    events.mkdir()
    conf = {
        "spark.ui.enabled": "true",
        "spark.ui.port": str(ui_port),
        "spark.cores.max": "2",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": "false",
    }
    configure_spark(world, **conf)


def _send_input(world: World) -> None:
    """Send a campaign to 50 followers and a broken message, and store feedback of DAY."""
    world.favour({(f"client-{number}", "r") for number in range(50)})
    world.send(campaign("r", "promo", NOW - 100, NOW + 86_400), b"broken")
    answered = campaign("r", "of the day", NOW - 100, NOW + 86_400)
    noon = int(datetime.fromisoformat(f"{DAY}T12:00:00Z").timestamp())
    row = (*answered.values(), "client-1", noon)
    values = ", ".join(["%s"] * len(row))
    world.execute(f"INSERT INTO subscribers_feedback VALUES (DEFAULT, {values}, 'yes')", row)


def _run_commands(project: MarkedProject) -> None:
    for command in COMMANDS:
        project.run(*command.split())
    push = ["push", "--until-caught-up", "--feedback-share", "1"]
    login = project.kafka_user("promo_push")
    project.run(*push, PROMO_POSTGRES_URL=project.push_url, **login)
    for command in ("list", "replay"):
        project.run("dead-letters", command, **project.kafka_user("promo_operator"))


def _run_with_wrong_passwords(project: MarkedProject) -> None:
    """Run into errors about a wrong password, which must not show it."""
    wrong_kafka = {"PROMO_KAFKA_PASSWORD_FILE": "", "PROMO_KAFKA_PASSWORD": WRONG_PASSWORD}
    project.run("stream", "run", status=1, **wrong_kafka)
    right, wrong = quote(STREAM_PASSWORD, safe=""), quote(WRONG_PASSWORD, safe="")
    wrong_url = project.world.env["PROMO_POSTGRES_URL"].replace(right, wrong)
    for command in ("stream run", "ledger apply", "status", "campaigns waiting"):
        status = 0 if command == "status" else 1
        project.run(*command.split(), status=status, PROMO_POSTGRES_URL=wrong_url)
    invalid_url = f"postgresql://user:{wrong}@host:port/database"
    project.run("status", status=2, PROMO_POSTGRES_URL=invalid_url)


def _run_job(url: str, job: str, *assets: list[str]) -> None:
    """Run a job for DAY, or only these assets of it; it must succeed."""
    selection = {"assetSelection": [{"path": path} for path in assets]} if assets else {}
    tags = {"tags": [{"key": "dagster/partition", "value": DAY}]}
    params = launch_params(job, **selection) | {"executionMetadata": tags}
    run_id = launch_run(url, params)

    def read_status() -> str:
        return query_dagster(url, STATUS, id=run_id)["runOrError"]["status"]

    wait_for(lambda: read_status() in ("SUCCESS", "FAILURE"), f"the end of {job}", 180)
    assert read_status() == "SUCCESS"

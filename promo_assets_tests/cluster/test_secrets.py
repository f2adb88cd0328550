"""Secrets are told to nobody: everything runs with marked ones, which are then looked for wherever anything is written or shown."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import Request

import psutil
import psycopg
import pytest
from psycopg import sql

from promo_assets.local import processes
from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.cluster.conftest import configure_spark
from promo_assets_tests.support.daemons import DIRECTLY, QUICKLY
from promo_assets_tests.support.expectation import campaign
from promo_assets_tests.support.secure_kafka import SecureKafka, documented_acls
from promo_assets_tests.support.spark_clusters import Standalone
from promo_assets_tests.support.stream_process import kill_all, session_of, wait_for
from promo_assets_tests.support.world import World, database

# Whoever takes a URL apart in the wrong place leaves one of the two behind.
MARKS = ("mark3dHead", "mark3dTail")
OF_STREAM, OF_LAKE, OF_PUSH, OF_DAGSTER, WRONG = (
    f"{MARKS[0]}#?[@/{MARKS[1]}-{whose}" for whose in ("stream", "lake", "push", "dagster", "wrong")
)
OF_KAFKA = "-".join(MARKS)  # followed by the user
TOPICS = ("promo_campaigns", "promo_notifications", "promo_dead_letters")
NOW = int(time.time())
DAY = "2022-05-02"
PAGES_AT_MOST = 300
LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) { ... on LaunchRunSuccess { run { runId } } } }"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


@dataclass
class Everything:
    """What ran, and all that it said and showed meanwhile."""

    world: World
    kafka: SecureKafka
    dagster_url: str
    push_url: str
    spark_folder: Path
    postgres_log: Path
    told: list[str] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)
    command_lines: set[str] = field(default_factory=set)

    def places_with_the_mark(self) -> list[str]:
        """Everywhere that a secret can be read."""
        found = [f"told: {text[:200]}" for text in self.told if _marked(text)]
        found += [f"shown: {url}" for url, page in self.shown.items() if _marked(page)]
        found += [f"process: {line[:200]}" for line in self.command_lines if _marked(line)]
        found += [
            f"file: {file}"
            for folder in (self.world.home, self.spark_folder)
            for file in _marked_files(folder)
        ]
        found += (
            [f"log: {self.postgres_log}"]
            if _marked(self.postgres_log.read_text(errors="replace"))
            else []
        )
        for url in (self.dagster_url, self.world.postgres_url):
            found += [f"table: {table}" for table in _marked_tables(url)]
        return found


@pytest.fixture(scope="module")
def everything(
    services,
    standalone: Standalone,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[Everything]:
    name = f"w{uuid.uuid4().hex[:10]}"
    with ExitStack() as all_of_it:
        url, dagster_url = (
            all_of_it.enter_context(database(services.postgres_url, each))
            for each in (name, f"{name}d")
        )
        with psycopg.connect(url) as connection:
            ((ledger_id,),) = connection.execute(
                "SELECT ledger_id::text FROM promo_ledger.stream"
            ).fetchall()
        acls = documented_acls(ledger_id)
        users = sorted({acl.principal.removeprefix("User:") for acl in acls})
        kafka = SecureKafka(tmp_path_factory.mktemp("secret-kafka"), users)
        kafka.passwords |= {user: f"{OF_KAFKA}-{user}" for user in users}
        all_of_it.enter_context(kafka)
        for done in kafka.admin.create_acls(acls).values():
            done.result()
        world = World(
            kafka.address,
            url,
            tmp_path_factory.mktemp("secrets"),
            *TOPICS,
            kafka_login=kafka.login(),
        )
        world.create_topics(*TOPICS)
        secret = tmp_path_factory.mktemp("given") / "kafka_password"
        secret.write_text(f"{kafka.passwords['promo_stream']}\n")
        stream, lake, push = (
            all_of_it.enter_context(_role(url, f"{name}_{role}", password))
            for role, password in (("stream", OF_STREAM), ("lake", OF_LAKE), ("push", OF_PUSH))
        )
        dagster = all_of_it.enter_context(_role(dagster_url, f"{name}_dagster", OF_DAGSTER))
        with psycopg.connect(dagster_url) as connection:
            connection.execute(
                sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(
                    sql.Identifier(f"{name}_dagster")
                )
            )
        _as_owner(
            world,
            "ledger",
            "apply",
            "--grant-to",
            f"{name}_stream",
            "--feedback-reader",
            f"{name}_lake",
        )
        world.execute(f"GRANT SELECT, UPDATE (feedback) ON subscribers_feedback TO {name}_push")
        world.extra_env |= kafka.environment("promo_stream") | standalone.env
        del world.extra_env["PROMO_KAFKA_PASSWORD"]
        world.extra_env |= {
            "PROMO_KAFKA_PASSWORD_FILE": str(secret),
            "PROMO_POSTGRES_URL": stream,
            "PROMO_FEEDBACK_POSTGRES_URL": lake,
            "PROMO_DAGSTER_POSTGRES_URL": dagster,
            "PROMO_LAKE_ROOT": str(world.home / "lake"),
            "SPARK_CONF_DIR": str(world.home / "spark-conf"),
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        log = services.home / "local" / "logs" / "postgres.log"
        made = Everything(world, kafka, dagster_url, push, standalone.folder, log)
        with _command_lines_seen(made):
            _run_everything(made, whole=bool(pytestconfig.getoption("whole")))
        yield made


def _run_everything(made: Everything, whole: bool) -> None:
    world, (ui, dagster_port) = made.world, (processes.free_port(), processes.free_port())
    events = world.home / "spark-events"
    events.mkdir()
    configure_spark(
        world,
        **{"spark.ui.enabled": "true", "spark.ui.port": str(ui), "spark.cores.max": "2"},
        **{
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": events.as_uri(),
            "spark.eventLog.compress": "false",
        },
    )
    world.favour({(f"client-{number}", "r") for number in range(50)})
    world.send(campaign("r", "promo", NOW - 100, NOW + 86_400), b"broken")
    told = campaign("r", "of the day", NOW - 100, NOW + 86_400)
    noon = int(datetime.fromisoformat(f"{DAY}T12:00:00Z").timestamp())
    row = (*told.values(), "client-1", noon)
    world.execute(
        f"INSERT INTO subscribers_feedback VALUES (DEFAULT, {', '.join(['%s'] * len(row))}, 'yes')",
        row,
    )
    if whole:
        _run(made, "lake", "sample", "--days", "1", "--last-day", DAY, "--events-per-day", "300")
    with _dagster_dev(world, dagster_port) as url:
        wait_for(
            lambda: len(world.messages()) == 50 and len(world.dead_letters()) == 1,
            "the stream's work",
            180,
        )
        if whole:
            _run_job(url, "daily_lake")
            _run_job(url, "campaign_results")
        else:  # who reads the feedback, without the marts that are made of it
            _run_job(url, "campaign_results", ["stg", "subscribers_feedback"])
        made.shown |= _crawl(
            f"http://127.0.0.1:{ui}/", f"http://127.0.0.1:{ui}/api/v1/applications"
        )
        made.shown |= {"dagster": json.dumps(_ask(url, "{ instance { info } }"))}
        for command in (
            ["status"],
            ["status", "--json"],
            ["campaigns", "waiting"],
            ["ledger", "clean", "--dry-run"],
            ["ledger", "clean"],
        ):
            _run(made, *command)
        _run(
            made,
            "push",
            "--until-caught-up",
            "--feedback-share",
            "1",
            PROMO_POSTGRES_URL=made.push_url,
            **_kafka_user(made, "promo_push"),
        )
        for what in ("list", "replay"):
            _run(made, "dead-letters", what, **_kafka_user(made, "promo_operator"))
    if whole:
        _run(made, "stream", "reprocess", "--from-offset", "0:0")
    # What goes wrong is told, and not with what.
    _run(made, "stream", "run", status=1, PROMO_KAFKA_PASSWORD_FILE="", PROMO_KAFKA_PASSWORD=WRONG)
    wrong = world.env["PROMO_POSTGRES_URL"].replace(
        quote(OF_STREAM, safe=""), quote(WRONG, safe="")
    )
    for command in (["stream", "run"], ["ledger", "apply"], ["status"], ["campaigns", "waiting"]):
        _run(made, *command, status=0 if command == ["status"] else 1, PROMO_POSTGRES_URL=wrong)
    _run(
        made,
        "status",
        status=2,
        PROMO_POSTGRES_URL=f"postgresql://user:{quote(WRONG, safe='')}@host:port/database",
    )


def test_no_secret_is_to_be_found_anywhere(everything: Everything) -> None:
    assert sum("Spark" in page for page in everything.shown.values()) > 20, "the UI was read"
    assert any("/environment" in url for url in everything.shown)
    assert list((everything.world.home / "spark-events").iterdir()), "Spark's event log was written"
    assert len(everything.command_lines) > 20
    assert everything.places_with_the_mark() == []


def test_control_the_search_finds_what_is_planted(everything: Everything) -> None:
    world = everything.world
    planted = world.home / "checkpoint" / "deep" / "down"
    planted.mkdir(parents=True)
    (planted / "note").write_bytes(b"\0\xff" + OF_KAFKA.encode())
    packed = zlib.compress(quote(OF_LAKE, safe="").encode())
    for url, note in ((everything.dagster_url, packed), (world.postgres_url, OF_STREAM)):
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE planted AS SELECT %s AS note", (note,))
    with (
        psycopg.connect(world.postgres_url) as connection,
        pytest.raises(psycopg.errors.DivisionByZero),
    ):
        connection.execute(
            sql.SQL("SELECT {} || 1 / 0").format(sql.Literal(OF_PUSH.partition("#")[2]))
        )
    child = [sys.executable, "-c", "import sys; sys.stdin.read()", OF_DAGSTER]
    with _command_lines_seen(everything), subprocess.Popen(child, stdin=subprocess.PIPE) as process:
        wait_for(
            lambda: any(OF_DAGSTER in line for line in everything.command_lines),
            "the planted process",
        )
        process.communicate()
    kinds = [place.partition(":")[0] for place in everything.places_with_the_mark()]
    assert kinds == ["process", "file", "log", "table", "table"]


def _marked(text: str | bytes) -> bool:
    return any((mark.encode() if isinstance(text, bytes) else mark) in text for mark in MARKS)


def _marked_files(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".jar" and _marked(file.read_bytes()):
            yield file


def _marked_tables(url: str) -> Iterator[str]:
    """Row by row, with what is packed, as Dagster does with its snapshots, unpacked."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            rows = connection.execute(
                sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))
            )
            if any(_marked(_unpacked(value)) for row in rows for value in row):
                yield f"{schema}.{table}"


def _unpacked(value: object) -> str | bytes:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


def _kafka_user(made: Everything, user: str) -> dict[str, str]:
    return made.kafka.environment(user) | {"PROMO_KAFKA_PASSWORD_FILE": ""}


def _crawl(*begin: str) -> dict[str, str]:
    """Pages by address: these and what they link to at the same place; of the REST interface what each application says of itself."""
    shown: dict[str, str] = {}
    todo = [*begin]
    while todo and len(shown) < PAGES_AT_MOST:
        url = todo.pop(0).partition("#")[0]
        if (
            url in shown
            or urlsplit(url).netloc != urlsplit(begin[0]).netloc
            or "/kill" in url
            or "/static/" in url
        ):
            continue
        try:
            with DIRECTLY.open(url, timeout=30) as answer:
                shown[url] = page = answer.read().decode(errors="replace")
        except HTTPError as error:
            shown[url] = error.read().decode(errors="replace")
            continue
        todo += [
            urljoin(url, link.replace("&amp;", "&"))
            for link in re.findall(r'href="([^"#][^"]*)"', page)
        ]
        if url.endswith("/api/v1/applications"):
            parts = (
                "environment",
                "allexecutors",
                "jobs",
                "stages?details=true",
                "sql?details=true&planDescription=true&length=1000",
            )
            todo += [
                f"{url}/{application['id']}/{part}"
                for application in json.loads(page)
                for part in parts
            ]
    return shown


@contextlib.contextmanager
def _command_lines_seen(made: Everything) -> Iterator[None]:
    """While it lasts, every process's command line is looked at, ten times a second."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for process in psutil.process_iter(["cmdline"]):
                made.command_lines.add(" ".join(process.info["cmdline"] or []))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()


@contextlib.contextmanager
def _role(database_url: str, role: str, password: str) -> Iterator[str]:
    """The URL by which a role of this password uses the database."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        make = sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {password}")
        connection.execute(make.format(role=sql.Identifier(role), password=sql.Literal(password)))
        try:
            parts = urlsplit(database_url)
            yield parts._replace(
                netloc=f"{role}:{quote(password, safe='')}@{parts.hostname}:{parts.port}"
            ).geturl()
        finally:
            connection.execute(
                sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role))
            )


@contextlib.contextmanager
def _dagster_dev(world: World, port: int) -> Iterator[str]:
    """As `make dev` runs it; its address."""
    command = [
        Path(sys.executable).with_name("promo-assets"),
        "with-dagster",
        "dagster",
        "dev",
        "-w",
        "workspace.yaml",
    ]
    with (world.home / "dagster-dev.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-h", "127.0.0.1", "-p", str(port)],
            cwd=PROJECT_ROOT, env=world.env | QUICKLY, stdout=log, stderr=log, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        kill_all([each for each in psutil.process_iter() if session_of(each) == process.pid])
        process.wait(20)


def _run(made: Everything, *arguments: str, status: int = 0, **env: str) -> None:
    command = [str(Path(sys.executable).with_name("promo-assets")), "--debug", *arguments]
    done = subprocess.run(
        command,
        env=made.world.env | QUICKLY | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    made.told.append(done.stdout + done.stderr)
    assert done.returncode == status, (arguments, done.stderr[-2_000:])


def _as_owner(world: World, *arguments: str) -> None:
    subprocess.run(
        [Path(sys.executable).with_name("promo-assets"), *arguments],
        env=world.env,
        check=True,
        timeout=60,
    )


def _run_job(url: str, job: str, *assets: list[str]) -> None:
    """For the day; of these assets, where some are named."""
    where = {
        "repositoryLocationName": "promo_assets",
        "repositoryName": "__repository__",
        "jobName": job,
    }
    where |= {"assetSelection": [{"path": path} for path in assets]} if assets else {}
    params = {
        "selector": where,
        "runConfigData": {},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": DAY}]},
    }
    run_id = _ask(url, LAUNCH, params=params)["launchRun"]["run"]["runId"]
    wait_for(
        lambda: _ask(url, STATUS, id=run_id)["runOrError"]["status"] in ("SUCCESS", "FAILURE"),
        f"the end of {job}",
        180,
    )
    assert _ask(url, STATUS, id=run_id)["runOrError"]["status"] == "SUCCESS"


def _ask(url: str, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    with DIRECTLY.open(
        Request(f"{url}/graphql", body, {"Content-Type": "application/json"}), timeout=60
    ) as answer:
        return json.load(answer)["data"]

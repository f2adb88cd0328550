"""A project whose secrets all contain a mark, so that a search can find every one of them."""

import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil
import psycopg
import pytest
from psycopg import sql

from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.daemons import QUICKLY
from promo_assets_tests.support.secret_search import (
    MARKS,
    find_marked_files,
    find_marked_tables,
    is_marked,
)
from promo_assets_tests.support.secure_kafka import SecureKafka, documented_acls
from promo_assets_tests.support.spark_clusters import Standalone
from promo_assets_tests.support.stream_process import kill_all, session_of
from promo_assets_tests.support.world import World, database

STREAM_PASSWORD, LAKE_PASSWORD, PUSH_PASSWORD, DAGSTER_PASSWORD, WRONG_PASSWORD = (
    f"{MARKS[0]}#?[@/{MARKS[1]}-{role}" for role in ("stream", "lake", "push", "dagster", "wrong")
)
KAFKA_PASSWORD = "-".join(MARKS)  # the user's name is added
TOPICS = ("promo_campaigns", "promo_notifications", "promo_dead_letters")
PROMO_ASSETS = str(Path(sys.executable).with_name("promo-assets"))


@dataclass
class MarkedProject:
    """The project's services, and everything that they and its commands printed and showed."""

    world: World
    kafka: SecureKafka
    dagster_url: str
    push_url: str
    spark_folder: Path
    postgres_log: Path
    outputs: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)
    command_lines: set[str] = field(default_factory=set)

    def run(self, *arguments: str, status: int = 0, **env: str) -> None:
        """Run a command of `promo-assets`, which must end with this status."""
        done = subprocess.run(
            [PROMO_ASSETS, "--debug", *arguments],
            env=self.world.env | QUICKLY | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.outputs.append(done.stdout + done.stderr)
        assert done.returncode == status, (arguments, done.stderr[-2_000:])

    def kafka_user(self, user: str) -> dict[str, str]:
        """Return the environment of another user of Kafka."""
        return self.kafka.environment(user) | {"PROMO_KAFKA_PASSWORD_FILE": ""}

    @contextmanager
    def dagster_dev(self, port: int) -> Iterator[str]:
        """Run Dagster as `make dev` does, until the `with` block ends; yields its address."""
        dagster = [PROMO_ASSETS, "with-dagster", "dagster", "dev", "-w", "workspace.yaml"]
        with (self.world.home / "dagster-dev.log").open("wb") as log:
            process = subprocess.Popen(
                [*dagster, "-h", "127.0.0.1", "-p", str(port)],
                cwd=PROJECT_ROOT,
                env=self.world.env | QUICKLY,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            kill_all([each for each in psutil.process_iter() if session_of(each) == process.pid])
            process.wait(20)

    def find_secrets(self) -> list[str]:
        """Return every place where a secret can be read."""
        places = [f"output: {text[:200]}" for text in self.outputs if is_marked(text)]
        places += [f"page: {url}" for url, page in self.pages.items() if is_marked(page)]
        places += [f"process: {line[:200]}" for line in self.command_lines if is_marked(line)]
        for folder in (self.world.home, self.spark_folder):
            places += [f"file: {file}" for file in find_marked_files(folder)]
        if is_marked(self.postgres_log.read_text(errors="replace")):
            places.append(f"log: {self.postgres_log}")
        for url in (self.dagster_url, self.world.postgres_url):
            places += [f"table: {table}" for table in find_marked_tables(url)]
        return places


@contextmanager
def open_marked_project(
    services, standalone: Standalone, folders: pytest.TempPathFactory
) -> Iterator[MarkedProject]:
    """Set up Kafka, roles, databases and settings, all with marked secrets."""
    name = f"w{uuid.uuid4().hex[:10]}"
    with ExitStack() as stack:
        url = stack.enter_context(database(services.postgres_url, name))
        dagster_url = stack.enter_context(database(services.postgres_url, f"{name}d"))
        kafka = stack.enter_context(_open_kafka(url, folders.mktemp("secret-kafka")))
        home = folders.mktemp("secrets")
        world = World(kafka.address, url, home, *TOPICS, kafka_login=kafka.login())
        world.create_topics(*TOPICS)
        stream, lake, push, dagster = (
            stack.enter_context(_create_role(database_url, f"{name}_{role}", password))
            for database_url, role, password in (
                (url, "stream", STREAM_PASSWORD),
                (url, "lake", LAKE_PASSWORD),
                (url, "push", PUSH_PASSWORD),
                (dagster_url, "dagster", DAGSTER_PASSWORD),
            )
        )
        _grant_rights(world, dagster_url, name)
        secret = folders.mktemp("secret-file") / "kafka_password"
        secret.write_text(f"{kafka.passwords['promo_stream']}\n")
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
        yield MarkedProject(world, kafka, dagster_url, push, standalone.folder, log)


@contextmanager
def _open_kafka(database_url: str, folder: Path) -> Iterator[SecureKafka]:
    """Run a broker with the documented users and rights."""
    with psycopg.connect(database_url) as connection:
        query = "SELECT ledger_id::text FROM promo_ledger.stream"
        ((ledger_id,),) = connection.execute(query).fetchall()
    acls = documented_acls(ledger_id)
    users = sorted({acl.principal.removeprefix("User:") for acl in acls})
    kafka = SecureKafka(folder, users)
    kafka.passwords |= {user: f"{KAFKA_PASSWORD}-{user}" for user in users}
    with kafka:
        for done in kafka.admin.create_acls(acls).values():
            done.result()
        yield kafka


@contextmanager
def _create_role(database_url: str, role: str, password: str) -> Iterator[str]:
    """Create a role until the `with` block ends; yields its URL for the database."""
    names = {"role": sql.Identifier(role), "password": sql.Literal(password)}
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {password}").format(**names))
        try:
            parts = urlsplit(database_url)
            login = f"{role}:{quote(password, safe='')}"
            yield parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}").geturl()
        finally:
            drop = sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}")
            connection.execute(drop.format(sql.Identifier(role)))


def _grant_rights(world: World, dagster_url: str, name: str) -> None:
    """Give the roles their documented rights, as the owner of the databases."""
    grant = sql.SQL("GRANT CREATE ON SCHEMA public TO {}")
    with psycopg.connect(dagster_url) as connection:
        connection.execute(grant.format(sql.Identifier(f"{name}_dagster")))
    apply = ["ledger", "apply", "--grant-to", f"{name}_stream", "--feedback-reader", f"{name}_lake"]
    subprocess.run([PROMO_ASSETS, *apply], env=world.env, check=True, timeout=60)
    world.execute(f"GRANT SELECT, UPDATE (feedback) ON subscribers_feedback TO {name}_push")

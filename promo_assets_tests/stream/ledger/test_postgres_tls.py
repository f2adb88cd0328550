"""The stream on a Postgres that accepts only TLS: psycopg and Spark's reader both verify it."""

import platform
import secrets
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pyspark.errors import AnalysisException

from promo_assets.stream.ledger.grants import grant_stream_privileges
from promo_assets.stream.pipeline.sources import read_followers
from promo_assets_tests.support.authority import Authority
from promo_assets_tests.support.command_line import one_line, run
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.postgres_server import TlsPostgres
from promo_assets_tests.support.world import World, database

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the tests have a Postgres with TLS only for Linux on x86-64",
)
ROLE = "promo_stream"
NOW = int(time.time())
FOLLOWERS = {(f"client-{number}", "r") for number in range(50)}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsPostgres]:
    with TlsPostgres(tmp_path_factory.mktemp("tls-postgres")) as server:
        yield server


@pytest.fixture
def world(postgres: TlsPostgres, services, tmp_path: Path) -> Iterator[World]:
    """The stream's processes get the role's URL, without parameters."""
    name, password = f"w{uuid.uuid4().hex[:10]}", secrets.token_urlsafe(12)
    with database(postgres.owner_url, name) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(ROLE), password)
            )
            grant_stream_privileges(connection, ROLE)
        world = World(services.kafka, url, tmp_path, f"{name}.in", f"{name}.out", f"{name}.dead")
        world.extra_env["PROMO_POSTGRES_URL"] = (
            f"postgresql://{ROLE}:{password}@127.0.0.1:{postgres.port}/{name}"
        )
        world.create_topics(world.topic_in, world.topic_out, world.topic_dead_letters)
        yield world
        world.delete_topics(world.topic_in, world.topic_out, world.topic_dead_letters)
    postgres.execute(f"DROP ROLE {ROLE}")


def with_parameters(world: World, parameters: str) -> World:
    world.extra_env["PROMO_POSTGRES_URL"] += f"?{parameters}"
    return world


def test_the_whole_stream_runs_over_tls_and_verifies_the_certificate(
    world: World, postgres: TlsPostgres
) -> None:
    parameters = [
        "sslmode=verify-full",
        f"sslrootcert={postgres.authority.file}",
        "channel_binding=require",
        "connect_timeout=5",
        "target_session_attrs=read-write",
        "options=-c%20search_path%3Dpublic",
    ]
    with_parameters(world, "&".join(parameters))
    world.favour(FOLLOWERS)
    due = [campaign("r", name, NOW - 100, NOW + 86_400) for name in ("a", "b")]
    world.send(*due, b"broken")
    done = run(world.env, "stream", "run", "--until-caught-up", timeout=120)
    assert done.returncode == 0, done.stderr
    assert problems(world, due, [FOLLOWERS]) == []
    assert len(world.rows()) == 100


def test_without_tls_the_stream_ends_in_one_line(world: World) -> None:
    error = one_line(run(with_parameters(world, "sslmode=disable").env, "stream", "run"), 1)
    assert "Postgres" in error and "no encryption" in error


def test_with_another_certificate_authority_the_stream_ends_in_one_line(
    world: World, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other").file
    with_parameters(world, f"sslmode=verify-full&sslrootcert={other}")
    error = one_line(run(world.env, "stream", "run"), 1)
    assert "Postgres" in error and "certificate verify failed" in error


def test_sparks_reader_verifies_the_certificate_too(
    world: World, postgres: TlsPostgres, spark, tmp_path: Path
) -> None:
    right = f"sslmode=verify-full&sslrootcert={postgres.authority.file}"
    wrong = f"sslmode=verify-full&sslrootcert={Authority(tmp_path, 'other').file}"
    url = world.extra_env["PROMO_POSTGRES_URL"]
    with_parameters(world, right)
    assert read_followers(spark, world.settings, 2).collect() == []
    world.extra_env["PROMO_POSTGRES_URL"] = url
    with pytest.raises(AnalysisException, match=r"FAILED_JDBC\.CONNECTION") as error:
        read_followers(spark, with_parameters(world, wrong).settings, 2)
    assert "PKIX path" in str(error.value._origin.getCause().toString())  # pyright: ignore[reportOptionalMemberAccess]

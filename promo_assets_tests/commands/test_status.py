"""`status` where only a part of the truth is to be had: it tells that part."""

import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from promo_assets.commands.console import count_of
from promo_assets_tests.commands.test_cli import COMMAND
from promo_assets_tests.support.world import World, world

__all__ = ["world"]


def status(world: World, status: int, **changed: str | None) -> list[str]:
    """The lines that it says."""
    env = {name: value for name, value in (world.env | changed).items() if value is not None}
    done = subprocess.run(
        [COMMAND, "status"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


def test_without_the_local_kafka_what_postgres_knows_is_told(world: World, tmp_path: Path) -> None:
    assert status(
        world, 1, PROMO_KAFKA_BOOTSTRAP_SERVERS=None, PROMO_HOME=str(tmp_path / "nothing-runs")
    ) == [
        "stream: has never run",
        "waiting: 0 campaigns",
        "promo-assets: the local Kafka does not run: `promo-assets up` starts what is missing",
    ]


def test_a_role_that_may_not_read_all_of_the_ledger_is_told_what_it_may_read(world: World) -> None:
    role = f"{world.postgres_url.rpartition('/')[2]}_looks"
    with psycopg.connect(world.postgres_url, autocommit=True) as connection:
        name = sql.Identifier(role)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'l00ks'").format(name))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA promo_ledger TO {}").format(name))
        connection.execute(
            sql.SQL("GRANT SELECT ON promo_ledger.heartbeat, promo_ledger.stream TO {}").format(
                name
            )
        )
        try:
            url = f"postgresql://{role}:l00ks@{world.postgres_url.rpartition('@')[2]}"
            assert status(world, 0, PROMO_POSTGRES_URL=url) == [
                "Postgres: answers: permission denied for table campaigns",
                "stream: has never run",
            ]
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
            connection.execute(sql.SQL("DROP ROLE {}").format(name))


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0 campaigns"), (1, "1 campaign"), (2, "2 campaigns"), (2_000, "2,000 campaigns")],
)
def test_one_is_told_as_one(number: int, told: str) -> None:
    assert count_of(number, "campaigns") == told

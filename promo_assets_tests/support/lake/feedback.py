"""Feedback in the stream's real table in Postgres, and a small lake that reads it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from pyspark.sql import SparkSession

from promo_assets.lake import tables
from promo_assets_tests.support.lake.lake_world import LakeWorld
from promo_assets_tests.support.world import World

JOB = "campaign_results"
READER = "promo_lake_of_tests"
DAYS = [date(2025, 5, 1) + timedelta(days=n) for n in range(3)]
EMPTY_DAY = DAYS[1]
APPLY_LEDGER = [Path(sys.executable).with_name("promo-assets"), "ledger", "apply"]
VALUES = ", ".join(["%s"] * 11)
RESULT_COLUMNS = (
    "clients_notified",
    "clients_answered",
    "feedback",
    "feedback_rate",
    "seconds_to_first_notification",
)


@pytest.fixture(scope="module")
def reader(services) -> Iterator[sql.Identifier]:
    with psycopg.connect(services.postgres_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(READER), "r3ader")
        )
        yield sql.Identifier(READER)
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(READER)))


@pytest.fixture
def lake(
    spark: SparkSession, world: World, tmp_path: Path, reader: sql.Identifier
) -> Iterator[LakeWorld]:
    """Yields a lake that reads the feedback as a role that may do nothing else."""
    env = os.environ | {"PROMO_POSTGRES_URL": world.postgres_url}
    subprocess.run([*APPLY_LEDGER, "--feedback-reader", READER], env=env, check=True, cwd="/")
    parts = urlsplit(world.postgres_url)
    url = parts._replace(netloc=f"{READER}:r3ader@{parts.netloc.rpartition('@')[2]}").geturl()
    yield LakeWorld(spark, tmp_path / "of-the-lake", feedback_postgres_url=url)
    world.execute(sql.SQL("DROP OWNED BY {}").format(reader))  # pyright: ignore[reportArgumentType]


def noon(day: date) -> int:
    """Returns the day's noon, UTC, in unix seconds."""
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp())


def notify(
    world: World, restaurant: str, campaign: str, at: int, clients: dict[str, str | None]
) -> None:
    """Inserts the campaign's row for each client, with the client's feedback."""
    content = ("Two for one", "Ann", "ann@example.com", at - 60, at + 3_600, at - 20)
    with psycopg.connect(world.postgres_url) as connection:
        for client, feedback in clients.items():
            connection.execute(
                f"INSERT INTO subscribers_feedback VALUES (DEFAULT, {VALUES})",
                (restaurant, campaign, *content, client, at, feedback),
            )


def insert_campaigns(world: World) -> None:
    """Inserts campaigns of two restaurants on the first day and of one on the third.

    They include the first and the last second of the first day, and the seconds just outside the
    three days.
    """
    first, third = noon(DAYS[0]), noon(DAYS[2])
    notify(world, "r1", "c1", first, {"ann": None, "bob": "yes", "eve": "yes ", "zoe": "no"})
    notify(world, "r1", "c2", first + 43_199, {"ann": None})
    notify(world, "r2", "c3", first - 43_200, {"ann": "'; DROP TABLE x; --"})
    notify(world, "r1", "c4", third, {"ann": None})
    notify(world, "before", "c", first - 43_201, {"ann": None})
    notify(world, "after", "c", third + 43_200, {"ann": None})


def read_results(lake: LakeWorld, day: date) -> tuple[list[tuple], list[tuple]]:
    """Returns the sorted rows of campaigns and of restaurants: the key, clients notified, clients
    answered, feedback, rate, seconds."""
    campaigns = read_mart(lake, tables.CAMPAIGN_RESULTS, day, "restaurant_id", "adv_campaign_id")
    return campaigns, read_mart(lake, tables.RESTAURANT_RESULTS, day, "restaurant_id", "campaigns")


def read_mart(lake: LakeWorld, table: tables.Table, day: date, *key: str) -> list[tuple]:
    rows = lake.lake.read(table, [day]).select(*key, *RESULT_COLUMNS).collect()
    return sorted(tuple(make_comparable(value) for value in row) for row in rows)


def make_comparable(value: object) -> object:
    return [tuple(item) for item in value] if isinstance(value, list) else value

"""The lake's transformations against an independent implementation of the same rules, on generated events full of edge cases:
equal row by row. How days are stored is tested elsewhere: here nothing is written, so that many days cost little."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_assets.lake import tables
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.transform import history
from promo_assets.lake.transform.cities import SHIPPED, City, parse_cities
from promo_assets.lake.transform.dds import rejected_events, usable_events
from promo_assets.lake.transform.mart_friends import friend_recomendation
from promo_assets.lake.transform.mart_geo import geo
from promo_assets.lake.transform.mart_users import users
from promo_assets.lake.transform.stg import split_by_type
from promo_assets_tests.support.lake.generated import write_generated
from promo_assets_tests.support.lake.oracle import Oracle, comparable

LAST_DAY = date(2022, 5, 20)
DAYS = 70
EVENTS = 100_000


@dataclass
class Made:
    events: DataFrame
    rejected: DataFrame
    visits: DataFrame
    first_messages: DataFrame
    correspondents: DataFrame
    last_positions: DataFrame
    cities: list[City]
    oracle: Oracle


@pytest.fixture(scope="module", params=[1, 2, 3], ids=lambda seed: f"seed-{seed}")
def made(
    request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    root = tmp_path_factory.mktemp("lake")
    raw = root / tables.RAW_EVENTS.path.lstrip("/")
    write_generated(raw, request.param, LAST_DAY, DAYS, EVENTS)
    lake = Lake(spark, str(root), "somebody")
    cities = parse_cities(SHIPPED.read_bytes())
    stg_events = (
        split_by_type(lake.read(tables.RAW_EVENTS, lake.days(tables.RAW_EVENTS)))
        .coalesce(2)
        .persist()
    )
    events = usable_events(stg_events, cities).persist()
    builders = (
        history.visits,
        history.first_messages,
        history.correspondents,
        history.last_positions,
    )
    built = [of(events).coalesce(2).persist() for of in builders]
    yield Made(events, rejected_events(stg_events), *built, cities, Oracle(raw, Path(SHIPPED)))
    for frame in (stg_events, events, *built):
        frame.unpersist()


def rows_of(frame: DataFrame, *columns: str) -> list[str]:
    """Timestamps as the oracle has them: without a zone, UTC or the wall clock."""
    rows = frame.select(*columns).toArrow().to_pylist()
    return comparable(
        tuple(v.replace(tzinfo=None) if isinstance(v, datetime) else v for v in row.values())
        for row in rows
    )


def test_events_are_kept_or_rejected_as_the_oracle_says(made: Made) -> None:
    assert rows_of(made.events, *tables.EVENTS.column_names, "date") == comparable(
        made.oracle.events()
    )
    columns = ("event", "event_type", "lat", "lon", "date")
    expected = [
        (event, event_type, lat, lon, day)
        for event, event_type, lat, lon, _, day in made.oracle.rejected()
    ]
    assert rows_of(made.rejected, *columns) == comparable(expected)


@pytest.mark.parametrize("depth", [28, 7])
def test_marts_are_the_oracles(made: Made, depth: int) -> None:
    window = f"date > date'{LAST_DAY - timedelta(days=depth)}'"
    marts = (
        (users(made.visits, made.cities, LAST_DAY, depth), made.oracle.users(LAST_DAY, depth)),
        (
            geo(made.events.where(window), made.first_messages, LAST_DAY, depth),
            made.oracle.geo(LAST_DAY, depth),
        ),
        (friends(made, window), made.oracle.friends(LAST_DAY, depth)),
    )
    for mart, expected in marts:
        assert len(expected) > 20, "the comparison says something"
        assert rows_of(mart, *mart.columns) == comparable(expected)


def friends(made: Made, window: str) -> DataFrame:
    near = made.last_positions.where(window), made.events.where(window)
    processed_at = datetime(2022, 5, 21, 3, tzinfo=UTC)
    return friend_recomendation(
        *near, made.correspondents, made.cities, processed_at, LAST_DAY
    ).drop("processed_dttm", "local_time")

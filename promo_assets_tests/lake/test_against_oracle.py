"""The lake's transformations and the oracle, an independent implementation, give the same rows.

Generated events are full of edge cases. Nothing is written here, so that many days cost little; how
days are stored is tested elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

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

pytestmark = pytest.mark.slow

LAST_DAY = date(2022, 5, 20)
DAYS = 70
EVENTS = 100_000


@dataclass
class Results:
    events: DataFrame
    rejected: DataFrame
    visits: DataFrame
    first_messages: DataFrame
    correspondents: DataFrame
    last_positions: DataFrame
    cities: list[City]
    oracle: Oracle


@pytest.fixture(scope="module", params=[1, 2, 3], ids=lambda seed: f"seed-{seed}")
def results(
    request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Results]:
    root = tmp_path_factory.mktemp("lake")
    raw = root / tables.RAW_EVENTS.path.lstrip("/")
    write_generated(raw, request.param, LAST_DAY, DAYS, EVENTS)
    lake = Lake(spark, str(root), "somebody")
    cities = parse_cities(SHIPPED.read_bytes())
    raw_events = lake.read(tables.RAW_EVENTS, lake.days(tables.RAW_EVENTS))
    stg_events = split_by_type(raw_events).coalesce(2).persist()
    events = usable_events(stg_events, cities).persist()
    builders = (
        history.visits,
        history.first_messages,
        history.correspondents,
        history.last_positions,
    )
    built = [build(events).coalesce(2).persist() for build in builders]
    rejected, oracle = rejected_events(stg_events), Oracle(raw, SHIPPED)
    yield Results(events, rejected, *built, cities, oracle)
    for frame in (stg_events, events, *built):
        frame.unpersist()


def rows_of(frame: DataFrame, *columns: str) -> list[str]:
    """Return rows with timestamps like the oracle's: without a zone, UTC or the wall clock."""
    rows = frame.select(*columns).toArrow().to_pylist()
    return comparable(
        tuple(v.replace(tzinfo=None) if isinstance(v, datetime) else v for v in row.values())
        for row in rows
    )


def test_usable_and_rejected_events_are_those_of_the_oracle(results: Results) -> None:
    assert rows_of(results.events, *tables.EVENTS.column_names, "date") == comparable(
        results.oracle.events()
    )
    columns = ("event", "event_type", "lat", "lon", "date")
    expected = [
        (event, event_type, lat, lon, day)
        for event, event_type, lat, lon, _, day in results.oracle.rejected()
    ]
    assert rows_of(results.rejected, *columns) == comparable(expected)


@pytest.mark.parametrize("depth", [28, 7])
def test_marts_are_those_of_the_oracle(results: Results, depth: int) -> None:
    window = f"date > date'{LAST_DAY - timedelta(days=depth)}'"
    marts = (
        (
            users(results.visits, results.cities, LAST_DAY, depth),
            results.oracle.users(LAST_DAY, depth),
        ),
        (
            geo(results.events.where(window), results.first_messages, LAST_DAY, depth),
            results.oracle.geo(LAST_DAY, depth),
        ),
        (friends(results, window), results.oracle.friends(LAST_DAY, depth)),
    )
    for mart, expected in marts:
        assert len(expected) > 20, "the comparison means something"
        assert rows_of(mart, *mart.columns) == comparable(expected)


def friends(results: Results, window: str) -> DataFrame:
    near = results.last_positions.where(window), results.events.where(window)
    processed_at = datetime(2022, 5, 21, 3, tzinfo=UTC)
    return friend_recomendation(
        *near, results.correspondents, results.cities, processed_at, LAST_DAY
    ).drop("processed_dttm", "local_time")

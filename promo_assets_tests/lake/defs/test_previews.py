"""The preview and plots of a mart's day: times in UTC, and cities that geo.csv no longer has."""

import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from promo_assets import markdown
from promo_assets.lake import tables
from promo_assets.lake.defs.plots.figure import render_png
from promo_assets.lake.defs.plots.heat import WeekOfZone, draw_weekly_counts
from promo_assets.lake.defs.plots.zone_map import draw_zone_map
from promo_assets.lake.tables import Table
from promo_assets_tests.support.lake.lake_world import DAYS, LakeWorld, day_rows

pytestmark = pytest.mark.slow

USERS_AND_GEO = [
    dg.AssetKey([table.layer, table.name]) for table in (tables.USERS, tables.GEO_MART)
]
UP_TO_GEO = [
    dg.AssetKey([table.layer, table.name])
    for table in (
        tables.STG_EVENTS,
        tables.GEO,
        tables.EVENTS,
        tables.REJECTED_EVENTS,
        tables.FIRST_MESSAGES,
        tables.GEO_MART,
    )
]
WEEK_BEFORE, WEEK = date(2022, 4, 25), date(2022, 5, 2)


@pytest.fixture
def world(spark: SparkSession, tmp_path: Path) -> LakeWorld:
    """Two days with a reaction in Sydney, and a message in Sydney, then in Perth."""
    world = LakeWorld(spark, tmp_path)
    for day in DAYS[:2]:
        world.write_raw(day, day_rows(day)[2:4])
    return world


@pytest.fixture
def process_in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets this process's zone to one where midnight in UTC is the evening before."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("process_in_new_york")
def test_times_are_in_utc_whatever_the_zone_of_the_process(world: LakeWorld) -> None:
    assert time.localtime().tm_gmtoff != 0
    assert world.run("initial_load").success
    assert world.run("daily_lake", DAYS[1], asset_selection=USERS_AND_GEO).success
    assert read_metadata(world, tables.USERS, DAYS[1])["preview"].splitlines()[2:] == [
        "| 3 | Perth | *null* | 2 | \\[Sydney, Perth\\] | 2022-05-02 18:00:00 |"
    ]
    metadata = read_metadata(world, tables.GEO_MART, DAYS[1])
    assert [line.split(" | ")[:3] for line in metadata["preview"].splitlines()[2:]] == [
        ["| 1", "2022-04-25 00:00:00", "2022-05-01 00:00:00"],
        ["| 1", "2022-05-02 00:00:00", "2022-05-01 00:00:00"],
        ["| 4", "2022-05-02 00:00:00", "2022-05-01 00:00:00"],
    ]
    sydney = [(WEEK_BEFORE, "Sydney", 1, 1, 0, 1), (WEEK, "Sydney", 0, 1, 0, 0)]
    assert metadata["weeks"] == render_weeks([*sydney, (WEEK, "Perth", 1, 0, 0, 0)])


def test_a_city_that_geo_csv_no_longer_has_is_shown_by_its_id(world: LakeWorld) -> None:
    """The first day's events are in Sydney, and on the second day geo.csv has only Perth. The mart
    is written, and the check reports the unknown city."""
    assert world.run("daily_lake", DAYS[0], asset_selection=UP_TO_GEO).success
    geo = world.root / tables.GEO.path.format(owner="somebody").lstrip("/")
    geo.write_text("id;city;lat;lng;timezone\n4;Perth;-31,9522;115,8589;Australia/Perth\n")
    result = world.run("daily_lake", DAYS[1], asset_selection=UP_TO_GEO)
    failed = {
        (check.asset_key.to_user_string(), check.check_name)
        for check in result.get_asset_check_evaluations()
        if not check.passed
    }
    assert ("mart/geo", "cities_are_known") in failed
    metadata = read_metadata(world, tables.GEO_MART, DAYS[1])
    assert metadata["weeks"] == render_weeks(
        [(WEEK_BEFORE, "zone 1", 1, 1, 0, 1), (WEEK, "Perth", 1, 1, 0, 0)]
    )
    perth = render_png(draw_zone_map([("Perth", -31.9522, 115.8589, 1, 0)]))
    title = "messages and registrations of the window by zone"
    assert metadata["zones"] == markdown.render_image(perth, title)


def read_metadata(world: LakeWorld, table: Table, day: date) -> dict[str, str]:
    """Returns the metadata of the day's materialization."""
    records = world.instance.fetch_materializations(
        dg.AssetKey([table.layer, table.name]), limit=10
    ).records
    (materialization,) = [
        record.asset_materialization for record in records if record.partition_key == str(day)
    ]
    assert materialization
    return {name: str(value.value) for name, value in materialization.metadata.items()}


def render_weeks(rows: list[WeekOfZone]) -> str:
    return markdown.render_image(render_png(draw_weekly_counts(rows)), "events by week and zone")

"""What a mart's page shows: the table's times in UTC wherever the run's process is, and cities also when geo.csv has them no more."""

import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from promo_assets import markdown
from promo_assets.lake import tables
from promo_assets.lake.defs import plots
from promo_assets.lake.tables import Table
from promo_assets_tests.lake.defs.test_runs import DAYS, World, day_rows

# What these pages are made of.
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
def world(spark: SparkSession, tmp_path: Path) -> World:
    made = World(spark, tmp_path)
    for day in DAYS[:2]:
        made.write_raw(
            day, day_rows(day)[2:4]
        )  # a reaction in Sydney, and a message there and then in Perth
    return made


@pytest.fixture
def west_of_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv(
            "TZ", "America/New_York"
        )  # where a week's first midnight in UTC is the evening before
        time.tzset()
        yield
    time.tzset()


def page(world: World, table: Table, day: date) -> dict[str, str]:
    records = world.instance.fetch_materializations(
        dg.AssetKey([table.layer, table.name]), limit=10
    ).records
    (found,) = [
        record.asset_materialization for record in records if record.partition_key == str(day)
    ]
    assert found
    return {name: str(value.value) for name, value in found.metadata.items()}


def weeks(rows: list[plots.WeekOfZone]) -> str:
    return markdown.image(plots.weekly_counts(rows), "events by week and zone")


@pytest.mark.usefixtures("west_of_greenwich")
def test_times_are_utc_whatever_the_zone_of_the_process(world: World) -> None:
    assert time.localtime().tm_gmtoff != 0
    assert world.run("initial_load").success
    assert world.run("daily_lake", DAYS[1], asset_selection=USERS_AND_GEO).success
    assert page(world, tables.USERS, DAYS[1])["preview"].splitlines()[2:] == [
        "| 3 | Perth | *null* | 2 | \\[Sydney, Perth\\] | 2022-05-02 18:00:00 |"
    ]
    shown = page(world, tables.GEO_MART, DAYS[1])
    assert [line.split(" | ")[:3] for line in shown["preview"].splitlines()[2:]] == [
        ["| 1", "2022-04-25 00:00:00", "2022-05-01 00:00:00"],
        ["| 1", "2022-05-02 00:00:00", "2022-05-01 00:00:00"],
        ["| 4", "2022-05-02 00:00:00", "2022-05-01 00:00:00"],
    ]
    assert shown["weeks"] == weeks([
        (WEEK_BEFORE, "Sydney", 1, 1, 0, 1), (WEEK, "Sydney", 0, 1, 0, 0), (WEEK, "Perth", 1, 0, 0, 0),
    ])  # fmt: skip


def test_a_city_that_geo_csv_has_no_more_is_shown_by_its_id(world: World) -> None:
    """Yesterday's events are of Sydney, today's file has Perth alone: the mart's page is there, and the check says what is wrong."""
    assert world.run("daily_lake", DAYS[0], asset_selection=UP_TO_GEO).success
    geo = world.root / tables.GEO.path.format(owner="somebody").lstrip("/")
    geo.write_text("id;city;lat;lng;timezone\n4;Perth;-31,9522;115,8589;Australia/Perth\n")
    result = world.run("daily_lake", DAYS[1], asset_selection=UP_TO_GEO)
    failed = {
        (found.asset_key.to_user_string(), found.check_name)
        for found in result.get_asset_check_evaluations()
        if not found.passed
    }
    assert ("mart/geo", "cities_are_known") in failed
    shown = page(world, tables.GEO_MART, DAYS[1])
    assert shown["weeks"] == weeks(
        [(WEEK_BEFORE, "zone 1", 1, 1, 0, 1), (WEEK, "Perth", 1, 1, 0, 0)]
    )
    perth = plots.zones_map([("Perth", -31.9522, 115.8589, 1, 0)])
    assert shown["zones"] == markdown.image(
        perth, "messages and registrations of the window by zone"
    )

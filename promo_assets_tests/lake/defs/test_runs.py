"""The lake's jobs, run by Dagster on small RAW days: what is in the lake afterwards, and what
Dagster knows of it."""

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from promo_assets.lake import steps, tables
from promo_assets.lake.defs.mart_config import MartConfig
from promo_assets.lake.storage.files import LakeError
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.storage.load_markers import LOADED_TABLES
from promo_assets.lake.tables import Table
from promo_assets.lake.transform import dds
from promo_assets.setting_types import LONGEST_DEPTH
from promo_assets_tests.support.lake.lake_world import (
    DAYS,
    PERTH,
    SYDNEY,
    LakeWorld,
    day_rows,
    failure_message,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def world(spark: SparkSession, tmp_path: Path) -> LakeWorld:
    return LakeWorld(spark, tmp_path)


def test_a_day_goes_from_raw_to_the_marts(world: LakeWorld) -> None:
    for day in DAYS[:2]:
        world.write_raw(day)
    assert world.run("initial_load").success
    assert world.run("daily_lake", DAYS[1]).success
    assert world.contents(tables.EVENTS, DAYS[1]) == [
        (1, None, None, 7, *at(DAYS[1]), *SYDNEY, 1, "subscription"),
        (2, 5, None, None, *at(DAYS[1]), *SYDNEY, 1, "reaction"),
        (2, None, None, 7, *at(DAYS[1]), *SYDNEY, 1, "subscription"),
        (3, 2, 1, None, *at(DAYS[1]), *PERTH, 4, "message"),
    ]
    assert [row[-1] for row in world.contents(tables.REJECTED_EVENTS, DAYS[1])] == [
        "no user: digits are needed"
    ]
    local_time = "2022-05-02 18:00:00"  # Perth is eight hours ahead
    assert world.contents(tables.USERS, DAYS[1]) == [
        (3, "Perth", None, 2, ["Sydney", "Perth"], local_time)
    ]
    assert world.contents(tables.FRIENDS, DAYS[1]) == [(1, 2, 1)]
    may, week_before, week = "2022-05-01 00:00:00", "2022-04-25 00:00:00", "2022-05-02 00:00:00"
    assert world.contents(tables.GEO_MART, DAYS[1]) == [
        (1, week_before, may, 1, 1, 2, 1, 1, 2, 4, 1),
        (1, week, may, 0, 1, 2, 0, 1, 2, 4, 1),
        (4, week, may, 1, 0, 0, 0, 1, 0, 0, 0),
    ]


def test_the_initial_load_records_each_day_and_continues_where_it_stopped(
    world: LakeWorld,
) -> None:
    for day in DAYS[:2]:
        world.write_raw(day)
    assert world.run("initial_load").success
    days = {str(day) for day in DAYS[:2]}
    assert all(world.materialized(table) == days for table in LOADED_TABLES)
    files = world.files()
    assert world.run("initial_load").success
    assert world.files() == files, "nothing is loaded twice"
    world.write_raw(DAYS[1], day_rows(DAYS[1])[:2])  # RAW was written again
    world.write_raw(DAYS[2])
    assert world.run("initial_load").success
    assert len(world.contents(tables.EVENTS, DAYS[1])) == 2
    assert {
        name: time for name, time in world.files().items() if str(DAYS[0]) in name
    }.items() <= files.items()
    assert world.materialized(tables.EVENTS) == {str(day) for day in DAYS[:3]}


def test_an_unreadable_day_is_named_and_does_not_stop_the_initial_load(world: LakeWorld) -> None:
    for day in DAYS[:3]:
        world.write_raw(day)
    broken = world.write_raw(DAYS[1])
    broken.write_bytes(broken.read_bytes()[:-20])
    result = world.run("initial_load")
    assert not result.success
    message = failure_message(result)
    assert f"date={DAYS[1]}" in message
    assert "is not a Parquet file" in message
    assert str(DAYS[0]) not in message
    assert world.lake.days(tables.EVENTS) == [DAYS[0], DAYS[2]]


def test_a_day_whose_files_cannot_be_listed_does_not_stop_the_others(
    world: LakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulates a folder without permissions, which root could always list."""
    for day in DAYS[:3]:
        world.write_raw(day)
    list_files = Lake.files

    def list_files_or_fail(lake: Lake, table: Table, day: date) -> list[tuple[str, int, int]]:
        if (table, day) == (tables.RAW_EVENTS, DAYS[1]):
            raise LakeError(f"date={day}: Permission denied")
        return list_files(lake, table, day)

    monkeypatch.setattr(Lake, "files", list_files_or_fail)
    result = world.run("initial_load")
    assert not result.success
    assert f"1 of 3 days failed. date={DAYS[1]}: Permission denied" in failure_message(result)
    assert world.lake.days(tables.EVENTS) == [DAYS[0], DAYS[2]]
    assert world.materialized(tables.EVENTS) == {str(DAYS[0]), str(DAYS[2])}


def test_a_missing_day_fails_and_leaves_the_old_output_unchanged(world: LakeWorld) -> None:
    raw = world.write_raw(DAYS[0])
    assert world.run("daily_lake", DAYS[0]).success
    files = world.files()
    raw.unlink()
    raw.parent.rmdir()
    result = world.run("daily_lake", DAYS[0])
    assert not result.success
    assert f"RAW has no {DAYS[0]}" in failure_message(result)
    assert world.files() == files


def test_days_in_any_order_give_the_same_rows_and_change_only_their_own_files(
    world: LakeWorld,
) -> None:
    for day in DAYS[:3]:
        world.write_raw(day)
    assert world.backfill(DAYS[0], DAYS[2]).success
    at_once = world.all_contents(DAYS[:3])
    for day in (DAYS[1], DAYS[2], DAYS[0]):
        before = world.files()
        assert world.run("daily_lake", day).success
        changed = {name for name, time in world.files().items() if before.get(name) != time}
        assert changed
        assert all(f"date={day}" in name for name in changed)
    assert world.all_contents(DAYS[:3]) == at_once
    assert {key[2] for key in at_once if key[0] == "mart"} == set(DAYS[:3])


def test_run_config_sets_the_depth_of_one_run(world: LakeWorld) -> None:
    for day in DAYS[:2]:
        world.write_raw(day)
    assert world.run("initial_load").success
    shallow = {"resources": {"marts": {"config": {"depth": 1}}}}
    assert world.run("daily_lake", DAYS[1], run_config=shallow).success
    assert [row[3:5] for row in world.contents(tables.USERS, DAYS[1])] == [(1, ["Perth"])]
    impossible = {"resources": {"marts": {"config": {"depth": 0}}}}
    result = world.run("daily_lake", DAYS[1], run_config=impossible)
    assert not result.success


@pytest.mark.parametrize("depth", [0, LONGEST_DEPTH + 1])
def test_a_depth_outside_the_settings_bounds_is_an_error_that_names_it(depth: int) -> None:
    with pytest.raises(ValueError, match="depth"):
        MartConfig(depth=depth)


def test_a_failed_check_keeps_the_marts_from_being_built(
    world: LakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cleaning is made to lose events."""
    world.write_raw(DAYS[0])
    assert world.run("daily_lake", DAYS[0]).success
    marts = {name: time for name, time in world.files().items() if "/marts/" in name}
    monkeypatch.setattr(
        steps,
        "usable_events",
        lambda *args: dds.usable_events(*args).where("event_type <> 'reaction'"),
    )
    result = world.run("daily_lake", DAYS[0])
    assert not result.success
    failed = [
        found.check_name
        for found in result.get_asset_check_evaluations()
        if not found.passed and found.blocking
    ]
    assert failed == ["kept_and_rejected_are_all"]
    assert {name: time for name, time in world.files().items() if "/marts/" in name} == marts


def at(day: date) -> tuple[str]:
    return (f"{day} 10:00:00",)

"""The lake's jobs as Dagster runs them, on small RAW days: what lies in the lake afterwards, and what Dagster knows of it."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from promo_assets.definitions import build_definitions
from promo_assets.lake import steps, tables
from promo_assets.lake.storage.files import LakeError
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.storage.load_markers import MADE
from promo_assets.lake.tables import Table
from promo_assets.lake.transform import dds
from promo_assets.settings import Settings
from promo_assets_tests.support.lake.generated import message, reaction, subscription, write_day
from promo_assets_tests.support.lake.rows import told

FIRST = date(2022, 5, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(4)]
SYDNEY, PERTH = (-33.865, 151.2094), (-31.9522, 115.8589)


def day_rows(day: date) -> list[dict]:
    """Two friends-to-be in Sydney, a traveller, and a broken event."""
    at = f"{day} 10:00:00"
    return [
        subscription("1", at, SYDNEY, channel=7),
        subscription("2", at, SYDNEY, channel=7),
        reaction("2", at, SYDNEY, message_id=5),
        message(3, at, SYDNEY if day.day % 2 else PERTH, message_id=day.day, to=1),
        message(None, at, SYDNEY, message_id=99),
    ]


class World:
    """A lake of its own, with Dagster's definitions and history of its own."""

    def __init__(self, spark: SparkSession, folder: Path, root: str = "", **settings: Any):
        self.root = folder / "lake"
        self.definitions = build_definitions(self.settings(folder, root, **settings))
        (folder / "dagster").mkdir(parents=True)
        self.instance = dg.DagsterInstance.local_temp(str(folder / "dagster"))
        self.lake = Lake(spark, root or str(self.root), "somebody")

    @staticmethod
    def settings(folder: Path, root: str = "", **more: Any) -> Settings:
        return Settings(
            home=folder,
            lake_root=root or str(folder / "lake"),
            lake_owner="somebody",
            _env_file=None,
            **more,
        )  # pyright: ignore[reportCallIssue]

    def write_raw(
        self, day: date, rows: list[dict] | None = None, file: str = "part-0.parquet"
    ) -> Path:
        raw = self.root / tables.RAW_EVENTS.path.lstrip("/")
        write_day(raw, day, day_rows(day) if rows is None else rows, file)
        return raw / f"date={day}" / file

    def run(self, job: str, day: date | None = None, **options: Any) -> dg.ExecuteInProcessResult:
        definition = self.definitions.resolve_job_def(job)
        return definition.execute_in_process(
            partition_key=str(day) if day else None,
            instance=self.instance,
            raise_on_error=False,
            **options,
        )

    def backfill(
        self, first: date, last: date, job: str = "daily_lake"
    ) -> dg.ExecuteInProcessResult:
        """As a single run over a range, which is how a backfill of these assets is launched."""
        definition = self.definitions.resolve_job_def(job)
        tags = {
            "dagster/asset_partition_range_start": str(first),
            "dagster/asset_partition_range_end": str(last),
        }
        return definition.execute_in_process(
            instance=self.instance, tags=tags, raise_on_error=False
        )

    def contents(self, table: Table, day: date) -> list[tuple]:
        """Rows of a day, in an order, times as text in UTC; without what depends on when they were computed."""
        columns = [
            name
            for name in table.column_names
            if name not in ("event", "processed_dttm")
            and (table, name) != (tables.FRIENDS, "local_time")
        ]
        return told(self.lake.read(table, [day]).select(*columns))

    def all_contents(self, days: list[date]) -> dict[tuple, list[tuple]]:
        every = (
            tables.STG_EVENTS,
            tables.EVENTS,
            tables.REJECTED_EVENTS,
            *tables.HISTORY,
            *tables.MARTS,
        )
        return {
            (table.layer, table.name, day): self.contents(table, day)
            for table in every
            for day in days
            if self.lake.has(table, day)
        }

    def files(self) -> dict[str, int]:
        """Every file of the owner and when it was written."""
        return {
            str(file): file.stat().st_mtime_ns
            for file in (self.root / "user" / "somebody").rglob("*")
            if file.is_file()
        }

    def materialized(self, table: Table) -> set[str]:
        return self.instance.get_materialized_partitions(dg.AssetKey([table.layer, table.name]))


@pytest.fixture
def world(spark: SparkSession, tmp_path: Path) -> World:
    return World(spark, tmp_path)


def test_a_day_goes_from_raw_to_the_marts(world: World) -> None:
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


def test_the_initial_load_tells_dagster_of_each_day_and_goes_on_where_it_was(world: World) -> None:
    for day in DAYS[:2]:
        world.write_raw(day)
    assert world.run("initial_load").success
    days = {str(day) for day in DAYS[:2]}
    assert all(world.materialized(table) == days for table in MADE)
    files = world.files()
    assert world.run("initial_load").success
    assert world.files() == files, "nothing is loaded twice"
    world.write_raw(DAYS[1], day_rows(DAYS[1])[:2])  # RAW was written anew
    world.write_raw(DAYS[2])
    assert world.run("initial_load").success
    assert len(world.contents(tables.EVENTS, DAYS[1])) == 2
    assert {
        name: time for name, time in world.files().items() if str(DAYS[0]) in name
    }.items() <= files.items()
    assert world.materialized(tables.EVENTS) == {str(day) for day in DAYS[:3]}


def test_an_unreadable_day_does_not_stop_the_initial_load_and_is_named(world: World) -> None:
    for day in DAYS[:3]:
        world.write_raw(day)
    broken = world.write_raw(DAYS[1])
    broken.write_bytes(broken.read_bytes()[:-20])
    result = world.run("initial_load")
    assert not result.success
    message = failure_of(result)
    assert f"date={DAYS[1]}" in message
    assert "is not a Parquet file" in message
    assert str(DAYS[0]) not in message
    assert world.lake.days(tables.EVENTS) == [DAYS[0], DAYS[2]]


def test_a_day_whose_files_cannot_be_listed_does_not_stop_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a folder's permissions are missing, which for root they never are."""
    for day in DAYS[:3]:
        world.write_raw(day)
    files = Lake.files

    def files_or_refusal(lake: Lake, table: Table, day: date) -> list[tuple[str, int, int]]:
        if (table, day) == (tables.RAW_EVENTS, DAYS[1]):
            raise LakeError(f"date={day}: Permission denied")
        return files(lake, table, day)

    monkeypatch.setattr(Lake, "files", files_or_refusal)
    result = world.run("initial_load")
    assert not result.success
    assert f"1 of 3 days failed. date={DAYS[1]}: Permission denied" in failure_of(result)
    assert world.lake.days(tables.EVENTS) == [DAYS[0], DAYS[2]]
    assert world.materialized(tables.EVENTS) == {str(DAYS[0]), str(DAYS[2])}


def test_a_missing_day_fails_and_leaves_the_old_output(world: World) -> None:
    raw = world.write_raw(DAYS[0])
    assert world.run("daily_lake", DAYS[0]).success
    files = world.files()
    raw.unlink()
    raw.parent.rmdir()
    result = world.run("daily_lake", DAYS[0])
    assert not result.success
    assert f"RAW has no {DAYS[0]}" in failure_of(result)
    assert world.files() == files


def test_any_order_of_days_gives_the_same_rows_and_touches_only_its_own(world: World) -> None:
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


def test_a_run_can_look_back_less(world: World) -> None:
    for day in DAYS[:2]:
        world.write_raw(day)
    assert world.run("initial_load").success
    shallow = {"resources": {"marts": {"config": {"depth": 1}}}}
    assert world.run("daily_lake", DAYS[1], run_config=shallow).success
    assert [row[3:5] for row in world.contents(tables.USERS, DAYS[1])] == [(1, ["Perth"])]
    impossible = {"resources": {"marts": {"config": {"depth": 0}}}}
    result = world.run("daily_lake", DAYS[1], run_config=impossible)
    assert not result.success


def test_a_failing_check_keeps_the_marts_from_being_built(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a cleaning that loses events."""
    world.write_raw(DAYS[0])
    assert world.run("daily_lake", DAYS[0]).success
    marts = {name: time for name, time in world.files().items() if "/marts/" in name}
    monkeypatch.setattr(
        steps, "usable_events", lambda *of: dds.usable_events(*of).where("event_type <> 'reaction'")
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


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    return " ".join(
        str(event.event_specific_data.error.message)
        for event in result.all_events
        if event.is_step_failure
    )


def at(day: date) -> tuple[str]:
    return (f"{day} 10:00:00",)

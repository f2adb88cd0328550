"""A small lake and its jobs as Dagster runs them, for the tests of several folders."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from pyspark.sql import SparkSession

from promo_assets.definitions import build_definitions
from promo_assets.lake import tables
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.tables import Table
from promo_assets.settings import Settings
from promo_assets_tests.support.lake.raw import message, reaction, subscription, write_day
from promo_assets_tests.support.lake.rows import sorted_rows

FIRST = date(2022, 5, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(4)]
SYDNEY, PERTH = (-33.865, 151.2094), (-31.9522, 115.8589)


def day_rows(day: date) -> list[dict]:
    """Returns RAW rows of two future friends in Sydney, a traveller, and a broken event."""
    at = f"{day} 10:00:00"
    return [
        subscription("1", at, SYDNEY, channel=7),
        subscription("2", at, SYDNEY, channel=7),
        reaction("2", at, SYDNEY, message_id=5),
        message(3, at, SYDNEY if day.day % 2 else PERTH, message_id=day.day, to=1),
        message(None, at, SYDNEY, message_id=99),
    ]


class LakeWorld:
    """A lake in a folder of its own, with its own Dagster definitions and instance."""

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
        """Runs the days in a single run, as Dagster launches a backfill of these assets."""
        definition = self.definitions.resolve_job_def(job)
        tags = {
            "dagster/asset_partition_range_start": str(first),
            "dagster/asset_partition_range_end": str(last),
        }
        return definition.execute_in_process(
            instance=self.instance, tags=tags, raise_on_error=False
        )

    def contents(self, table: Table, day: date) -> list[tuple]:
        """Returns the sorted rows of a day, with times as text in UTC.

        Columns that depend on the time of the computation are left out.
        """
        columns = [
            name
            for name in table.column_names
            if name not in ("event", "processed_dttm")
            and (table, name) != (tables.FRIENDS, "local_time")
        ]
        return sorted_rows(self.lake.read(table, [day]).select(*columns))

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
        """Returns every file of the owner with its modification time."""
        return {
            str(file): file.stat().st_mtime_ns
            for file in (self.root / "user" / "somebody").rglob("*")
            if file.is_file()
        }

    def materialized(self, table: Table) -> set[str]:
        return self.instance.get_materialized_partitions(dg.AssetKey([table.layer, table.name]))


def failure_message(result: dg.ExecuteInProcessResult) -> str:
    """Returns the error messages of the failed steps."""
    return " ".join(
        str(event.event_specific_data.error.message)
        for event in result.all_events
        if event.is_step_failure
    )

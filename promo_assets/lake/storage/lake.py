"""The edge: reads the lake's tables and replaces their days.

A day is written aside and renamed into place as a whole, so that a reader sees the old one, the new one, or for a moment none.
"""

import contextlib
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, StructField, StructType
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from promo_assets.lake.storage.files import Files, LakeError, lake_errors
from promo_assets.lake.tables import Table, day_folder
from promo_assets.lake.transform.calendar_days import days_between

SPARK_SETTINGS = {
    "spark.sql.maxConcurrentOutputFileWriters": 200,  # no sort before the split into folders
    "spark.sql.sources.partitionColumnTypeInference.enabled": False,  # an event type may look like a date
    "spark.sql.objectHashAggregate.sortBased.fallbackThreshold": 100_000,
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.codegen.hugeMethodLimit": 8000,  # HotSpot compiles no larger ones: the cleaning step takes a third of the time
}
PARTITIONS_PER_CORE = 4
TASKS_TIMEOUT_S = 30
NO_MARK = {"mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartitionStats:
    """What one day of a table consists of."""

    rows: int
    bytes: int
    files: int


class Lake:
    """The lake below a root (a Hadoop URI or a local folder), with the tables of one owner."""

    def __init__(
        self,
        spark: SparkSession,
        root: str,
        owner: str,
        warn: Callable[[str], object] = LOG.warning,
    ):
        self._warn = warn
        self._owner = owner
        self._spark = spark.newSession()  # of its own, for its settings
        for name, value in SPARK_SETTINGS.items():
            self._spark.conf.set(name, value)
        if (spark.sparkContext.master or "").startswith("local"):
            # Spark's 200 are for a cluster: here each costs a file per task.
            self._spark.conf.set("spark.sql.shuffle.partitions", PARTITIONS_PER_CORE * self.cores)
            # These tell whether a task that runs again shuffles the same rows as before; local tasks do not run again.
            self._spark.conf.set("spark.sql.shuffle.orderIndependentChecksum.enabled", False)
        self._files = Files(spark, root)
        self._is_stopped = False

    def stop(self) -> None:
        """Ends what Spark does, from another thread; nothing is written after that."""
        self._is_stopped = True
        self._spark.sparkContext.cancelAllJobs()

    @property
    def session(self) -> SparkSession:
        return self._spark

    @property
    def cores(self) -> int:
        """How many tasks run at once."""
        return self._spark.sparkContext.defaultParallelism

    def path(self, table: Table) -> str:
        return self._files.root + table.path.format(owner=self._owner)

    def day_path(self, table: Table, day: date) -> str:
        return f"{self.path(table)}/{day_folder(day)}"

    # -- what is there

    def days(self, table: Table) -> list[date]:
        """The days that are there, in order."""
        return sorted(
            day for name, _ in self._files.entries(self.path(table)) if (day := _day_of(name))
        )

    def has(self, table: Table, day: date) -> bool:
        return self._files.exists(self.day_path(table, day))

    def is_marked_complete(self, table: Table, day: date) -> bool:
        """With the file that Hadoop's writers leave in the end."""
        return self._files.exists(f"{self.day_path(table, day)}/_SUCCESS")

    def files(self, table: Table, day: date) -> list[tuple[str, int, int]]:
        """Name, bytes and modification time (unix ms) of a day's files."""
        return self._files.data_files(self.day_path(table, day))

    def measure(self, table: Table, day: date) -> PartitionStats:
        """Rows are told by the files' footers. Raises `LakeError` where one cannot be read."""
        return self._measure(self.day_path(table, day))

    def extra_columns(self, table: Table, day: date) -> list[str]:
        """Columns in the first of a day's files that the table does not have."""
        names = self._files.columns(self.files(table, day)[0][0]) if self.files(table, day) else []
        return sorted(set(names).difference(table.column_names))

    def wrong_columns(self, table: Table, days: Sequence[date]) -> list[str]:
        """Columns that are otherwise than the table says in the first file of these days; one job wrote them all alike."""
        for name in (name for day in days for name, _, _ in self.files(table, day)):
            expected, found = (
                {field.name: field.dataType for field in schema.fields}
                for schema in (table.schema, self._files.schema(name))
            )
            return sorted(
                name
                for name in (expected.keys() | found.keys()) - set(table.split)
                if expected.get(name) != found.get(name)
            )
        return []

    # -- reading

    def read(self, table: Table, days: Sequence[date]) -> DataFrame:
        """The table's columns and `date`. Raises `LakeError` where one of the days is missing."""
        if missing := sorted(set(days).difference(self.days(table))):
            raise LakeError(
                f"{table.layer}/{table.name} has no {_listed(missing)}: materialize it first"
            )
        return self._read(table, days)

    def read_between(self, table: Table, first: date, last: date) -> DataFrame:
        """As `read`, from first to last; missing days count as empty, with a warning."""
        days, present = days_between(first, last), set(self.days(table))
        if missing := [day for day in days if day not in present]:
            self._warn(f"{table.layer}/{table.name} has no {_listed(missing)}: counted as empty")
        return self._read(table, [day for day in days if day in present])

    def read_up_to(self, table: Table, last: date) -> DataFrame:
        """As `read_between`, from the first day that is there."""
        return self.read_between(table, min(self.days(table), default=last), last)

    def read_file(self, table: Table) -> bytes | None:
        """A table that is one file; None where it is missing."""
        return self._files.read_bytes(self.path(table))

    def _read(self, table: Table, days: Sequence[date]) -> DataFrame:
        schema = StructType([*table.schema.fields, StructField("date", DateType())])
        if not days:
            return self._spark.createDataFrame([], schema)
        with lake_errors(f"{table.layer}/{table.name}"):
            reader = self._spark.read.schema(schema).option("basePath", self.path(table))
            return reader.parquet(*(self.day_path(table, day) for day in days))

    # -- writing

    def replace_days(
        self, frame: DataFrame, table: Table, days: Sequence[date]
    ) -> dict[date, PartitionStats]:
        """Writes the frame (the table's columns and `date`) and puts each of the days in the place of what was there.

        A day without rows is replaced as well. Raises `LakeError` where the frame cannot be computed; then nothing is replaced.
        """
        if self._is_stopped:
            raise LakeError(f"{table.layer}/{table.name} is not written: the run was terminated")
        with (
            lake_errors(f"{table.layer}/{table.name} could not be written"),
            self._scratch_folder(table) as scratch,
        ):
            try:
                frame.write.options(**NO_MARK).partitionBy("date", *table.split).parquet(
                    f"{scratch}/new"
                )
            except BaseException:
                self._await_tasks()  # of a job that failed or was cancelled: what they still write must not reappear
                raise
            self._add_empty_days(table, f"{scratch}/new", days)
            written = {day: self._measure(f"{scratch}/new/{day_folder(day)}") for day in days}
            for day in days:
                self._files.replace(
                    self.day_path(table, day),
                    f"{scratch}/new/{day_folder(day)}",
                    f"{scratch}/old-{day}",
                )
            return written

    def replace_day(self, frame: DataFrame, table: Table, day: date) -> PartitionStats:
        """As `replace_days`, for a frame of one day, without `date`."""
        return self.replace_days(frame.withColumn("date", F.lit(day)), table, [day])[day]

    def replace_file(self, content: bytes, table: Table) -> None:
        """A table that is one file."""
        with self._scratch_folder(table) as scratch:
            self._files.write_bytes(content, f"{scratch}/new")
            self._files.replace(self.path(table), f"{scratch}/new", f"{scratch}/old")

    def _await_tasks(self) -> None:
        """Spark says that a job has ended before its tasks have. Only its scheduler knows of these."""
        session: Any = self._spark._jsparkSession
        scheduler = session.sparkContext().taskScheduler()

        def running() -> int:
            numbers, total = scheduler.runningTasksByExecutors().valuesIterator(), 0
            while numbers.hasNext():
                total += numbers.next()
            return total

        with contextlib.suppress(RetryError):
            Retrying(
                retry=retry_if_result(bool),
                wait=wait_fixed(0.1),
                stop=stop_after_delay(TASKS_TIMEOUT_S),
            )(running)

    def _scratch_folder(self, table: Table) -> AbstractContextManager[str]:
        return self._files.scratch_folder(
            f"{self._files.root}/user/{self._owner}/scratch", f"{table.layer}_{table.name}"
        )

    def _measure(self, folder: str) -> PartitionStats:
        files = self._files.data_files(folder)
        return PartitionStats(
            sum(self._files.rows(name) for name, _, _ in files),
            sum(size for _, size, _ in files),
            len(files),
        )

    def _add_empty_days(self, table: Table, folder: str, days: Sequence[date]) -> None:
        """A day without rows has no folder yet. It gets one, with a file without rows where days are not split further."""
        there = {name for name, _ in self._files.entries(folder)}
        for empty in (
            f"{folder}/{day_folder(day)}" for day in days if day_folder(day) not in there
        ):
            if table.split:
                self._files.make_folder(empty)
            else:
                self._spark.createDataFrame([], table.schema).coalesce(1).write.options(
                    **NO_MARK
                ).parquet(empty)


def _day_of(name: str) -> date | None:
    try:
        day = date.fromisoformat(name.removeprefix("date="))
    except ValueError:
        return None
    return (
        day if name == day_folder(day) else None
    )  # other ways to write a day are no name of a partition


def _listed(days: Sequence[date]) -> str:
    shown = ", ".join(map(str, days[:5]))
    return shown if len(days) <= 5 else f"{shown} and {len(days) - 5} more days"

"""The edge to the lake: reads its tables and replaces their days.

A day is written to a scratch folder and renamed into place as a whole, so that a reader sees the
old day, the new day, or for a moment no day.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, StructField, StructType

from promo_assets.lake.storage.files import Files, LakeError, translate_errors
from promo_assets.lake.storage.parquet_footers import ParquetFooters
from promo_assets.lake.storage.spark import await_tasks, open_lake_session
from promo_assets.lake.tables import Table, day_folder, parse_day_folder
from promo_assets.lake.transform.calendar_days import days_between

NO_SUCCESS_FILE = {"mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartitionStats:
    """The size of one day of a table."""

    rows: int
    bytes: int
    files: int


class Lake:
    """The tables of one owner in the lake below a root, which is a Hadoop URI or a local folder."""

    def __init__(
        self,
        spark: SparkSession,
        root: str,
        owner: str,
        warn: Callable[[str], object] = LOG.warning,
    ):
        self._warn = warn
        self._owner = owner
        self._spark = open_lake_session(spark)
        self._files = Files(spark, root)
        self._footers = ParquetFooters(spark, self._files.hadoop)
        self._is_stopped = False

    def stop(self) -> None:
        """Cancel all of Spark's jobs, from another thread; nothing is written afterwards."""
        self._is_stopped = True
        self._spark.sparkContext.cancelAllJobs()

    @property
    def session(self) -> SparkSession:
        return self._spark

    @property
    def cores(self) -> int:
        """The number of tasks that run at once."""
        return self._spark.sparkContext.defaultParallelism

    def path(self, table: Table) -> str:
        return self._files.root + table.path.format(owner=self._owner)

    def day_path(self, table: Table, day: date) -> str:
        return f"{self.path(table)}/{day_folder(day)}"

    # -- listing days and files

    def days(self, table: Table) -> list[date]:
        """Return the table's days in order."""
        names = [name for name, _ in self._files.entries(self.path(table))]
        return sorted(day for name in names if (day := parse_day_folder(name)))

    def has(self, table: Table, day: date) -> bool:
        return self._files.exists(self.day_path(table, day))

    def is_marked_complete(self, table: Table, day: date) -> bool:
        """Return whether the day has the file that Hadoop's writers create when they finish."""
        return self._files.exists(f"{self.day_path(table, day)}/_SUCCESS")

    def files(self, table: Table, day: date) -> list[tuple[str, int, int]]:
        """Return name, bytes and modification time (unix ms) of a day's files."""
        return self._files.data_files(self.day_path(table, day))

    def measure(self, table: Table, day: date) -> PartitionStats:
        """Measure a day by its files' footers. Raises `LakeError` if one cannot be read."""
        return self._measure(self.day_path(table, day))

    def extra_columns(self, table: Table, day: date) -> list[str]:
        """Return columns of the first of a day's files that the table does not have."""
        files = self.files(table, day)
        names = self._footers.read_column_names(files[0][0]) if files else []
        return sorted(set(names).difference(table.column_names))

    def wrong_columns(self, table: Table, days: Sequence[date]) -> list[str]:
        """Return columns of the first file of these days that differ from the table's definition.

        One job wrote all files of these days, so they are all alike.
        """
        files = next((files for day in days if (files := self.files(table, day))), None)
        if not files:
            return []
        expected = {field.name: field.dataType for field in table.schema}
        found = {field.name: field.dataType for field in self._footers.read_schema(files[0][0])}
        names = (expected.keys() | found.keys()) - set(table.split)
        return sorted(name for name in names if expected.get(name) != found.get(name))

    # -- reading

    def read(self, table: Table, days: Sequence[date]) -> DataFrame:
        """Return the table's columns and `date`. Raises `LakeError` if a day is missing."""
        if missing := sorted(set(days).difference(self.days(table))):
            name = f"{table.layer}/{table.name}"
            raise LakeError(f"{name} has no {_format_days(missing)}. Materialize {name} first.")
        return self._read(table, days)

    def read_between(self, table: Table, first: date, last: date) -> DataFrame:
        """Like `read`, from first to last; missing days count as empty, with a warning."""
        days, present = days_between(first, last), set(self.days(table))
        if missing := [day for day in days if day not in present]:
            self._warn(
                f"{table.layer}/{table.name} has no {_format_days(missing)}: counted as empty"
            )
        return self._read(table, [day for day in days if day in present])

    def read_up_to(self, table: Table, last: date) -> DataFrame:
        """Like `read_between`, from the table's first day."""
        return self.read_between(table, min(self.days(table), default=last), last)

    def read_file(self, table: Table) -> bytes | None:
        """Return the content of a table that is a single file; None if the file does not exist."""
        return self._files.read_bytes(self.path(table))

    def _read(self, table: Table, days: Sequence[date]) -> DataFrame:
        schema = StructType([*table.schema.fields, StructField("date", DateType())])
        if not days:
            return self._spark.createDataFrame([], schema)
        with translate_errors(f"{table.layer}/{table.name}"):
            reader = self._spark.read.schema(schema).option("basePath", self.path(table))
            return reader.parquet(*(self.day_path(table, day) for day in days))

    # -- writing

    def replace_days(
        self, frame: DataFrame, table: Table, days: Sequence[date]
    ) -> dict[date, PartitionStats]:
        """Write the frame (the table's columns and `date`) and replace each of these days by it.

        A day without rows is replaced as well. Raises `LakeError` if the frame cannot be computed;
        then nothing is replaced.
        """
        if self._is_stopped:
            raise LakeError(f"{table.layer}/{table.name} is not written: the run was terminated")
        with (
            translate_errors(f"{table.layer}/{table.name} could not be written"),
            self._scratch_folder(table) as scratch,
        ):
            new = f"{scratch}/new"
            writer = frame.write.options(**NO_SUCCESS_FILE).partitionBy("date", *table.split)
            try:
                writer.parquet(new)
            except BaseException:
                # Tasks of a job that failed or was cancelled may still be writing, and would create
                # the scratch folder again after it was deleted.
                await_tasks(self._spark)
                raise
            self._add_empty_days(table, new, days)
            written = {day: self._measure(f"{new}/{day_folder(day)}") for day in days}
            for day in days:
                new_day, old_day = f"{new}/{day_folder(day)}", f"{scratch}/old-{day}"
                self._files.replace(self.day_path(table, day), new_day, old_day)
            return written

    def replace_day(self, frame: DataFrame, table: Table, day: date) -> PartitionStats:
        """Like `replace_days`, for a frame of one day that has no column `date`."""
        return self.replace_days(frame.withColumn("date", F.lit(day)), table, [day])[day]

    def replace_file(self, content: bytes, table: Table) -> None:
        """Replace a table that is a single file."""
        with self._scratch_folder(table) as scratch:
            self._files.write_bytes(content, f"{scratch}/new")
            self._files.replace(self.path(table), f"{scratch}/new", f"{scratch}/old")

    def _scratch_folder(self, table: Table) -> AbstractContextManager[str]:
        return self._files.scratch_folder(
            f"{self._files.root}/user/{self._owner}/scratch", f"{table.layer}_{table.name}"
        )

    def _measure(self, folder: str) -> PartitionStats:
        files = self._files.data_files(folder)
        return PartitionStats(
            rows=sum(self._footers.count_rows(name) for name, _, _ in files),
            bytes=sum(size for _, size, _ in files),
            files=len(files),
        )

    def _add_empty_days(self, table: Table, folder: str, days: Sequence[date]) -> None:
        """Create the folders of days without rows, which Spark does not create.

        If the table's days are not split further, such a day gets a file without rows.
        """
        written = {name for name, _ in self._files.entries(folder)}
        empty_days = [day for day in days if day_folder(day) not in written]
        for path in (f"{folder}/{day_folder(day)}" for day in empty_days):
            if table.split:
                self._files.make_folder(path)
            else:
                no_rows = self._spark.createDataFrame([], table.schema).coalesce(1)
                no_rows.write.options(**NO_SUCCESS_FILE).parquet(path)


def _format_days(days: Sequence[date]) -> str:
    text = ", ".join(map(str, days[:5]))
    return text if len(days) <= 5 else f"{text} and {len(days) - 5} more days"

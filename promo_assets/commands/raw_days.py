"""The lake's RAW days as `lake sample` writes them: a day is made aside and put in its place in one step."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, redirect_stderr_to
from promo_assets.lake.tables import RAW_EVENTS, day_folder
from promo_assets.settings import Settings

SCRATCH = "_lake_sample_"  # beside the table's folder: its readers never see what is not complete


class RawDays(Protocol):
    place: str
    free_bytes: int | None  # None: not known

    def names(self, day: date) -> list[str]:
        """What lies in the day's folder; nothing where there is none."""
        ...

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        """A folder for days in the making."""
        ...

    def put(self, day: date, made: Path) -> None:
        """Puts a day's folder from the scratch folder in its place, instead of what was there."""
        ...


@contextlib.contextmanager
def raw_days(settings: Settings) -> Iterator[RawDays]:
    folder = local_folder(settings.lake_uri)
    if folder:
        yield _LocalDays(folder)
    else:
        with _hadoop_days(settings) as days:
            yield days


def local_folder(uri: str) -> Path | None:
    """The folder that a plain path or a file: URI names; None for any other URI."""
    scheme, colon, rest = uri.partition(":")
    if scheme == "file" and colon:
        return Path("/" + rest.lstrip("/"))
    return None if colon and rest.startswith("//") else Path(uri).absolute()


class _LocalDays:
    def __init__(self, root: Path):
        self._folder = root / RAW_EVENTS.path.strip("/")
        self.place = str(self._folder)
        there = next(path for path in (root, *root.parents) if path.exists())
        self.free_bytes: int | None = shutil.disk_usage(there).free

    def names(self, day: date) -> list[str]:
        folder = self._folder / day_folder(day)
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.parent.glob(f"{SCRATCH}*"):
            with (
                contextlib.suppress(OSError),
                _locked(left),
            ):  # of a run that was killed: one that goes on holds its lock
                shutil.rmtree(left)
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=self._folder.parent))
        with _locked(folder):
            try:
                yield folder
            finally:
                shutil.rmtree(folder)

    def put(self, day: date, made: Path) -> None:
        target = self._folder / day_folder(day)
        with contextlib.suppress(FileNotFoundError):
            target.rename(made.with_suffix(".old"))
        made.rename(target)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextlib.contextmanager
def _hadoop_days(settings: Settings) -> Iterator[RawDays]:
    """Hadoop's own client does the work; Spark only brings it along."""
    from py4j.protocol import Py4JJavaError

    from promo_assets.jvm.session import end_jvm, open_session

    log = settings.home / "logs" / "spark.log"
    redirect_stderr_to(log)
    console.info(f"opening {settings.lake_uri} (Spark's log is {log})")
    try:
        spark = open_session(
            settings.model_copy(update={"spark_master": "local[1]"}), "lake sample"
        )
        yield _HadoopDays(settings.lake_uri, spark)
    except Py4JJavaError as error:
        raise CommandError(
            f"{settings.lake_uri}: {str(error.java_exception).partition(os.linesep)[0]}"
        ) from error
    finally:
        end_jvm()


class _HadoopDays:
    free_bytes: int | None = None

    def __init__(self, root: str, spark: Any):
        self.place = root.rstrip("/") + RAW_EVENTS.path
        self._path = spark._jvm.org.apache.hadoop.fs.Path
        self._files = self._path(self.place).getFileSystem(spark._jsc.hadoopConfiguration())

    def names(self, day: date) -> list[str]:
        folder = self._path(f"{self.place}/{day_folder(day)}")
        return (
            sorted(status.getPath().getName() for status in self._files.listStatus(folder))
            if self._files.exists(folder)
            else []
        )

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="lake-sample-") as folder:
            yield Path(folder)

    def put(self, day: date, made: Path) -> None:
        target = self._path(f"{self.place}/{day_folder(day)}")
        aside = self._path(
            f"{self.place.rpartition('/')[0]}/{SCRATCH}{uuid.uuid4().hex}/{day_folder(day)}"
        )
        try:
            self._files.mkdirs(aside.getParent())
            self._files.copyFromLocalFile(True, True, self._path(f"file://{made}"), aside)
            self._files.mkdirs(target.getParent())
            self._files.delete(target, True)
            if not self._files.rename(aside, target):
                raise CommandError(f"{target} could not be put in its place")
        finally:
            self._files.delete(aside.getParent(), True)

"""The RAW days that `lake sample` writes: made in a scratch folder, then moved into place.

A local folder is written directly, any other URI through Hadoop's own client.
"""

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

# Scratch folders lie next to the table's folder, so that its readers never see an incomplete day.
SCRATCH_PREFIX = "_lake_sample_"


class RawDays(Protocol):
    place: str
    free_bytes: int | None  # None where it is unknown

    def list_files(self, day: date) -> list[str]:
        """Return the names of the day's files, sorted; an empty list for a missing day."""
        ...

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        """Return a local folder in which days can be made."""
        ...

    def replace_day(self, day: date, folder: Path) -> None:
        """Move a day's folder out of the scratch folder into place, and remove what was there."""
        ...


@contextlib.contextmanager
def open_raw_days(settings: Settings) -> Iterator[RawDays]:
    folder = local_folder(settings.lake_uri)
    if folder:
        yield _LocalDays(folder)
    else:
        with _open_hadoop_days(settings) as days:
            yield days


def local_folder(uri: str) -> Path | None:
    """Return the folder that a plain path or a file: URI names, and None for any other URI."""
    scheme, colon, rest = uri.partition(":")
    if scheme == "file" and colon:
        return Path("/" + rest.lstrip("/"))
    return None if colon and rest.startswith("//") else Path(uri).absolute()


class _LocalDays:
    def __init__(self, root: Path):
        self._folder = root / RAW_EVENTS.path.strip("/")
        self.place = str(self._folder)
        existing = next(path for path in (root, *root.parents) if path.exists())
        self.free_bytes: int | None = shutil.disk_usage(existing).free

    def list_files(self, day: date) -> list[str]:
        folder = self._folder / day_folder(day)
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=self._folder.parent))
        with _locked(folder):
            try:
                yield folder
            finally:
                shutil.rmtree(folder)

    def _remove_leftovers(self) -> None:
        """Remove the scratch folders of killed runs; a run that is still alive holds its lock."""
        for leftover in self._folder.parent.glob(f"{SCRATCH_PREFIX}*"):
            with contextlib.suppress(OSError), _locked(leftover):
                shutil.rmtree(leftover)

    def replace_day(self, day: date, folder: Path) -> None:
        target = self._folder / day_folder(day)
        with contextlib.suppress(FileNotFoundError):
            target.rename(folder.with_suffix(".old"))
        folder.rename(target)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextlib.contextmanager
def _open_hadoop_days(settings: Settings) -> Iterator[RawDays]:
    """Open the days through Hadoop's own client, which a Spark session brings along."""
    from py4j.protocol import Py4JJavaError

    from promo_assets.jvm.session import end_jvm, open_session

    log = settings.home / "logs" / "spark.log"
    redirect_stderr_to(log)
    console.info(f"opening {settings.lake_uri} (Spark's log is {log})")
    try:
        one_core = settings.model_copy(update={"spark_master": "local[1]"})
        yield _HadoopDays(settings.lake_uri, open_session(one_core, "lake sample"))
    except Py4JJavaError as error:
        reason = str(error.java_exception).partition(os.linesep)[0]
        raise CommandError(f"{settings.lake_uri}: {reason}") from error
    finally:
        end_jvm()


class _HadoopDays:
    free_bytes: int | None = None

    def __init__(self, root: str, spark: Any):
        from promo_assets.jvm.hadoop import open_file_system

        self.place = root.rstrip("/") + RAW_EVENTS.path
        self._files, self._path, _ = open_file_system(spark, self.place)

    def list_files(self, day: date) -> list[str]:
        folder = self._path(f"{self.place}/{day_folder(day)}")
        if not self._files.exists(folder):
            return []
        return sorted(status.getPath().getName() for status in self._files.listStatus(folder))

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="lake-sample-") as folder:
            yield Path(folder)

    def replace_day(self, day: date, folder: Path) -> None:
        target = self._path(f"{self.place}/{day_folder(day)}")
        parent = self.place.rpartition("/")[0]
        uploaded = self._path(f"{parent}/{SCRATCH_PREFIX}{uuid.uuid4().hex}/{day_folder(day)}")
        try:
            self._files.mkdirs(uploaded.getParent())
            self._files.copyFromLocalFile(True, True, self._path(f"file://{folder}"), uploaded)
            self._files.mkdirs(target.getParent())
            self._files.delete(target, True)
            if not self._files.rename(uploaded, target):
                raise CommandError(
                    f"Cannot move {uploaded} to {target}: Hadoop's file system refused it"
                )
        finally:
            self._files.delete(uploaded.getParent(), True)

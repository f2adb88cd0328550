"""What must be there before the stream starts: tables and rights, a Spark with executors, room for the checkpoint.

Each is one clear line where it is missing, instead of a stack trace later.
"""

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.errors import InsufficientPrivilege, LockNotAvailable
from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from promo_assets.settings import Settings
from promo_assets.stream.errors import LedgerError, StreamError, first_line
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.grants import missing_right
from promo_assets.stream.ledger.ledger import (
    LEDGER_VERSION,
    apply_ddl,
    check_ledger,
    ledger_version,
)

POLL_S = 0.2
EXECUTOR_WAIT_S = 20
CHECKPOINT_MIN_BYTES = 64 * 1024


def prepare_database(settings: Settings) -> None:
    """The tables and the ledger are there as this release needs them, or are made so, and may be used.

    Raises `StreamError` where something is not to be had.
    """
    role = "of this login"
    try:
        with connect(settings.database_url, "promo stream, start") as connection:
            role = connection.info.user
            if _version(connection) < LEDGER_VERSION:
                try:
                    apply_ddl(settings.database_url)
                except InsufficientPrivilege:
                    check_ledger(connection)
            if missing := missing_right(connection):
                raise StreamError(
                    f"role {role} lacks {missing} in Postgres: run `promo-assets ledger apply --grant-to {role}` as the owner of the tables"
                )
    except LedgerError as problem:
        raise StreamError(f"{problem}. Nothing was touched") from None
    except LockNotAvailable:
        raise StreamError(
            "the tables cannot be upgraded while others hold on to them: stop the old stream first"
        ) from None
    except psycopg.OperationalError as error:
        raise StreamError(f"Postgres gave no connection: {first_line(error)}") from None
    except psycopg.Error as error:
        raise StreamError(f"Postgres refused the stream's tables: {first_line(error)}") from None


def _version(connection: psycopg.Connection) -> int:
    """Where the role may not even see it, it is taken for this release's: the right that is missing is told then."""
    try:
        return ledger_version(connection)
    except InsufficientPrivilege:
        return LEDGER_VERSION


def get_session(get_spark: Callable[[], SparkSession], settings: Settings) -> SparkSession:
    """Spark's session; raises `StreamError` where there is none to be had."""
    try:
        return get_spark()
    except Py4JError as error:
        raise StreamError(
            f"Spark ({settings.spark_master}) gave no session: {first_line(error)}"
        ) from error


def await_executor(spark: Any, stop: threading.Event, tell: Callable[[str | None], None]) -> None:
    """Returns when there is an executor, or at a stop. On a cluster without room Spark would wait in silence; `tell` gets the word."""
    master, since, told = spark.sparkContext.master, time.monotonic(), False
    if master.startswith("local"):
        return
    while spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() < 2:  # one is the driver
        if stop.wait(POLL_S):
            return
        if time.monotonic() - since > EXECUTOR_WAIT_S and not told:
            told = True
            tell(f"{master} has given no executor yet: has the cluster room?")
    if told:
        tell(None)


def check_disk_space(checkpoint: str) -> None:
    """A local checkpoint can be written: on a full disk Spark's own attempt takes the JVM's gateway with it, and tells nothing."""
    scheme, _, rest = (
        checkpoint.rpartition("://")
        if "://" in checkpoint
        else ("", "", checkpoint.removeprefix("file:"))
    )
    if scheme not in ("", "file"):
        return
    folder = Path(rest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x" * CHECKPOINT_MIN_BYTES)
    except OSError as error:
        raise StreamError(f"the checkpoint {folder} cannot be written: {error.strerror}") from None

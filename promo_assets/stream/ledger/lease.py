"""Whose lease it is to write: one run of the stream at a time, held by a lock that a dead run cannot keep_alive.

The lock is a session's advisory lock in Postgres; the epoch that comes with it fences whoever still writes without it.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

import psycopg
from psycopg.types.json import Jsonb
from tenacity import RetryError, retry, retry_if_result, stop_after_delay, wait_fixed

from promo_assets.stream.errors import LeaseLost, StreamError
from promo_assets.stream.ledger.connection import connect

LOCK = 7_210_113_002
ACQUIRE_TIMEOUT_S = 30
HEARTBEAT_S = 2


@dataclass(frozen=True)
class Heartbeat:
    """The last sign of life of a stream, and whether one holds the lock now."""

    holder: str | None
    started_at: datetime | None
    beat_at: datetime | None
    last_error: str | None
    locked: bool


class ReadOffsets(TypedDict):
    """Below these offsets, by partition, all of the input topic with that id has been ingested."""

    topic_id: str
    offsets: dict[str, int]


@dataclass(frozen=True)
class StreamStatus:
    """What a running stream lets others see: its metrics (`Metrics.shown`), and where it has read to."""

    metrics: dict[str, Any] | None = None
    read_offsets: ReadOffsets | None = None


def read_status(connection: psycopg.Connection) -> StreamStatus:
    """Of the stream that runs, or ran last; the read offsets are the last that are known."""
    return StreamStatus(
        *connection.execute("SELECT metrics, read_offsets FROM promo_ledger.heartbeat").fetchone()
        or ()
    )


def read_heartbeat(connection: psycopg.Connection) -> Heartbeat:
    row = connection.execute(
        """SELECT holder, started_at, beat_at, last_error, EXISTS (SELECT FROM pg_locks
            WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND (classid::int8 << 32) + objid::int8 = %s AND granted) FROM promo_ledger.heartbeat""",
        (LOCK,),
    ).fetchone()
    return Heartbeat(*row) if row else Heartbeat(None, None, None, None, False)


class Lease:
    """The lease to write, kept by a thread that also shows the sign of life; `lost` says why it is over, if it is."""

    def __init__(self, database_url: str, holder: str):
        self._database_url = database_url
        self._holder = holder
        self._connection = connect(database_url, "promo stream, lease")
        self._over = threading.Event()
        self.last_error: str | None = None
        self.status = StreamStatus()
        self.lost: str | None = None
        try:
            if not self._lock(ACQUIRE_TIMEOUT_S):
                raise StreamError(_describe_holder(self._connection))
            row = self._connection.execute(
                "UPDATE promo_ledger.stream SET epoch = epoch + 1, holder = %s RETURNING epoch, ledger_id::text",
                (holder,),
            ).fetchone()
            assert row, "promo_ledger.stream has its row"
            self.epoch, self.ledger_id = row
            self._connection.execute(
                "UPDATE promo_ledger.heartbeat SET started_at = clock_timestamp(), last_error = NULL, metrics = NULL"
            )
            self._write_heartbeat()
        except BaseException:
            self._connection.close()
            raise

    def _lock(self, patience_s: float) -> bool:
        @retry(
            retry=retry_if_result(lambda locked: not locked),
            wait=wait_fixed(0.5),
            stop=stop_after_delay(patience_s),
        )
        def try_lock() -> bool:
            row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
            return bool(row and row[0])

        try:
            return try_lock()
        except RetryError:
            return False

    def _write_heartbeat(self) -> None:
        self._connection.execute(
            """UPDATE promo_ledger.heartbeat SET holder = %s, beat_at = clock_timestamp(), last_error = coalesce(%s, last_error),
                metrics = coalesce(%s, metrics), read_offsets = coalesce(%s, read_offsets)""",
            (
                self._holder,
                self.last_error,
                *(
                    Jsonb(each) if each else None
                    for each in (self.status.metrics, self.status.read_offsets)
                ),
            ),
        )

    def keep_alive(self) -> None:
        """Beat until `release`; after a lost connection take the same lease up again, unless another run has had one since."""
        while not self._over.wait(HEARTBEAT_S):
            try:
                self._write_heartbeat()
            except psycopg.Error:
                try:
                    self._reacquire()
                except psycopg.Error:
                    continue  # Postgres is away: the writers fail too, and wait
                except LeaseLost as lost:
                    self.lost = str(lost)
                    return

    def _reacquire(self) -> None:
        self._connection.close()
        self._connection = connect(self._database_url, "promo stream, lease")
        locked = self._lock(
            ACQUIRE_TIMEOUT_S
        )  # first: with the lock held no other run can begin a lease
        if not locked or self._connection.execute(
            "SELECT epoch FROM promo_ledger.stream"
        ).fetchone() != (self.epoch,):
            raise LeaseLost(
                "another run of the promo stream has taken over while Postgres was out of reach"
            )

    def release(self) -> None:
        self._over.set()
        with contextlib.suppress(psycopg.Error):
            if not self.lost:
                self._write_heartbeat()  # the last metrics
        with contextlib.suppress(psycopg.Error):
            self._connection.close()


@contextlib.contextmanager
def acquire_lease(database_url: str, holder: str) -> Iterator[Lease]:
    """Become the one run that writes; raises `StreamError` saying who is when that one is still there after 30 s."""
    lease = Lease(database_url, holder)
    heartbeat = threading.Thread(target=lease.keep_alive, name="heartbeat", daemon=True)
    heartbeat.start()
    try:
        yield lease
    finally:
        lease.release()
        heartbeat.join(HEARTBEAT_S)


def _describe_holder(connection: psycopg.Connection) -> str:
    heartbeat = read_heartbeat(connection)
    since = f" since {heartbeat.started_at:%Y-%m-%d %H:%M:%S%z}" if heartbeat.started_at else ""
    return f"another promo stream is running ({heartbeat.holder}{since}): only one may write, so this one ends. Nothing was written"

"""The lease: only the run of the stream that holds it may write.

The lease is an advisory lock in Postgres. It ends with its session, so a dead run cannot keep it.
Each new lease raises the epoch, which fences off a run that still writes without the lock.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

import psycopg
from psycopg.types.json import Jsonb
from tenacity import RetryError, retry, retry_if_result, stop_after_delay, wait_fixed

from promo_assets.stream.errors import LeaseLost, StreamError
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.offsets import Offsets, parse_offsets

LOCK = 7_210_113_002
ACQUIRE_TIMEOUT_S = 30
LOCK_POLL_S = 0.5
HEARTBEAT_S = 2
APPLICATION_NAME = "promo stream, lease"

_READ_HEARTBEAT = """
SELECT holder, started_at, beat_at, last_error, EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (classid::int8 << 32) + objid::int8 = %s
      AND granted)
FROM promo_ledger.heartbeat
"""
_RAISE_EPOCH = """
UPDATE promo_ledger.stream SET epoch = epoch + 1, holder = %s RETURNING epoch, ledger_id::text
"""
_RESET_HEARTBEAT = """
UPDATE promo_ledger.heartbeat
SET started_at = clock_timestamp(), last_error = NULL, metrics = NULL
"""
_WRITE_HEARTBEAT = """
UPDATE promo_ledger.heartbeat
SET holder = %s, beat_at = clock_timestamp(),
    last_error = coalesce(%s, last_error),
    metrics = coalesce(%s, metrics),
    read_offsets = coalesce(%s, read_offsets)
"""


@dataclass(frozen=True)
class Heartbeat:
    """The last heartbeat of a stream, and whether a stream holds the lock now."""

    holder: str | None
    started_at: datetime | None
    beat_at: datetime | None
    last_error: str | None
    locked: bool


class ReadOffsets(TypedDict):
    """All messages of the topic with this id below these offsets have been ingested."""

    topic_id: str
    offsets: Offsets


@dataclass(frozen=True)
class StreamStatus:
    """What a running stream reports about itself: its metrics (`Metrics.as_json`) and progress."""

    metrics: dict[str, Any] | None = None
    read_offsets: ReadOffsets | None = None


def read_status(connection: psycopg.Connection) -> StreamStatus:
    """The status of the stream that runs or ran last; its offsets are the last known ones."""
    query = "SELECT metrics, read_offsets FROM promo_ledger.heartbeat"
    metrics, stored = connection.execute(query).fetchone() or (None, None)
    read_offsets = stored and stored | {"offsets": parse_offsets(stored["offsets"])}
    return StreamStatus(metrics, read_offsets)


def read_heartbeat(connection: psycopg.Connection) -> Heartbeat:
    """The heartbeat of the stream that runs or ran last; all None if no stream has ever run."""
    row = connection.execute(_READ_HEARTBEAT, (LOCK,)).fetchone()
    return Heartbeat(*row) if row else Heartbeat(None, None, None, None, False)


@dataclass
class Lease:
    """A lease that `acquire_lease` has acquired; a thread keeps it alive by `keep_alive`.

    The stream sets `last_error` and `status`, which the next heartbeat writes. `lost` is None, or
    the reason why the lease is over.
    """

    epoch: int
    ledger_id: str
    _database_url: str = field(repr=False)
    _holder: str
    _connection: psycopg.Connection = field(repr=False)
    _released: threading.Event = field(default_factory=threading.Event)
    last_error: str | None = None
    status: StreamStatus = field(default_factory=StreamStatus)
    lost: str | None = None

    def write_heartbeat(self) -> None:
        metrics, read_offsets = self.status.metrics, self.status.read_offsets
        values = (
            self._holder,
            self.last_error,
            Jsonb(metrics) if metrics else None,
            Jsonb(read_offsets) if read_offsets else None,
        )
        self._connection.execute(_WRITE_HEARTBEAT, values)

    def keep_alive(self) -> None:
        """Write heartbeats until `release`, or until the lease is lost.

        After a lost connection it reacquires the same lease, unless another run has acquired one.
        """
        while not self._released.wait(HEARTBEAT_S):
            try:
                self.write_heartbeat()
            except psycopg.Error:
                try:
                    self._reacquire()
                except psycopg.Error:
                    continue  # Postgres is unavailable: the writers fail too, and wait
                except LeaseLost as lost:
                    self.lost = str(lost)
                    return

    def _reacquire(self) -> None:
        self._connection.close()
        self._connection = connect(self._database_url, APPLICATION_NAME)
        # The epoch is read while the lock is held, so no other run can begin a lease after that.
        if not (_acquire_lock(self._connection) and _read_epoch(self._connection) == self.epoch):
            raise LeaseLost(
                "another run of the promo stream acquired the lease while Postgres was unreachable"
            )

    def release(self) -> None:
        """Write the last metrics, and close the connection, which releases the lock."""
        self._released.set()
        with contextlib.suppress(psycopg.Error):
            if not self.lost:
                self.write_heartbeat()
        with contextlib.suppress(psycopg.Error):
            self._connection.close()


@contextlib.contextmanager
def acquire_lease(database_url: str, holder: str) -> Iterator[Lease]:
    """Hold the lease, with its heartbeat in a thread, until the end of the `with` block.

    Raises `StreamError`, which names the holder, if another run still holds it after
    `ACQUIRE_TIMEOUT_S` seconds. A killed run's lock takes a moment to be released.
    """
    lease = _begin_lease(database_url, holder)
    heartbeat = threading.Thread(target=lease.keep_alive, name="heartbeat", daemon=True)
    heartbeat.start()
    try:
        yield lease
    finally:
        lease.release()
        heartbeat.join(HEARTBEAT_S)


def _begin_lease(database_url: str, holder: str) -> Lease:
    connection = connect(database_url, APPLICATION_NAME)
    try:
        if not _acquire_lock(connection):
            raise StreamError(_describe_holder(connection))
        row = connection.execute(_RAISE_EPOCH, (holder,)).fetchone()
        assert row, "promo_ledger.stream always has its row"
        connection.execute(_RESET_HEARTBEAT)
        epoch, ledger_id = row
        lease = Lease(epoch, ledger_id, database_url, holder, connection)
        lease.write_heartbeat()
    except BaseException:
        connection.close()
        raise
    return lease


def _acquire_lock(connection: psycopg.Connection) -> bool:
    """Try to lock for `ACQUIRE_TIMEOUT_S` seconds; the lock lasts as long as the connection."""

    @retry(
        retry=retry_if_result(lambda locked: not locked),
        wait=wait_fixed(LOCK_POLL_S),
        stop=stop_after_delay(ACQUIRE_TIMEOUT_S),
    )
    def try_lock() -> bool:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
        return bool(row and row[0])

    try:
        return try_lock()
    except RetryError:
        return False


def _read_epoch(connection: psycopg.Connection) -> int | None:
    row = connection.execute("SELECT epoch FROM promo_ledger.stream").fetchone()
    return row[0] if row else None


def _describe_holder(connection: psycopg.Connection) -> str:
    heartbeat = read_heartbeat(connection)
    since = f" since {heartbeat.started_at:%Y-%m-%d %H:%M:%S%z}" if heartbeat.started_at else ""
    return (
        f"another promo stream is running ({heartbeat.holder}{since}). Only one run may write, "
        "so this one stops. Nothing was written"
    )

"""The ledger in Postgres: what is decided, whose audience is frozen, and what is left to deliver.

This module holds the driver's statements. Those of the executors are in `pipeline/ingest.py` and
`pipeline/delivery.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from promo_assets.stream.errors import LeaseLost
from promo_assets.stream.ledger.connection import database
from promo_assets.stream.ledger.sql_files import read_sql

# A dispatch's campaigns are bounded in number and in text, which bounds the memory they take.
DISPATCH_CAMPAIGNS = 2_000
DISPATCH_TEXT_BYTES = 16_000_000

_COUNT_WAITING = """
SELECT count(*), min(adv_campaign_datetime_start)
FROM promo_ledger.campaigns
WHERE state = 'waiting'
"""
_DISPATCH = sql.SQL("dispatch_id, topic, shards, attempt, frozen_at IS NOT NULL AS frozen")
_READ_OPEN_DISPATCH = sql.SQL(
    "SELECT {} FROM promo_ledger.dispatches WHERE finished_at IS NULL"
).format(_DISPATCH)
_RESTART_DISPATCH = sql.SQL("""
UPDATE promo_ledger.dispatches
SET shards = %s, topic = %s, attempt = attempt + 1
WHERE dispatch_id = %s
RETURNING {}
""").format(_DISPATCH)
_READ_RESTAURANTS = """
SELECT dispatch_position, restaurant_id
FROM promo_ledger.campaigns
WHERE dispatch_id = %s
ORDER BY dispatch_position
"""
_FREEZE_DISPATCH = """
UPDATE promo_ledger.dispatches SET frozen_at = clock_timestamp(), pairs = %s WHERE dispatch_id = %s
"""
_FINISH_DISPATCH = """
UPDATE promo_ledger.dispatches SET finished_at = clock_timestamp() WHERE dispatch_id = %s
"""
_DELETE_AUDIENCE = "DELETE FROM promo_ledger.audience WHERE dispatch_id = %s"
_CHECK_EPOCH = "SELECT FROM promo_ledger.stream WHERE epoch = %s FOR SHARE"


@dataclass(frozen=True)
class Dispatch:
    """Due campaigns whose audience is frozen together, and the topic that they were opened for."""

    dispatch_id: UUID
    topic: str
    shards: int
    attempt: int
    frozen: bool


@dataclass(frozen=True)
class BatchMetrics:
    """The number of a micro-batch's messages, and of its campaigns by outcome."""

    messages: int = 0
    rejected: int = 0
    repeated: int = 0
    expired: int = 0
    waiting: int = 0
    due: int = 0


class Ledger:
    """The driver's decisions.

    Every method that writes is one transaction. It raises `LeaseLost`, and writes nothing, if
    another run has acquired the lease.
    """

    def __init__(self, database_url: str, epoch: int):
        self._database_url = database_url
        self._epoch = epoch

    def finish_batch(
        self, query_id: str, batch_id: int, messages: int, rejected: int
    ) -> BatchMetrics:
        """Record that all messages of a micro-batch are ingested.

        Its campaigns are decided from now on. All metrics are 0 if the batch was recorded before.
        """
        values = {
            "query_id": query_id,
            "batch_id": batch_id,
            "messages": messages,
            "rejected": rejected,
        }
        with self._transaction() as cursor:
            row = cursor.execute(read_sql("finish_batch"), values).fetchone()
        return BatchMetrics(*row) if row else BatchMetrics()

    def start_due(self, time: int) -> BatchMetrics:
        """Make waiting campaigns due that start by unix time `time`, or expired if they ended."""
        with self._transaction() as cursor:
            row = cursor.execute(read_sql("start_due"), {"time": time}).fetchone()
        expired, due = row or (0, 0)
        return BatchMetrics(expired=expired, due=due)

    def count_waiting(self) -> tuple[int, int | None]:
        """The number of campaigns that wait for their start, and the next start in unix time."""
        with database(self._database_url) as connection:
            return count_waiting(connection)

    def open_dispatch(self, topic: str, shards: int) -> Dispatch | None:
        """The unfinished dispatch, or a new one of the oldest due campaigns, or None."""
        with (
            self._transaction() as cursor,
            cursor.connection.cursor(row_factory=class_row(Dispatch)) as dispatches,
        ):
            dispatch = dispatches.execute(_READ_OPEN_DISPATCH).fetchone()
            if dispatch and dispatch.frozen:
                return dispatch
            if dispatch:
                # Nothing of it has been sent. It starts over, with the present number of shards.
                restart = (shards, topic, dispatch.dispatch_id)
                restarted = dispatches.execute(_RESTART_DISPATCH, restart).fetchone()
                cursor.execute(_DELETE_AUDIENCE, (dispatch.dispatch_id,))
                return restarted
            values = {
                "topic": topic,
                "shards": shards,
                "campaigns": DISPATCH_CAMPAIGNS,
                "text_bytes": DISPATCH_TEXT_BYTES,
            }
            return dispatches.execute(read_sql("open_dispatch"), values).fetchone()

    def dispatch_restaurants(self, dispatch: Dispatch) -> list[tuple[int, str]]:
        """(dispatch_position, restaurant_id) of each campaign of the dispatch, by position."""
        with database(self._database_url) as connection:
            return connection.execute(_READ_RESTAURANTS, (dispatch.dispatch_id,)).fetchall()

    def freeze(self, dispatch: Dispatch, pairs: int) -> None:
        """Make the recorded audience final: later changes of favourites do not change it."""
        self._execute(_FREEZE_DISPATCH, (pairs, dispatch.dispatch_id))

    def finish_dispatch(self, dispatch: Dispatch) -> None:
        """Record that both sinks have all of the dispatch, and delete its audience."""
        with self._transaction() as cursor:
            cursor.execute(_FINISH_DISPATCH, (dispatch.dispatch_id,))
            cursor.execute(_DELETE_AUDIENCE, (dispatch.dispatch_id,))

    def _execute(self, statement: LiteralString, values: tuple) -> None:
        with self._transaction() as cursor:
            cursor.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Cursor]:
        with database(self._database_url) as connection, fenced(connection, self._epoch) as cursor:
            yield cursor


def count_waiting(connection: psycopg.Connection) -> tuple[int, int | None]:
    """The number of campaigns that wait for their start, and the next start in unix time."""
    return connection.execute(_COUNT_WAITING).fetchone() or (0, None)


@contextmanager
def fenced(connection: psycopg.Connection, epoch: int) -> Iterator[psycopg.Cursor]:
    """A transaction of the run whose lease has this epoch.

    Raises `LeaseLost` if a newer lease was acquired. The share lock delays a newer lease until the
    end of the transaction.
    """
    with connection.transaction(), connection.cursor() as cursor:
        if cursor.execute(_CHECK_EPOCH, (epoch,)).fetchone() is None:
            raise LeaseLost("another run of the promo stream has acquired the lease")
        yield cursor

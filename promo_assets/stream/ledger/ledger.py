"""The ledger in Postgres: what has been decided, whose audience is frozen, what is still to be delivered.

Here is what the driver asks of it; what the executors write is in `ingest.py` and `delivery.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from promo_assets.stream.errors import LeaseLost, LedgerError
from promo_assets.stream.ledger.connection import database

# A dispatch's campaigns are bounded in number and in text, so that what is held in memory at once is bounded.
DISPATCH_CAMPAIGNS = 2_000
DISPATCH_TEXT_BYTES = 16_000_000

LEDGER_VERSION = 2
_DDL_LOCK = 7_210_113_001
_DDL_WAITS = "30s"  # for others' transactions; whoever comes meanwhile waits behind it
_DISPATCH = sql.SQL("dispatch_id, topic, shards, attempt, frozen_at IS NOT NULL AS frozen")
_UNFINISHED_DISPATCH = sql.SQL(
    "SELECT {} FROM promo_ledger.dispatches WHERE finished_at IS NULL"
).format(_DISPATCH)
_START_OVER = sql.SQL(
    "UPDATE promo_ledger.dispatches SET shards = %s, topic = %s, attempt = attempt + 1 WHERE dispatch_id = %s RETURNING {}"
).format(_DISPATCH)
_NEW_DISPATCH = """
WITH due AS (
    SELECT campaign_key, row_number() OVER arrived AS position, sum(text_bytes) OVER arrived AS text_bytes
    FROM (SELECT campaign_key, source_at, source_partition, source_offset,
                 octet_length(restaurant_id) + octet_length(adv_campaign_id) + octet_length(adv_campaign_content)
                 + octet_length(adv_campaign_owner) + octet_length(adv_campaign_owner_contact) AS text_bytes
          FROM promo_ledger.campaigns c
          WHERE state = 'due' AND EXISTS (SELECT FROM promo_ledger.batches b WHERE (b.query_id, b.batch_id) = (c.query_id, c.batch_id))
          ORDER BY source_at, source_partition, source_offset LIMIT %(campaigns)s) oldest
    WINDOW arrived AS (ORDER BY source_at, source_partition, source_offset, campaign_key)),
chosen AS (SELECT campaign_key, position FROM due WHERE position = 1 OR text_bytes <= %(text_bytes)s),
dispatch AS (INSERT INTO promo_ledger.dispatches (topic, shards, campaigns)
    SELECT %(topic)s, %(shards)s, count(*) FROM chosen HAVING count(*) > 0 RETURNING dispatch_id, topic, shards, attempt),
members AS (UPDATE promo_ledger.campaigns c
    SET dispatch_id = dispatch.dispatch_id, dispatch_position = chosen.position, state = 'dispatched'
    FROM chosen, dispatch WHERE c.campaign_key = chosen.campaign_key)
SELECT dispatch_id, topic, shards, attempt, false AS frozen FROM dispatch"""
# Of the catalogue, which everybody may read: a role without rights in the schema learns that the tables are there.
_APPLIED = """SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'promo_ledger' AND c.relname = 'open_dispatch_followers')"""
_VERSION = "SELECT coalesce((to_jsonb(stream) ->> 'version')::int4, 1) FROM promo_ledger.stream"  # version 1 has no such column


def apply_ddl(database_url: str) -> None:
    """Make the tables, indexes and the ledger's schema where they are missing, and an older ledger this release's; rows are kept.

    Raises `LedgerError` where a newer release has been here; then nothing is touched.
    """
    ddl = resources.files("promo_assets.stream.ledger").joinpath("schema.sql").read_text()
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_DDL_LOCK,))
        ledger_version(connection)
        connection.execute(
            "SET LOCAL client_min_messages = warning"
        )  # "already exists, skipping" is what is wanted
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (_DDL_WAITS,))
        connection.execute(ddl.encode())


def ledger_version(connection: psycopg.Connection) -> int:
    """Which shape the ledger's tables have, 0 where there are none; raises `LedgerError` for one that this release does not know."""
    there = connection.execute(_APPLIED).fetchone()
    row = connection.execute(_VERSION).fetchone() if there and there[0] else None
    version = row[0] if row else 0
    if version > LEDGER_VERSION:
        raise LedgerError(
            f"the ledger is of version {version}, this release knows {LEDGER_VERSION}: install the newer release"
        )
    return version


def check_ledger(connection: psycopg.Connection) -> None:
    """Raises `LedgerError` unless the ledger is there in this release's version."""
    version = ledger_version(connection)
    if version < LEDGER_VERSION:
        has = (
            f"the ledger is of version {version}, this release needs {LEDGER_VERSION}"
            if version
            else "the ledger is missing"
        )
        raise LedgerError(f"{has}: run `promo-assets ledger apply` as the owner of the tables")


def count_waiting(connection: psycopg.Connection) -> tuple[int, int | None]:
    """How many campaigns wait for their start, and the unix time of the next start."""
    row = connection.execute(
        "SELECT count(*), min(adv_campaign_datetime_start) FROM promo_ledger.campaigns WHERE state = 'waiting'"
    ).fetchone()
    return row or (0, None)


@dataclass(frozen=True)
class Dispatch:
    """A dispatch: due campaigns, their audience once it is frozen, and the topic that it was decided for."""

    dispatch_id: UUID
    topic: str
    shards: int
    attempt: int
    frozen: bool


@dataclass(frozen=True)
class BatchMetrics:
    """How many messages a micro-batch held, and what became of them."""

    messages: int = 0
    rejected: int = 0
    repeated: int = 0
    expired: int = 0
    waiting: int = 0
    due: int = 0


class Ledger:
    """What the driver decides and notes; every writing method is one transaction, refused when another run has taken over."""

    def __init__(self, database_url: str, epoch: int):
        self._database_url = database_url
        self._epoch = epoch

    def finish_batch(
        self, query_id: str, batch_id: int, messages: int, rejected: int
    ) -> BatchMetrics:
        """Note that all of a micro-batch's messages are ingested: only now may its due campaigns be delivered."""
        with self._transaction() as cursor:
            cursor.execute(
                """INSERT INTO promo_ledger.batches AS b (query_id, batch_id, messages, rejected, repeated, expired, waiting, due)
                SELECT %(query)s, %(batch)s, %(messages)s, %(rejected)s, %(messages)s - %(rejected)s - count(*),
                       count(*) FILTER (WHERE state = 'expired'), count(*) FILTER (WHERE state = 'waiting'),
                       count(*) FILTER (WHERE state = 'due')
                FROM promo_ledger.campaigns WHERE (query_id, batch_id) = (%(query)s, %(batch)s)
                ON CONFLICT DO NOTHING RETURNING messages, rejected, repeated, expired, waiting, due""",
                {"query": query_id, "batch": batch_id, "messages": messages, "rejected": rejected},
            )
            row = cursor.fetchone()
        return BatchMetrics(*row) if row else BatchMetrics()  # a replay counts once

    def start_due(self, time: int) -> BatchMetrics:
        """Campaigns whose start has come by unix time `time` become due, or expired where their end has come too."""
        with self._transaction() as cursor:
            cursor.execute(
                """WITH started AS (
                    UPDATE promo_ledger.campaigns SET trigger_datetime_created = %(time)s,
                        state = CASE WHEN adv_campaign_datetime_end > %(time)s THEN 'due' ELSE 'expired' END
                    WHERE state = 'waiting' AND adv_campaign_datetime_start <= %(time)s
                      AND (query_id, batch_id) IN (SELECT query_id, batch_id FROM promo_ledger.batches)
                    RETURNING state)
                SELECT count(*) FILTER (WHERE state = 'expired'), count(*) FILTER (WHERE state = 'due') FROM started""",
                {"time": time},
            )
            expired, due = cursor.fetchone() or (0, 0)
        return BatchMetrics(expired=expired, due=due)

    def waiting(self) -> tuple[int, int | None]:
        """How many campaigns wait for their start, and the unix time of the next start."""
        with database(self._database_url) as connection:
            return count_waiting(connection)

    def open_dispatch(self, topic: str, shards: int) -> Dispatch | None:
        """The unfinished dispatch, or a new one of the oldest due campaigns; None where nothing is due."""
        with (
            self._transaction() as cursor,
            cursor.connection.cursor(row_factory=class_row(Dispatch)) as dispatches,
        ):
            dispatch = dispatches.execute(_UNFINISHED_DISPATCH).fetchone()
            if (
                dispatch and not dispatch.frozen
            ):  # nothing of it was sent: it starts over, with as many shards as there are now
                again = dispatches.execute(
                    _START_OVER, (shards, topic, dispatch.dispatch_id)
                ).fetchone()
                cursor.execute(
                    "DELETE FROM promo_ledger.audience WHERE dispatch_id = %s",
                    (dispatch.dispatch_id,),
                )
                return again
            bounds = {"campaigns": DISPATCH_CAMPAIGNS, "text_bytes": DISPATCH_TEXT_BYTES}
            return (
                dispatch
                or dispatches.execute(
                    _NEW_DISPATCH, {"topic": topic, "shards": shards, **bounds}
                ).fetchone()
            )

    def dispatch_restaurants(self, dispatch: Dispatch) -> list[tuple[int, str]]:
        """(dispatch_position, restaurant_id) of each campaign of the dispatch."""
        query = "SELECT dispatch_position, restaurant_id FROM promo_ledger.campaigns WHERE dispatch_id = %s ORDER BY 1"
        with database(self._database_url) as connection:
            return connection.execute(query, (dispatch.dispatch_id,)).fetchall()

    def freeze(self, dispatch: Dispatch, pairs: int) -> None:
        """From now on the dispatch's audience is what was noted of it, whatever becomes of the favourites."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE promo_ledger.dispatches SET frozen_at = clock_timestamp(), pairs = %s WHERE dispatch_id = %s",
                (pairs, dispatch.dispatch_id),
            )

    def finish_dispatch(self, dispatch: Dispatch) -> None:
        """Both sinks have all of the dispatch."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE promo_ledger.dispatches SET finished_at = clock_timestamp() WHERE dispatch_id = %s",
                (dispatch.dispatch_id,),
            )
            cursor.execute(
                "DELETE FROM promo_ledger.audience WHERE dispatch_id = %s", (dispatch.dispatch_id,)
            )

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Cursor]:
        with database(self._database_url) as connection, fenced(connection, self._epoch) as cursor:
            yield cursor


@contextmanager
def fenced(connection: psycopg.Connection, epoch: int) -> Iterator[psycopg.Cursor]:
    """A transaction of the run whose lease has this `epoch`; raises `LeaseLost` where a newer one was acquired."""
    with connection.transaction(), connection.cursor() as cursor:
        if (
            cursor.execute(
                "SELECT FROM promo_ledger.stream WHERE epoch = %s FOR SHARE", (epoch,)
            ).fetchone()
            is None
        ):
            raise LeaseLost("another run of the promo stream has taken over")
        yield cursor

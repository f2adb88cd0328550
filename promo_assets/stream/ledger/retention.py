"""Retention: what is old in the ledger is removed, with or without a running stream.

A campaign's key and state stay forever, because they keep a repeated message from notifying
anybody (rule 1.4.3). What is removed is the campaign's texts, which name people, and the batches
and dispatches that nothing refers to any more. Each step is a short transaction over at most
`STEP_ROWS` rows. docs/adr/0015 gives the reasons.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.schema import check_ledger

STEP_ROWS = 5_000
DAY_S = 86_400
TABLES = ("campaigns", "batches", "dispatches")

# A settled campaign never changes again: it is decided and has ended, and its dispatch is finished.
# The conditions on state and query_id are those of the index campaigns_to_clean.
# OFFSET 0 keeps the lookup of a decided campaign a lookup by key: as a join, Postgres would scan
# the whole table where it has no statistics yet.
_SETTLED = sql.SQL("""
    c.state IN ('expired', 'dispatched', 'cancelled')
    AND c.query_id <> '00000000-0000-0000-0000-000000000000'
    AND c.adv_campaign_datetime_end < %(before)s
    AND EXISTS (
        SELECT FROM promo_ledger.decided_campaigns d
        WHERE (d.campaign_key, d.query_id, d.batch_id) = (c.campaign_key, c.query_id, c.batch_id)
        OFFSET 0)
    AND NOT EXISTS (
        SELECT FROM promo_ledger.dispatches d
        WHERE d.dispatch_id = c.dispatch_id AND d.finished_at IS NULL)
""")
# Rows that the stream has locked are left for the next run. Waiting for them, in another order than
# the stream's, could end in a deadlock.
_CLEAN_CAMPAIGNS = sql.SQL("""
WITH settled AS (
    SELECT c.campaign_key
    FROM promo_ledger.campaigns c
    WHERE {settled}
    ORDER BY c.adv_campaign_datetime_end
    LIMIT %(rows)s
    FOR UPDATE OF c SKIP LOCKED)
UPDATE promo_ledger.campaigns c
SET adv_campaign_content = '', adv_campaign_owner = '', adv_campaign_owner_contact = '',
    query_id = '00000000-0000-0000-0000-000000000000', batch_id = 0,
    dispatch_id = NULL, dispatch_position = NULL
FROM settled
WHERE c.campaign_key = settled.campaign_key
""").format(settled=_SETTLED)

_OLD_BATCHES = """
SELECT finished_at, query_id, batch_id
FROM promo_ledger.batches
WHERE finished_at < to_timestamp(%(before)s)
  AND (finished_at, query_id, batch_id) > (%(at)s::timestamptz, %(id)s::uuid, %(number)s)
ORDER BY finished_at, query_id, batch_id
LIMIT %(rows)s
"""
# The newest batch of a query stays: Spark runs it again when the query restarts after a crash,
# however long ago that was.
_DELETE_BATCHES = """
DELETE FROM promo_ledger.batches b
USING unnest(%s::uuid[], %s::int8[]) AS old (query_id, batch_id)
WHERE (b.query_id, b.batch_id) = (old.query_id, old.batch_id)
  AND b.query_id <> '00000000-0000-0000-0000-000000000000'
  AND EXISTS (
      SELECT FROM promo_ledger.batches newer
      WHERE newer.query_id = b.query_id AND newer.batch_id > b.batch_id)
  AND NOT EXISTS (
      SELECT FROM promo_ledger.campaigns c
      WHERE (c.query_id, c.batch_id) = (b.query_id, b.batch_id))
RETURNING b.query_id, b.batch_id
"""
_HAVE_CAMPAIGNS = """
SELECT EXISTS (
    SELECT FROM promo_ledger.campaigns c
    JOIN unnest(%s::uuid[], %s::int8[]) AS deleted (query_id, batch_id)
      ON (c.query_id, c.batch_id) = (deleted.query_id, deleted.batch_id))
"""

_OLD_DISPATCHES = """
SELECT finished_at, dispatch_id
FROM promo_ledger.dispatches
WHERE finished_at < to_timestamp(%(before)s)
  AND (finished_at, dispatch_id) > (%(at)s::timestamptz, %(id)s::uuid)
ORDER BY finished_at, dispatch_id
LIMIT %(rows)s
"""
_DELETE_DISPATCHES = """
DELETE FROM promo_ledger.dispatches d
WHERE d.dispatch_id = ANY (%s)
  AND NOT EXISTS (SELECT FROM promo_ledger.campaigns c WHERE c.dispatch_id = d.dispatch_id)
"""

_COUNT_CLEANABLE = sql.SQL("""
SELECT
    (SELECT count(*) FROM promo_ledger.campaigns c WHERE {settled}),
    (SELECT count(*) FROM promo_ledger.batches b
     WHERE b.finished_at < to_timestamp(%(before)s)
       AND b.query_id <> '00000000-0000-0000-0000-000000000000'
       AND EXISTS (
           SELECT FROM promo_ledger.batches newer
           WHERE newer.query_id = b.query_id AND newer.batch_id > b.batch_id)
       AND NOT EXISTS (
           SELECT FROM promo_ledger.campaigns c
           WHERE (c.query_id, c.batch_id) = (b.query_id, b.batch_id) AND NOT ({settled}))),
    (SELECT count(*) FROM promo_ledger.dispatches u
     WHERE u.finished_at < to_timestamp(%(before)s)
       AND NOT EXISTS (
           SELECT FROM promo_ledger.campaigns c
           WHERE c.dispatch_id = u.dispatch_id AND NOT ({settled})))
""").format(settled=_SETTLED)
_BEFORE_FIRST = {"at": "-infinity", "id": "00000000-0000-0000-0000-000000000000", "number": -1}


@dataclass(frozen=True)
class CleanedTable:
    """How many of a table's rows were cleaned (campaigns) or deleted, and its size with indexes."""

    table: str
    rows: int
    bytes_before: int
    bytes_after: int


def clean_ledger(database_url: str, older_than_days: int, now: int) -> list[CleanedTable]:
    """Clean what ended, or was finished, more than `older_than_days` before unix time `now`.

    If it is interrupted, the next call continues. Raises `LedgerError` and `psycopg.Error`.
    """
    before = now - older_than_days * DAY_S
    with connect(database_url, "promo ledger, clean") as connection:
        check_ledger(connection)
        bytes_before = _read_sizes(connection)
        rows = {"campaigns": _clean_campaigns(connection, before)}
        rows |= {
            "batches": _delete_batches(connection, before),
            "dispatches": _delete_dispatches(connection, before),
        }
        # This removes the texts from the pages of the files, and frees their space for new rows.
        connection.execute(
            "VACUUM (ANALYZE) promo_ledger.campaigns, promo_ledger.batches, promo_ledger.dispatches"
        )
        bytes_after = _read_sizes(connection)
    return [
        CleanedTable(table, rows[table], bytes_before[table], bytes_after[table])
        for table in TABLES
    ]


def count_cleanable(database_url: str, older_than_days: int, now: int) -> list[CleanedTable]:
    """Count what `clean_ledger` would clean; nothing is changed."""
    before = now - older_than_days * DAY_S
    with connect(database_url, "promo ledger, clean") as connection:
        check_ledger(connection)
        row = connection.execute(_COUNT_CLEANABLE, {"before": before}).fetchone()
        sizes = _read_sizes(connection)
    return [
        CleanedTable(table, count, sizes[table], sizes[table])
        for table, count in zip(TABLES, row or (0, 0, 0), strict=True)
    ]


def _clean_campaigns(connection: psycopg.Connection, before: int) -> int:
    cleaned = 0
    values = {"before": before, "rows": STEP_ROWS}
    while step := connection.execute(_CLEAN_CAMPAIGNS, values).rowcount:
        cleaned += step
    return cleaned


def _delete_batches(connection: psycopg.Connection, before: int) -> int:
    deleted = 0
    for old in _read_old_keys(connection, _OLD_BATCHES, before):
        with connection.transaction() as step:
            old_keys = _split_columns([row[1:] for row in old])
            deleted_keys = connection.execute(_DELETE_BATCHES, old_keys).fetchall()
            # After a checkpoint was restored, its query may run a batch again, which may have got
            # campaigns since the DELETE looked for them. A campaign that comes later finds the
            # batch deleted, and the batch is recorded again when it is finished.
            row = connection.execute(_HAVE_CAMPAIGNS, _split_columns(deleted_keys)).fetchone()
            if row and row[0]:
                raise psycopg.Rollback(step)
            deleted += len(deleted_keys)
    return deleted


def _delete_dispatches(connection: psycopg.Connection, before: int) -> int:
    """A finished dispatch gets no more campaigns, so there is no second check as for batches."""
    steps = _read_old_keys(connection, _OLD_DISPATCHES, before)
    return sum(
        connection.execute(_DELETE_DISPATCHES, ([dispatch_id for _, dispatch_id in old],)).rowcount
        for old in steps
    )


def _read_old_keys(
    connection: psycopg.Connection, query: LiteralString, before: int
) -> Iterator[list[tuple]]:
    """The keys of old rows, oldest first, in lists of `STEP_ROWS`; no key is returned twice."""
    last = _BEFORE_FIRST
    values = {"before": before, "rows": STEP_ROWS}
    while old := connection.execute(query, values | last).fetchall():
        yield old
        last = dict(zip(_BEFORE_FIRST, old[-1], strict=False))


def _split_columns(rows: list[tuple]) -> tuple[list, list]:
    return [row[0] for row in rows], [row[1] for row in rows]


def _read_sizes(connection: psycopg.Connection) -> dict[str, int]:
    query = "SELECT pg_total_relation_size(('promo_ledger.' || %s)::regclass)"
    return {table: (connection.execute(query, (table,)).fetchone() or (0,))[0] for table in TABLES}

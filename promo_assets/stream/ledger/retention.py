"""Edge: what in the ledger has had its time goes, beside a running stream or without one.

A campaign's key and state stay for good: they keep a repeat from notifying anybody (spec 1.4.3). What goes is its texts, which name
people, and the batches and dispatches that nothing refers to any more. Each step is a short transaction over at most `STEP_ROWS` rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.ledger import check_ledger

STEP_ROWS = 5_000
DAY_S = 86_400
TABLES = ("campaigns", "batches", "dispatches")

# Settled, and so for ever: decided by a finished batch; ended; and nobody is to be sent anything of it any more.
_SETTLED = sql.SQL(
    """c.state IN ('expired', 'dispatched', 'cancelled') AND c.query_id <> '00000000-0000-0000-0000-000000000000'
      AND c.adv_campaign_datetime_end < %(before)s
      AND EXISTS (SELECT FROM promo_ledger.batches b WHERE (b.query_id, b.batch_id) = (c.query_id, c.batch_id))
      AND NOT EXISTS (SELECT FROM promo_ledger.dispatches u WHERE u.dispatch_id = c.dispatch_id AND u.finished_at IS NULL)"""
)
# Rows that the stream holds are left for another time: waiting for them, in another order than its own, could lock both for good.
_CLEAN_CAMPAIGNS = sql.SQL(
    """WITH settled AS (
        SELECT c.campaign_key FROM promo_ledger.campaigns c WHERE {settled}
        ORDER BY c.adv_campaign_datetime_end LIMIT %(rows)s FOR UPDATE OF c SKIP LOCKED)
    UPDATE promo_ledger.campaigns c SET adv_campaign_content = '', adv_campaign_owner = '', adv_campaign_owner_contact = '',
        query_id = '00000000-0000-0000-0000-000000000000', batch_id = 0, dispatch_id = NULL, dispatch_position = NULL
    FROM settled WHERE c.campaign_key = settled.campaign_key"""
).format(settled=_SETTLED)

_OLD_BATCHES = """SELECT finished_at, query_id, batch_id FROM promo_ledger.batches
    WHERE finished_at < to_timestamp(%(before)s) AND (finished_at, query_id, batch_id) > (%(at)s::timestamptz, %(id)s::uuid, %(number)s)
    ORDER BY finished_at, query_id, batch_id LIMIT %(rows)s"""
# A query's newest batch stays: Spark does it again when the query starts after a crash, however long ago that was.
_DELETE_BATCHES = """DELETE FROM promo_ledger.batches b USING unnest(%s::uuid[], %s::int8[]) AS old (query_id, batch_id)
    WHERE (b.query_id, b.batch_id) = (old.query_id, old.batch_id) AND b.query_id <> '00000000-0000-0000-0000-000000000000'
      AND EXISTS (SELECT FROM promo_ledger.batches newer WHERE newer.query_id = b.query_id AND newer.batch_id > b.batch_id)
      AND NOT EXISTS (SELECT FROM promo_ledger.campaigns c WHERE (c.query_id, c.batch_id) = (b.query_id, b.batch_id))
    RETURNING b.query_id, b.batch_id"""
_REFERRED_TO = """SELECT EXISTS (SELECT FROM promo_ledger.campaigns c JOIN unnest(%s::uuid[], %s::int8[]) AS gone (query_id, batch_id)
    ON (c.query_id, c.batch_id) = (gone.query_id, gone.batch_id))"""

_OLD_DISPATCHES = """SELECT finished_at, dispatch_id FROM promo_ledger.dispatches
    WHERE finished_at < to_timestamp(%(before)s) AND (finished_at, dispatch_id) > (%(at)s::timestamptz, %(id)s::uuid)
    ORDER BY finished_at, dispatch_id LIMIT %(rows)s"""
_DELETE_DISPATCHES = """DELETE FROM promo_ledger.dispatches u
    WHERE u.dispatch_id = ANY (%s) AND NOT EXISTS (SELECT FROM promo_ledger.campaigns c WHERE c.dispatch_id = u.dispatch_id)"""

_WOULD_GO = sql.SQL(
    """SELECT (SELECT count(*) FROM promo_ledger.campaigns c WHERE {settled}),
    (SELECT count(*) FROM promo_ledger.batches b
     WHERE b.finished_at < to_timestamp(%(before)s) AND b.query_id <> '00000000-0000-0000-0000-000000000000'
       AND EXISTS (SELECT FROM promo_ledger.batches newer WHERE newer.query_id = b.query_id AND newer.batch_id > b.batch_id)
       AND NOT EXISTS (SELECT FROM promo_ledger.campaigns c WHERE (c.query_id, c.batch_id) = (b.query_id, b.batch_id) AND NOT ({settled}))),
    (SELECT count(*) FROM promo_ledger.dispatches u
     WHERE u.finished_at < to_timestamp(%(before)s)
       AND NOT EXISTS (SELECT FROM promo_ledger.campaigns c WHERE c.dispatch_id = u.dispatch_id AND NOT ({settled})))"""
).format(settled=_SETTLED)
_FIRST = {"at": "-infinity", "id": "00000000-0000-0000-0000-000000000000", "number": -1}


@dataclass(frozen=True)
class Cleaned:
    """A table of the ledger: how many of its rows were cleaned (campaigns) or deleted, and its size with its indexes."""

    table: str
    rows: int
    bytes_before: int
    bytes_after: int


def clean_ledger(database_url: str, older_than_days: int, now: int) -> list[Cleaned]:
    """Clean what ended, or was finished, more than so many days before unix time `now`; raises `LedgerError`, `psycopg.Error`.

    Interrupted at any moment, it goes on when it is called again.
    """
    before = now - older_than_days * DAY_S
    with connect(database_url, "promo ledger, clean") as connection:
        check_ledger(connection)
        bytes_before = _sizes(connection)
        rows = {"campaigns": _clean_campaigns(connection, before)}
        rows |= {
            "batches": _delete_batches(connection, before),
            "dispatches": _delete_dispatches(connection, before),
        }
        # Only now are the texts gone from the pages, and is their room free for new rows.
        connection.execute(
            "VACUUM (ANALYZE) promo_ledger.campaigns, promo_ledger.batches, promo_ledger.dispatches"
        )
        bytes_after = _sizes(connection)
    return [
        Cleaned(table, rows[table], bytes_before[table], bytes_after[table]) for table in TABLES
    ]


def count_cleanable(database_url: str, older_than_days: int, now: int) -> list[Cleaned]:
    """What `clean_ledger` would clean; nothing is changed."""
    with connect(database_url, "promo ledger, clean") as connection:
        check_ledger(connection)
        counts = connection.execute(
            _WOULD_GO, {"before": now - older_than_days * DAY_S}
        ).fetchone() or (0, 0, 0)
        sizes = _sizes(connection)
    return [
        Cleaned(table, count, sizes[table], sizes[table])
        for table, count in zip(TABLES, counts, strict=True)
    ]


def _clean_campaigns(connection: psycopg.Connection, before: int) -> int:
    cleaned = 0
    while step := connection.execute(
        _CLEAN_CAMPAIGNS, {"before": before, "rows": STEP_ROWS}
    ).rowcount:
        cleaned += step
    return cleaned


def _delete_batches(connection: psycopg.Connection, before: int) -> int:
    deleted = 0
    for old in _steps(connection, _OLD_BATCHES, before):
        with connection.transaction() as step:
            keys = _columns([row[1:] for row in old])
            gone = connection.execute(_DELETE_BATCHES, keys).fetchall()
            # A batch that a checkpoint put back brings up again may have got campaigns since the DELETE looked for some. Who
            # comes later still finds the row gone, and notes the batch anew.
            referred_to = connection.execute(_REFERRED_TO, _columns(gone)).fetchone()
            if referred_to and referred_to[0]:
                raise psycopg.Rollback(step)
            deleted += len(gone)
    return deleted


def _delete_dispatches(connection: psycopg.Connection, before: int) -> int:
    """A finished dispatch gets no campaign any more, so one look is enough."""
    steps = _steps(connection, _OLD_DISPATCHES, before)
    return sum(
        connection.execute(_DELETE_DISPATCHES, ([dispatch_id for _, dispatch_id in old],)).rowcount
        for old in steps
    )


def _steps(
    connection: psycopg.Connection, query: LiteralString, before: int
) -> Iterator[list[tuple]]:
    """The old rows' keys, oldest first, some at a time; those that have to stay are not met twice."""
    last = _FIRST
    while old := connection.execute(
        query, {"before": before, "rows": STEP_ROWS, **last}
    ).fetchall():
        yield old
        last = dict(zip(_FIRST, old[-1], strict=False))


def _columns(rows: list[tuple]) -> tuple[list, list]:
    return [row[0] for row in rows], [row[1] for row in rows]


def _sizes(connection: psycopg.Connection) -> dict[str, int]:
    query = "SELECT pg_total_relation_size(('promo_ledger.' || %s)::regclass)"
    return {table: (connection.execute(query, (table,)).fetchone() or (0,))[0] for table in TABLES}

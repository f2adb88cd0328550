"""Edge: the audience of a dispatch is recorded in the ledger, shard by shard (step 1 of 3).

A task replaces the rows of its shard in one transaction, so Spark may run it again at any time. The
driver's commit of the dispatch (`Ledger.freeze`) then makes all shards final at once.
`delivery.py` explains how the three steps keep the delivery promise.
"""

import json
from collections.abc import Iterable, Iterator

import psycopg
import pyarrow as pa

from promo_assets.stream.errors import StaleTask
from promo_assets.stream.ledger.connection import database
from promo_assets.stream.ledger.ledger import Dispatch, fenced
from promo_assets.stream.pipeline.arrow_tasks import ArrowTask, get_partition_id, make_pair_count
from promo_assets.stream.writer_context import WriterContext

CHUNK_PAIRS = 25_000

_LOCK_OPEN_ATTEMPT = """SELECT FROM promo_ledger.dispatches
    WHERE (dispatch_id, attempt) = (%s, %s) AND frozen_at IS NULL FOR SHARE"""
_EMPTY_SHARD = "DELETE FROM promo_ledger.audience WHERE (dispatch_id, shard) = (%s, %s)"
_INSERT_CHUNK = """INSERT INTO promo_ledger.audience (dispatch_id, shard, chunk, pairs)
    VALUES (%s, %s, %s, %s)"""


def freeze_audience(context: WriterContext, dispatch: Dispatch) -> ArrowTask:
    """Return the task that records a shard's pairs in the ledger.

    Input: rows (dispatch_position, client_id). Output: one row with the number of recorded pairs.

    On a cluster a task may run again while one that Spark presumed dead is still running. The last
    one to commit before the freeze counts.
    """

    def freeze_shard(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with database(context.database_url) as connection:
            pairs = record_shard(connection, context.epoch, dispatch, get_partition_id(), batches)
        yield make_pair_count(pairs)

    return freeze_shard


def record_shard(
    connection: psycopg.Connection,
    epoch: int,
    dispatch: Dispatch,
    shard: int,
    batches: Iterable[pa.RecordBatch],
) -> int:
    """Record the shard's pairs in chunks, in one transaction, and return their number.

    Raises `StaleTask` if the audience is frozen or another attempt at freezing it has begun.
    """
    pairs = 0
    with fenced(connection, epoch) as cursor:
        _begin_shard(cursor, dispatch, shard)
        for chunk, table in enumerate(_split_into_chunks(batches)):
            key = (dispatch.dispatch_id, shard, chunk)
            cursor.execute(_INSERT_CHUNK, (*key, _encode_pairs(table)))
            pairs += table.num_rows
    return pairs


def _begin_shard(cursor: psycopg.Cursor, dispatch: Dispatch, shard: int) -> None:
    """Empty the shard and lock the attempt, so that the freeze waits for this transaction's end."""
    attempt = (dispatch.dispatch_id, dispatch.attempt)
    if cursor.execute(_LOCK_OPEN_ATTEMPT, attempt).fetchone() is None:
        raise StaleTask(
            f"This task is too late: the audience of dispatch {dispatch.dispatch_id} is frozen, "
            "or another attempt at freezing it has begun"
        )
    cursor.execute(_EMPTY_SHARD, (dispatch.dispatch_id, shard))


def _encode_pairs(table: pa.Table) -> str:
    """Return the pairs as JSON: `[[dispatch_position, [client_id, ...]], ...]`."""
    by_campaign = table.group_by("dispatch_position", use_threads=False)
    rows = by_campaign.aggregate([("client_id", "list")]).to_pylist()
    pairs = [[row["dispatch_position"], row["client_id_list"]] for row in rows]
    return json.dumps(pairs, ensure_ascii=False)


def _split_into_chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield the rows in tables of at most `CHUNK_PAIRS` rows. No table is empty."""
    parts: list[pa.RecordBatch] = []
    for batch in batches:
        while batch.num_rows:
            room = CHUNK_PAIRS - sum(part.num_rows for part in parts)
            parts.append(batch.slice(0, room))
            batch = batch.slice(min(room, batch.num_rows))
            if sum(part.num_rows for part in parts) == CHUNK_PAIRS:
                yield pa.Table.from_batches(parts)
                parts = []
    if parts:
        yield pa.Table.from_batches(parts)

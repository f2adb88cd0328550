"""Edge: every pair of a frozen dispatch is stored in Postgres, then published to Kafka, once each.

This module and `freeze.py` keep the delivery promise (rule 1.5) in three steps, each of which can
be repeated at any time:
1. freeze: the result of the Spark join is recorded in the ledger, and the driver's commit of the
   dispatch makes it final for all shards at once;
2. store: a chunk's rows and its mark "stored" are one Postgres transaction;
3. publish: a chunk's messages and the mark "published up to this chunk" are one Kafka transaction.

A shard is all pairs of some clients. One task handles its chunks in order, under one transactional
id.
"""

import collections
import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pyarrow as pa
from confluent_kafka import TopicPartition
from psycopg import sql
from psycopg.errors import UniqueViolation
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from promo_assets.stream.kafka.producer import Headers, TransactionalProducer
from promo_assets.stream.ledger.connection import database
from promo_assets.stream.ledger.ledger import Dispatch, fenced
from promo_assets.stream.messages import FIELDS, Campaign, NotificationTemplate, client_json
from promo_assets.stream.pipeline.arrow_tasks import ArrowTask, get_partition_id, make_pair_count
from promo_assets.stream.writer_context import WriterContext

COPY_BYTES = 1_000_000
SEQUENCE_LIFTS = 3  # shards lift the sequence concurrently

_FIELDS = sql.SQL(", ").join(map(sql.Identifier, FIELDS))
_COPY_FEEDBACK = sql.SQL(
    "COPY subscribers_feedback ({}, client_id, trigger_datetime_created) FROM STDIN"
).format(_FIELDS)
_READ_CAMPAIGNS = sql.SQL(
    """SELECT dispatch_position, trigger_datetime_created, {}
    FROM promo_ledger.campaigns WHERE dispatch_id = %s"""
).format(_FIELDS)
_READ_CHUNK_NUMBERS = (
    "SELECT chunk FROM promo_ledger.audience WHERE (dispatch_id, shard) = (%s, %s) ORDER BY chunk"
)
_READ_PAIRS = (
    "SELECT pairs FROM promo_ledger.audience WHERE (dispatch_id, shard, chunk) = (%s, %s, %s)"
)
_MARK_STORED = """UPDATE promo_ledger.audience SET stored = true
    WHERE (dispatch_id, shard, chunk) = (%s, %s, %s) AND NOT stored"""
_LIFT_SEQUENCE = """SELECT setval(pg_get_serial_sequence('subscribers_feedback', 'id'), max(id))
    FROM subscribers_feedback"""
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
)
_SPECIAL = re.compile(r"[\\\b\f\n\r\t\v]")

Pairs = list[tuple[int, list[str]]]
"""For each campaign, by dispatch_position, the client_ids."""
Campaigns = dict[int, tuple[Campaign, int]]
"""The dispatch's campaigns and their trigger times (unix seconds), by dispatch_position."""


@dataclass(frozen=True)
class Chunk:
    """Some of a shard's pairs. They are stored together and published together."""

    dispatch: Dispatch
    shard: int
    number: int
    pairs: Pairs

    @property
    def key(self) -> tuple[UUID, int, int]:
        return (self.dispatch.dispatch_id, self.shard, self.number)


def deliver_audience(context: WriterContext, dispatch: Dispatch) -> ArrowTask:
    """Return the task that stores and publishes the chunks of one shard.

    Input: one empty partition per shard. Output: one row with the number of the shard's pairs.
    """

    def deliver_shard(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        collections.deque(batches, maxlen=0)  # Spark ends a worker that leaves input unread
        with database(context.database_url) as connection:
            pairs = _deliver_chunks(connection, context, dispatch, get_partition_id())
        yield make_pair_count(pairs)

    return deliver_shard


def _deliver_chunks(
    connection: psycopg.Connection, context: WriterContext, dispatch: Dispatch, shard: int
) -> int:
    pairs = 0
    producer: TransactionalProducer | None = None
    campaigns: Campaigns = {}
    for chunk in _read_chunks(connection, dispatch, shard):
        if producer is None:
            # The producer comes before the first look at what is stored: once it is open, an
            # earlier attempt at this shard can publish nothing more.
            producer = TransactionalProducer.open(context, f"shard-{shard}")
            campaigns = _read_campaigns(connection, dispatch)
        _deliver_chunk(connection, context.epoch, producer, chunk, campaigns)
        pairs += sum(len(clients) for _, clients in chunk.pairs)
    return pairs


def _deliver_chunk(
    connection: psycopg.Connection,
    epoch: int,
    producer: TransactionalProducer,
    chunk: Chunk,
    campaigns: Campaigns,
) -> None:
    stored_now = store_chunk(connection, epoch, chunk, campaigns)
    # If this call stored the chunk, nobody can have published it. If it was stored before, the
    # shard's progress in Kafka decides.
    if stored_now or not _is_published(producer.progress(chunk.dispatch.topic, chunk.shard), chunk):
        publish_chunk(producer, chunk, campaigns)


def store_chunk(
    connection: psycopg.Connection, epoch: int, chunk: Chunk, campaigns: Campaigns
) -> bool:
    """Write a chunk's rows to `subscribers_feedback` unless they are there.

    Returns whether this call wrote them. Ids that the table's sequence hands out may be in use if
    somebody has set it back: the sequence is then lifted above them, and the chunk is tried again.
    """

    def lift_sequence(_: RetryCallState) -> None:
        connection.execute(_LIFT_SEQUENCE)

    retrying = Retrying(
        retry=retry_if_exception_type(UniqueViolation),
        stop=stop_after_attempt(SEQUENCE_LIFTS + 1),
        before_sleep=lift_sequence,
        reraise=True,
    )
    return retrying(_insert_feedback, connection, epoch, chunk, campaigns)


def _insert_feedback(
    connection: psycopg.Connection, epoch: int, chunk: Chunk, campaigns: Campaigns
) -> bool:
    with fenced(connection, epoch) as cursor:
        cursor.execute(_MARK_STORED, chunk.key)
        if cursor.rowcount == 0:
            return False
        with cursor.copy(_COPY_FEEDBACK) as copy:
            for lines in _copy_lines(chunk.pairs, campaigns):
                copy.write(lines)
    return True


def publish_chunk(producer: TransactionalProducer, chunk: Chunk, campaigns: Campaigns) -> None:
    """Publish a chunk's notifications and the shard's progress in one Kafka transaction."""
    topic = chunk.dispatch.topic
    mark = f"{chunk.dispatch.dispatch_id}:{chunk.number}"
    with producer.transaction(TopicPartition(topic, chunk.shard, chunk.number + 1, mark)):
        for position, clients in chunk.pairs:
            notification = NotificationTemplate(*campaigns[position])
            for client_id in clients:
                encoded = client_json(client_id)
                headers: Headers = {"notification_id": notification.notification_id(encoded)}
                producer.produce(topic, client_id.encode(), notification.value(encoded), headers)


def _is_published(progress: TopicPartition, chunk: Chunk) -> bool:
    """Return whether the shard's progress covers the chunk.

    Only a mark of the same dispatch counts, because chunk numbers and offsets may start over.
    """
    dispatch_id, _, published = (progress.metadata or "").rpartition(":")
    return dispatch_id == str(chunk.dispatch.dispatch_id) and chunk.number <= int(published)


def _read_chunks(connection: psycopg.Connection, dispatch: Dispatch, shard: int) -> Iterator[Chunk]:
    """Yield the shard's chunks in order. Only one is in memory at a time."""
    numbers = connection.execute(_READ_CHUNK_NUMBERS, (dispatch.dispatch_id, shard)).fetchall()
    for (number,) in numbers:
        row = connection.execute(_READ_PAIRS, (dispatch.dispatch_id, shard, number)).fetchone()
        assert row, "the audience is deleted only when its dispatch is finished"
        yield Chunk(dispatch, shard, number, row[0])


def _read_campaigns(connection: psycopg.Connection, dispatch: Dispatch) -> Campaigns:
    """Read the dispatch's campaigns, whose size `ledger.DISPATCH_TEXT_BYTES` bounds."""
    return {
        row[0]: (Campaign(*row[2:]), row[1])
        for row in connection.execute(_READ_CAMPAIGNS, (dispatch.dispatch_id,))
    }


def _copy_lines(pairs: Pairs, campaigns: Campaigns) -> Iterator[str]:
    """Yield rows in COPY's text format, about `COPY_BYTES` at a time.

    The rows of one campaign differ only in the client.
    """
    for position, clients in pairs:
        campaign, trigger = campaigns[position]
        head = "".join(str(value).translate(_ESCAPES) + "\t" for value in campaign)
        tail = f"\t{trigger}\n"
        step = max(1, COPY_BYTES // (len(head) + len(tail)))
        for start in range(0, len(clients), step):
            part = clients[start : start + step]
            if _SPECIAL.search("".join(part)):
                part = [client.translate(_ESCAPES) for client in part]
            yield head + (tail + head).join(part) + tail

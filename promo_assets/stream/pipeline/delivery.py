"""Edge: a dispatch's audience is frozen, then every pair of it is stored in Postgres and published to Kafka, once.

The delivery promise (spec 1.5) lives here, in three steps, each of which can be begun again at any time:
1. freeze: the Spark join's result is noted in the ledger; the driver's commit of the dispatch makes it final, for all shards at once;
2. store: a chunk's rows and its mark "stored" are one Postgres transaction;
3. publish: a chunk's messages and the mark "published up to this chunk" are one Kafka transaction.
A shard is all pairs of some clients: one task handles its chunks in order, under one transactional id.
"""

import collections
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pyarrow as pa
from confluent_kafka import TopicPartition
from psycopg import sql
from psycopg.errors import UniqueViolation
from pyspark import TaskContext

from promo_assets.stream.errors import StaleTask
from promo_assets.stream.kafka.producer import TransactionalProducer
from promo_assets.stream.ledger.connection import database
from promo_assets.stream.ledger.ledger import Dispatch, fenced
from promo_assets.stream.messages import FIELDS, Campaign, NotificationTemplate, client_json
from promo_assets.stream.writer_context import WriterContext

CHUNK_PAIRS = 25_000
COPY_BYTES = 1_000_000
SEQUENCE_LIFTS = 3  # shards lift it side by side
DELIVERED = pa.schema([("pairs", pa.int64())])
DELIVERED_DDL = "pairs long"

_FIELDS = sql.SQL(", ").join(map(sql.Identifier, FIELDS))
_FEEDBACK = sql.SQL(
    "COPY subscribers_feedback ({}, client_id, trigger_datetime_created) FROM STDIN"
).format(_FIELDS)
_CAMPAIGNS = sql.SQL(
    "SELECT dispatch_position, trigger_datetime_created, {} FROM promo_ledger.campaigns WHERE dispatch_id = %s"
).format(_FIELDS)
_STILL_OPEN = "SELECT FROM promo_ledger.dispatches WHERE (dispatch_id, attempt) = (%s, %s) AND frozen_at IS NULL FOR SHARE"
_CHUNKS = (
    "SELECT chunk FROM promo_ledger.audience WHERE (dispatch_id, shard) = (%s, %s) ORDER BY chunk"
)
_PAIRS = "SELECT pairs FROM promo_ledger.audience WHERE (dispatch_id, shard, chunk) = (%s, %s, %s)"
_MARK_STORED = "UPDATE promo_ledger.audience SET stored = true WHERE (dispatch_id, shard, chunk) = (%s, %s, %s) AND NOT stored"
_LIFT_SEQUENCE = "SELECT setval(pg_get_serial_sequence('subscribers_feedback', 'id'), max(id)) FROM subscribers_feedback"
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
)
_SPECIAL = re.compile(r"[\\\b\f\n\r\t\v]")

Headers = dict[str, str | bytes | None]
ArrowTask = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def freeze_audience(context: WriterContext, dispatch: Dispatch) -> ArrowTask:
    """For `mapInArrow`: a shard's pairs (dispatch_position, client_id) in, the number of pairs noted in the ledger out.

    On a cluster a task may be done again while one that Spark gave up for lost still runs: the last to commit before the freeze counts.
    """

    def freeze_shard(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with database(context.database_url) as connection:
            pairs = record_shard(connection, context.epoch, dispatch, _partition(), batches)
        yield pa.RecordBatch.from_pydict({"pairs": [pairs]}, DELIVERED)

    return freeze_shard


def record_shard(
    connection: psycopg.Connection,
    epoch: int,
    dispatch: Dispatch,
    shard: int,
    batches: Iterable[pa.RecordBatch],
) -> int:
    """The shard's pairs into the ledger, in chunks, in one transaction; how many there are."""
    pairs = 0
    with fenced(connection, epoch) as cursor:
        _begin_shard(cursor, dispatch, shard)
        for chunk, table in enumerate(_chunks(batches)):
            by_campaign = table.group_by("dispatch_position", use_threads=False).aggregate(
                [("client_id", "list")]
            )
            noted = [
                [row["dispatch_position"], row["client_id_list"]] for row in by_campaign.to_pylist()
            ]
            cursor.execute(
                "INSERT INTO promo_ledger.audience (dispatch_id, shard, chunk, pairs) VALUES (%s, %s, %s, %s)",
                (dispatch.dispatch_id, shard, chunk, json.dumps(noted, ensure_ascii=False)),
            )
            pairs += table.num_rows
    return pairs


def _begin_shard(cursor: psycopg.Cursor, dispatch: Dispatch, shard: int) -> None:
    """The shard is empty and this transaction's own; the freeze waits for its end. Raises `StaleTask` where another attempt has begun."""
    if cursor.execute(_STILL_OPEN, (dispatch.dispatch_id, dispatch.attempt)).fetchone() is None:
        raise StaleTask(
            f"the audience of dispatch {dispatch.dispatch_id} is frozen, or is being frozen anew: this task comes too late"
        )
    cursor.execute(
        "DELETE FROM promo_ledger.audience WHERE (dispatch_id, shard) = (%s, %s)",
        (dispatch.dispatch_id, shard),
    )


def deliver_audience(context: WriterContext, dispatch: Dispatch) -> ArrowTask:
    """For `mapInArrow` over one empty partition a shard: stores and publishes the shard's chunks, the number of its pairs out."""

    def deliver_shard(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        collections.deque(batches, maxlen=0)  # Spark ends a worker that leaves input unread
        shard = _partition()
        pairs = 0
        with database(context.database_url) as connection:
            producer: TransactionalProducer | None = None
            campaigns: Campaigns = {}
            for chunk in _read_chunks(connection, dispatch, shard):
                if producer is None:
                    # Before the first look at what is stored: from here on a former attempt at this shard can publish no more.
                    producer = TransactionalProducer(context, f"shard-{shard}")
                    campaigns = _campaigns(connection, dispatch)
                _deliver_chunk(connection, context.epoch, producer, chunk, campaigns)
                pairs += sum(len(clients) for _, clients in chunk.pairs)
        yield pa.RecordBatch.from_pydict({"pairs": [pairs]}, DELIVERED)

    return deliver_shard


Pairs = list[tuple[int, list[str]]]
Campaigns = dict[int, tuple[Campaign, int]]


@dataclass(frozen=True)
class Chunk:
    """Some of a shard's pairs, (dispatch_position, its client_ids): what is stored at once, and published at once."""

    dispatch: Dispatch
    shard: int
    number: int
    pairs: Pairs

    @property
    def key(self) -> tuple[UUID, int, int]:
        return (self.dispatch.dispatch_id, self.shard, self.number)


def _deliver_chunk(
    connection: psycopg.Connection,
    epoch: int,
    producer: TransactionalProducer,
    chunk: Chunk,
    campaigns: Campaigns,
) -> None:
    stored_now = store_chunk(connection, epoch, chunk, campaigns)
    # Stored only now: nobody can have published it. Stored before: what Kafka says of the shard decides.
    if stored_now or not _is_published(producer.progress(chunk.dispatch.topic, chunk.shard), chunk):
        publish_chunk(producer, chunk, campaigns)


def store_chunk(
    connection: psycopg.Connection, epoch: int, chunk: Chunk, campaigns: Campaigns
) -> bool:
    """A chunk's rows into `subscribers_feedback`, unless they are there; true when it was this call that stored them."""
    for attempt in range(SEQUENCE_LIFTS + 1):
        try:
            with fenced(connection, epoch) as cursor:
                cursor.execute(_MARK_STORED, chunk.key)
                if cursor.rowcount == 0:
                    return False
                with cursor.copy(_FEEDBACK) as copy:
                    for lines in _copy_lines(chunk.pairs, campaigns):
                        copy.write(lines)
            break
        except (
            UniqueViolation
        ):  # the table's sequence was set back: ids that it hands out are taken
            if attempt == SEQUENCE_LIFTS:
                raise
            connection.execute(_LIFT_SEQUENCE)
    return True


def publish_chunk(producer: TransactionalProducer, chunk: Chunk, campaigns: Campaigns) -> None:
    """A chunk's notifications and the shard's progress, in one Kafka transaction."""
    topic = chunk.dispatch.topic
    with producer.transaction(
        TopicPartition(
            topic, chunk.shard, chunk.number + 1, f"{chunk.dispatch.dispatch_id}:{chunk.number}"
        )
    ):
        for position, clients in chunk.pairs:
            notification = NotificationTemplate(*campaigns[position])
            for client_id in clients:
                encoded = client_json(client_id)
                headers: Headers = {"notification_id": notification.notification_id(encoded)}
                producer.produce(topic, client_id.encode(), notification.value(encoded), headers)


def _is_published(progress: TopicPartition, chunk: Chunk) -> bool:
    """Only the dispatch's own mark counts: numbers and offsets may have begun anew."""
    dispatch_id, _, published = (progress.metadata or "").rpartition(":")
    return dispatch_id == str(chunk.dispatch.dispatch_id) and chunk.number <= int(published)


def _read_chunks(connection: psycopg.Connection, dispatch: Dispatch, shard: int) -> Iterator[Chunk]:
    """The shard's chunks in order, one in memory at a time."""
    numbers = connection.execute(_CHUNKS, (dispatch.dispatch_id, shard)).fetchall()
    for (number,) in numbers:
        row = connection.execute(_PAIRS, (dispatch.dispatch_id, shard, number)).fetchone()
        assert row, "audience is deleted with the dispatch's end only"
        yield Chunk(dispatch, shard, number, row[0])


def _campaigns(connection: psycopg.Connection, dispatch: Dispatch) -> Campaigns:
    """The dispatch's campaigns and their trigger times, by position; bounded by `ledger.DISPATCH_TEXT_BYTES`."""
    return {
        row[0]: (Campaign(*row[2:]), row[1])
        for row in connection.execute(_CAMPAIGNS, (dispatch.dispatch_id,))
    }


def _copy_lines(pairs: Pairs, campaigns: Campaigns) -> Iterator[str]:
    """Rows for COPY in its text format, about `COPY_BYTES` at a time: all of a campaign's rows differ in the client only."""
    for position, clients in pairs:
        campaign, trigger = campaigns[position]
        head = "".join(str(value).translate(_ESCAPES) + "\t" for value in campaign)
        tail = f"\t{trigger}\n"
        step = max(1, COPY_BYTES // (len(head) + len(tail)))
        for start in range(0, len(clients), step):
            some = clients[start : start + step]
            if _SPECIAL.search("".join(some)):
                some = [client.translate(_ESCAPES) for client in some]
            yield head + (tail + head).join(some) + tail


def _chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows in tables of at most `CHUNK_PAIRS`, none empty."""
    kept: list[pa.RecordBatch] = []
    for batch in batches:
        while batch.num_rows:
            room = CHUNK_PAIRS - sum(part.num_rows for part in kept)
            kept.append(batch.slice(0, room))
            batch = batch.slice(min(room, batch.num_rows))
            if sum(part.num_rows for part in kept) == CHUNK_PAIRS:
                yield pa.Table.from_batches(kept)
                kept = []
    if kept:
        yield pa.Table.from_batches(kept)


def _partition() -> int:
    task = TaskContext.get()
    assert task is not None, "runs in a Spark task"
    return task.partitionId()

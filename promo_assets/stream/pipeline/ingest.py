"""Edge: a micro-batch's campaigns go to the ledger's register, its other messages to dead letters.

This runs in the executors, one task per Kafka partition. Running it again for the same messages
changes nothing: the register knows a campaign by its key, and the dead-letter topic's transaction
carries the input offset that it reaches.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import psycopg
import pyarrow as pa
from confluent_kafka import TopicPartition
from psycopg import sql

from promo_assets.stream.kafka.producer import (
    Headers,
    TransactionalProducer,
    dead_letters_producer_name,
)
from promo_assets.stream.ledger.connection import database
from promo_assets.stream.ledger.ledger import fenced
from promo_assets.stream.messages import (
    FIELDS,
    REJECTIONS_SHOWN,
    Campaign,
    RejectedMessage,
    Rejection,
    parse_campaign,
)
from promo_assets.stream.pipeline.arrow_tasks import ArrowTask
from promo_assets.stream.writer_context import WriterContext

_REJECTION = [
    ("reason", pa.string()),
    ("source_partition", pa.int32()),
    ("source_offset", pa.int64()),
    ("source_at", pa.int64()),
]
BATCH_COUNTS = pa.schema(
    [
        ("messages", pa.int64()),
        ("rejected", pa.int64()),
        ("last_message_at", pa.int64()),
        ("latest_rejections", pa.list_(pa.struct(_REJECTION))),
    ]
)
"""The result of a task: one row. Times are Kafka's, in unix milliseconds."""

_COLUMNS = (
    "campaign_key",
    *FIELDS,
    "query_id",
    "batch_id",
    "source_at",
    "source_partition",
    "source_offset",
    "state",
    "trigger_datetime_created",
)
_OVERWRITTEN = _COLUMNS[3:]
# The first message of a key decides. Within one unfinished batch that is the earliest message,
# whichever partition's task comes first. A batch that was never finished (its checkpoint is gone)
# decides nothing.
_REGISTER = sql.SQL(
    """INSERT INTO promo_ledger.campaigns AS known ({columns}) VALUES ({values})
    ON CONFLICT (campaign_key) DO UPDATE SET ({overwritten}) = ROW ({excluded})
    WHERE NOT EXISTS (SELECT FROM promo_ledger.batches b
                      WHERE (b.query_id, b.batch_id) = (known.query_id, known.batch_id))
      AND ((known.query_id, known.batch_id) <> (excluded.query_id, excluded.batch_id)
           OR (excluded.source_at, excluded.source_partition, excluded.source_offset)
              < (known.source_at, known.source_partition, known.source_offset))"""
).format(
    columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    values=sql.SQL(", ").join(sql.Placeholder() * len(_COLUMNS)),
    overwritten=sql.SQL(", ").join(map(sql.Identifier, _OVERWRITTEN)),
    excluded=sql.SQL(", ").join(sql.Identifier("excluded", name) for name in _OVERWRITTEN),
)


def ingest(context: WriterContext, batch_id: int) -> ArrowTask:
    """Return the task that ingests the messages of one Kafka partition.

    Input: rows (key, value, partition, offset, source_at in ms, triggered_at in s).
    Output: one row of `BATCH_COUNTS`.
    """

    def ingest_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with ExitStack() as at_end, database(context.database_url) as connection:
            partition = _Partition(context, batch_id, _DeadLetters(context, at_end))
            for batch in batches:
                _register(connection, context.epoch, partition.ingest_rows(batch.to_pylist()))
        yield pa.RecordBatch.from_pylist([partition.counts], BATCH_COUNTS)

    return ingest_partition


class _Partition:
    """The messages of one Kafka partition in one micro-batch, as far as they are ingested."""

    def __init__(self, context: WriterContext, batch_id: int, dead_letters: "_DeadLetters"):
        self._context = context
        self._batch_id = batch_id
        self._dead_letters = dead_letters
        self._messages = self._rejected = self._last_message_at = 0
        self._latest: deque[Rejection] = deque(maxlen=REJECTIONS_SHOWN)

    def ingest_rows(self, rows: Iterable[dict]) -> list[tuple]:
        """Publish the invalid messages as dead letters and return the valid ones' register rows."""
        register = []
        for row in rows:
            self._messages += 1
            # A sender's clock may go back, but the order within its partition does not.
            self._last_message_at = max(self._last_message_at, row["source_at"])
            try:
                campaign = parse_campaign(row["value"])
            except RejectedMessage as error:
                self._reject(row, str(error))
            else:
                register.append(self._make_register_row(row, campaign))
        return register

    def _reject(self, row: dict, reason: str) -> None:
        self._rejected += 1
        self._latest.append(Rejection(reason, row["partition"], row["offset"], row["source_at"]))
        self._dead_letters.add(row, reason)

    def _make_register_row(self, row: dict, campaign: Campaign) -> tuple:
        """Return the values of `_COLUMNS`."""
        state = campaign.state_at(row["triggered_at"])
        trigger = row["triggered_at"] if state == "due" else None
        batch = (self._context.query_id, self._batch_id)
        source = (self._last_message_at, row["partition"], row["offset"])
        return (campaign.key, *campaign, *batch, *source, state, trigger)

    @property
    def counts(self) -> dict:
        """The row of `BATCH_COUNTS`."""
        return {
            "messages": self._messages,
            "rejected": self._rejected,
            "last_message_at": self._last_message_at,
            "latest_rejections": [rejection._asdict() for rejection in self._latest],
        }


def _register(connection: psycopg.Connection, epoch: int, register: list[tuple]) -> None:
    if register:
        with fenced(connection, epoch) as cursor:
            # Sorted, so that two tasks lock the rows of the same keys in the same order.
            cursor.executemany(_REGISTER, sorted(register))


class _DeadLetters:
    """The rejected messages of a task, published in one Kafka transaction.

    The transaction also commits the input offset that it reaches. It is begun by the first rejected
    message, so a task without any needs no producer.
    """

    def __init__(self, context: WriterContext, at_end: ExitStack):
        self._context = context
        self._at_end = at_end
        self._producer: TransactionalProducer | None = None
        self._progress = TopicPartition("")
        self._published = 0

    def add(self, row: dict, reason: str) -> None:
        producer = self._producer or self._begin(row["partition"])
        if row["offset"] < self._published:
            return
        headers: Headers = {
            "reason": reason,
            "source_topic": self._context.topic_in,
            "source_partition": str(row["partition"]),
            "source_offset": str(row["offset"]),
        }
        producer.produce(self._context.topic_dead_letters, row["key"], row["value"], headers)
        self._progress.offset = row["offset"] + 1

    def _begin(self, partition: int) -> TransactionalProducer:
        topic, topic_id = self._context.topic_in, self._context.topic_in_id
        name = dead_letters_producer_name(partition)
        self._producer = producer = TransactionalProducer.open(self._context, name)
        known = producer.progress(topic, partition)
        if known.metadata == topic_id:  # otherwise it belongs to an earlier topic of that name
            self._published = max(known.offset, 0)
        self._progress = TopicPartition(topic, partition, self._published, topic_id)
        self._at_end.enter_context(producer.transaction(self._progress))
        return producer

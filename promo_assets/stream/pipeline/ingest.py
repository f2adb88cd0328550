"""Edge: a micro-batch's messages go, each where it belongs: campaigns into the ledger's register, the rest to the dead letters.

Runs in the executors, one task per Kafka partition. Running it again for the same messages changes nothing: the register
knows a campaign by its key, and the dead-letter topic's transaction carries the input offset that it reaches.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pyarrow as pa
from confluent_kafka import TopicPartition
from psycopg import sql

from promo_assets.stream.kafka.producer import TransactionalProducer, dead_letters_producer_name
from promo_assets.stream.ledger.connection import database
from promo_assets.stream.ledger.ledger import fenced
from promo_assets.stream.messages import (
    FIELDS,
    REJECTIONS_SHOWN,
    RejectedMessage,
    Rejection,
    parse_campaign,
)
from promo_assets.stream.writer_context import WriterContext

_REJECTION = [
    ("reason", pa.string()),
    ("source_partition", pa.int32()),
    ("source_offset", pa.int64()),
    ("source_at", pa.int64()),
]
INGESTED = pa.schema(
    [
        ("messages", pa.int64()),
        ("rejected", pa.int64()),
        ("last_message_at", pa.int64()),
        ("latest_rejections", pa.list_(pa.struct(_REJECTION))),
    ]
)
INGESTED_DDL = """messages long, rejected long, last_message_at long,
    latest_rejections array<struct<reason: string, source_partition: int, source_offset: long, source_at: long>>"""

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
# The first message of a key decides. Within one unfinished batch that is the earliest, whichever partition's task comes first;
# a batch that was never finished (its checkpoint is gone) decides nothing.
_REGISTER = sql.SQL(
    """INSERT INTO promo_ledger.campaigns AS known ({columns}) VALUES ({values})
    ON CONFLICT (campaign_key) DO UPDATE SET ({overwritten}) = ROW ({excluded})
    WHERE NOT EXISTS (SELECT FROM promo_ledger.batches b WHERE (b.query_id, b.batch_id) = (known.query_id, known.batch_id))
      AND ((known.query_id, known.batch_id) <> (excluded.query_id, excluded.batch_id)
           OR (excluded.source_at, excluded.source_partition, excluded.source_offset)
              < (known.source_at, known.source_partition, known.source_offset))"""
).format(
    columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    values=sql.SQL(", ").join(sql.Placeholder() * len(_COLUMNS)),
    overwritten=sql.SQL(", ").join(map(sql.Identifier, _OVERWRITTEN)),
    excluded=sql.SQL(", ").join(sql.Identifier("excluded", name) for name in _OVERWRITTEN),
)


def ingest(
    context: WriterContext, batch_id: int
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """For `mapInArrow`: rows (key, value, partition, offset, source_at ms, triggered_at s) in, one row of counts a task out."""

    def ingest_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        messages = rejected = last_message_at = 0
        latest: deque[Rejection] = deque(maxlen=REJECTIONS_SHOWN)
        with ExitStack() as at_end, database(context.database_url) as connection:
            dead_letters = _DeadLetters(context, at_end)
            for batch in batches:
                register = []
                for row in batch.to_pylist():
                    messages += 1
                    last_message_at = max(last_message_at, row["source_at"])
                    try:
                        campaign = parse_campaign(row["value"])
                    except RejectedMessage as reason:
                        rejected += 1
                        latest.append(
                            Rejection(
                                str(reason), row["partition"], row["offset"], row["source_at"]
                            )
                        )
                        dead_letters.add(row, str(reason))
                        continue
                    state = campaign.state_at(row["triggered_at"])
                    trigger = row["triggered_at"] if state == "due" else None
                    # A sender's clock may go back, its partition's order does not.
                    source = (last_message_at, row["partition"], row["offset"])
                    register.append(
                        (
                            campaign.key,
                            *campaign,
                            context.query_id,
                            batch_id,
                            *source,
                            state,
                            trigger,
                        )
                    )
                _register(connection, context.epoch, register)
        counted = {"messages": messages, "rejected": rejected, "last_message_at": last_message_at}
        yield pa.RecordBatch.from_pylist(
            [counted | {"latest_rejections": [each._asdict() for each in latest]}], INGESTED
        )

    return ingest_partition


def _register(connection: psycopg.Connection, epoch: int, register: list[tuple]) -> None:
    if register:
        with fenced(connection, epoch) as cursor:
            cursor.executemany(
                _REGISTER, sorted(register)
            )  # two tasks take the same keys' locks in the same order


class _DeadLetters:
    """A task's rejected messages, published in one Kafka transaction with the input offset that it reaches; none, no cost."""

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
        headers = {
            "reason": reason,
            "source_topic": self._context.topic_in,
            "source_partition": row["partition"],
            "source_offset": row["offset"],
        }
        encoded: dict[str, str | bytes | None] = {
            name: str(value) for name, value in headers.items()
        }
        producer.produce(self._context.topic_dead_letters, row["key"], row["value"], encoded)
        self._progress.offset = row["offset"] + 1

    def _begin(self, partition: int) -> TransactionalProducer:
        topic, topic_id = self._context.topic_in, self._context.topic_in_id
        self._producer = producer = TransactionalProducer(
            self._context, dead_letters_producer_name(partition)
        )
        known = producer.progress(topic, partition)
        if known.metadata == topic_id:  # else it speaks of a former topic of that name
            self._published = max(known.offset, 0)
        self._progress = TopicPartition(topic, partition, self._published, topic_id)
        self._at_end.enter_context(producer.transaction(self._progress))
        return producer

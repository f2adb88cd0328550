"""Edge: a unit's audience is frozen, then every pair of it is stored in Postgres and published to Kafka, once.

The delivery promise (spec 1.5) lives here, in three steps, each of which can be begun again at any time:
1. freeze: the Spark join's result is noted in the ledger; the driver's commit of the unit makes it final, for all lanes at once;
2. store: a chunk's rows and its mark "stored" are one Postgres transaction;
3. publish: a chunk's messages and the mark "published up to this chunk" are one Kafka transaction.
A lane is all pairs of some clients: one task handles its chunks in order, under one transactional id.
"""

import collections
import json
import re
from collections.abc import Callable, Iterable, Iterator
from json.encoder import encode_basestring
from uuid import UUID

import psycopg
import pyarrow as pa
from confluent_kafka import TopicPartition
from psycopg.errors import UniqueViolation
from pyspark import TaskContext

from promo_assets.stream.ledger import Unit, fenced
from promo_assets.stream.messages import FIELDS, Campaign, NotificationTemplate
from promo_assets.stream.writer import TransactionalProducer, Turn, database

CHUNK_PAIRS = 25_000
COPY_BYTES = 1_000_000
DELIVERED = pa.schema([("pairs", pa.int64())])
DELIVERED_DDL = "pairs long"

_FEEDBACK = f"COPY subscribers_feedback ({', '.join(FIELDS)}, client_id, trigger_datetime_created) FROM STDIN"
_LIFT_SEQUENCE = "SELECT setval(pg_get_serial_sequence('subscribers_feedback', 'id'), max(id)) FROM subscribers_feedback"
_ESCAPES = str.maketrans({"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"})
_SPECIAL = re.compile(r"[\\\b\f\n\r\t\v]")

ArrowTask = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def freeze_audience(turn: Turn, unit_id: UUID) -> ArrowTask:
    """For `mapInArrow`: a lane's pairs (unit_position, client_id) in, the number of pairs noted in the ledger out."""

    def freeze_lane(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        lane = _partition()
        pairs = 0
        with database(turn.database_url) as connection, fenced(connection, turn.epoch) as cursor:
            for chunk, table in enumerate(_chunks(batches)):
                by_campaign = table.group_by("unit_position", use_threads=False).aggregate([("client_id", "list")])
                noted = [[row["unit_position"], row["client_id_list"]] for row in by_campaign.to_pylist()]
                cursor.execute(
                    "INSERT INTO promo.audience (unit_id, lane, chunk, pairs) VALUES (%s, %s, %s, %s)",
                    (unit_id, lane, chunk, json.dumps(noted, ensure_ascii=False)),
                )
                pairs += table.num_rows
        yield pa.RecordBatch.from_pydict({"pairs": [pairs]}, DELIVERED)

    return freeze_lane


def deliver_audience(turn: Turn, unit: Unit) -> ArrowTask:
    """For `mapInArrow` over one empty partition a lane: stores and publishes the lane's chunks, the number of its pairs out."""

    def deliver_lane(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        collections.deque(batches, maxlen=0)  # Spark ends a worker that leaves input unread
        lane = _partition()
        pairs = 0
        with database(turn.database_url) as connection:
            chunks = connection.execute(
                "SELECT chunk FROM promo.audience WHERE (unit_id, lane) = (%s, %s) ORDER BY chunk", (unit.unit_id, lane)
            ).fetchall()
            if chunks:
                # Before the first look at what is stored: from here on a former attempt at this lane can publish no more.
                producer = TransactionalProducer(turn, f"lane-{lane}")
                campaigns = _campaigns(connection, unit)
                for (chunk,) in chunks:
                    pairs += _deliver_chunk(connection, producer, turn, unit, lane, chunk, campaigns)
        yield pa.RecordBatch.from_pydict({"pairs": [pairs]}, DELIVERED)

    return deliver_lane


Pairs = list[tuple[int, list[str]]]
Campaigns = dict[int, tuple[Campaign, int]]


def _deliver_chunk(
    connection: psycopg.Connection, producer: TransactionalProducer, turn: Turn, unit: Unit, lane: int, chunk: int, campaigns: Campaigns
) -> int:
    where = "(unit_id, lane, chunk) = (%s, %s, %s)"
    which = (unit.unit_id, lane, chunk)
    row = connection.execute(f"SELECT pairs FROM promo.audience WHERE {where}", which).fetchone()
    pairs: Pairs = row[0] if row else []
    stored_now = store_chunk(connection, turn.epoch, where, which, pairs, campaigns)
    # Stored only now: nobody can have published it. Stored before: what Kafka says of the lane decides.
    if stored_now or not _is_published(producer.progress(unit.topic, lane), unit, chunk):
        publish_chunk(producer, unit, lane, chunk, pairs, campaigns)
    return sum(len(clients) for _, clients in pairs)


def store_chunk(connection: psycopg.Connection, epoch: int, where: str, which: tuple, pairs: Pairs, campaigns: Campaigns) -> bool:
    """A chunk's rows into `subscribers_feedback`, unless they are there; true when it was this call that stored them."""
    while True:
        try:
            with fenced(connection, epoch) as cursor:
                cursor.execute(f"UPDATE promo.audience SET stored = true WHERE {where} AND NOT stored", which)
                if cursor.rowcount == 0:
                    return False
                with cursor.copy(_FEEDBACK) as copy:
                    for lines in _copy_lines(pairs, campaigns):
                        copy.write(lines)
            return True
        except UniqueViolation:  # the table's sequence was set back: ids that it hands out are taken
            connection.execute(_LIFT_SEQUENCE)


def publish_chunk(producer: TransactionalProducer, unit: Unit, lane: int, chunk: int, pairs: Pairs, campaigns: Campaigns) -> None:
    """A chunk's notifications and the lane's progress, in one Kafka transaction."""
    with producer.transaction(TopicPartition(unit.topic, lane, chunk + 1, f"{unit.unit_id}:{chunk}")):
        produce, topic = producer.produce, unit.topic
        for position, clients in pairs:
            notification = NotificationTemplate(*campaigns[position])
            for client_id in clients:
                client_json = encode_basestring(client_id).encode()
                headers = [("notification_id", notification.notification_id(client_json))]
                produce(topic, client_id.encode(), notification.value(client_json), headers)


def _is_published(progress: TopicPartition, unit: Unit, chunk: int) -> bool:
    """Only the unit's own mark counts: numbers and offsets may have begun anew."""
    unit_id, _, published = (progress.metadata or "").rpartition(":")
    return unit_id == str(unit.unit_id) and chunk <= int(published)


def _campaigns(connection: psycopg.Connection, unit: Unit) -> Campaigns:
    """The unit's campaigns and their trigger times, by position; bounded by `ledger.UNIT_TEXT_BYTES`."""
    query = f"SELECT unit_position, trigger_datetime_created, {', '.join(FIELDS)} FROM promo.campaigns WHERE unit_id = %s"
    return {row[0]: (Campaign(*row[2:]), row[1]) for row in connection.execute(query, (unit.unit_id,))}


def _copy_lines(pairs: Pairs, campaigns: Campaigns) -> Iterator[str]:
    """Rows for COPY in its text format, about `COPY_BYTES` at a time: all of a campaign's rows differ in the client only."""
    for position, clients in pairs:
        campaign, trigger = campaigns[position]
        head = "".join(str(getattr(campaign, name)).translate(_ESCAPES) + "\t" for name in FIELDS)
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

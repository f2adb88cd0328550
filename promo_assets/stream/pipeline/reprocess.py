"""Reprocess: which offsets the input topic is read again from when an operator asks for it."""

from datetime import datetime
from typing import cast

from confluent_kafka.admin import OffsetSpec

from promo_assets.settings import Settings
from promo_assets.stream.kafka.topics import fetch_input_offsets
from promo_assets.stream.ledger.lease import ReadOffsets
from promo_assets.stream.offsets import Offsets

_EARLIEST = cast(OffsetSpec, OffsetSpec.earliest())


class OutOfRange(ValueError):
    """The topic cannot be read from the given offset. The message says why."""


def offsets_at(settings: Settings, time: datetime) -> Offsets:
    """Return each partition's first offset that Kafka received at `time` or later.

    A partition without such a message has its end. Raises `KafkaException`.
    """
    ends = fetch_input_offsets(settings).offsets
    spec = OffsetSpec.for_timestamp(int(time.timestamp() * 1000))
    offsets = fetch_input_offsets(settings, spec).offsets
    return {
        partition: end if offsets[partition] < 0 else offsets[partition]
        for partition, end in ends.items()
    }


def check_offsets(settings: Settings, requested: Offsets) -> Offsets:
    """Return the requested offsets, and the end of each other partition.

    Raises `OutOfRange` if the topic has no such partition or offset, and `KafkaException`.
    """
    topic = settings.topic_in
    ends = fetch_input_offsets(settings).offsets
    begins = fetch_input_offsets(settings, _EARLIEST).offsets
    for partition, offset in requested.items():
        if partition not in ends:
            raise OutOfRange(f"topic {topic} has no partition {partition}: it has 0 to {max(ends)}")
        begin, end = begins[partition], ends[partition]
        if not begin <= offset <= end:
            raise OutOfRange(
                f"partition {partition} of topic {topic} holds offsets {begin} to {end}, "
                f"not {offset}"
            )
    return ends | requested


def begin_at(settings: Settings, requested: Offsets, read: ReadOffsets | None) -> Offsets:
    """Return the offsets to read from.

    These are the requested ones, but not later than where the stream has read to, and not earlier
    than what Kafka still has. The first bound leaves no gap: a dead letter from behind a gap would
    tell the stream that the dead letters of the gap are published, too.
    """
    begins = fetch_input_offsets(settings, _EARLIEST)
    read_to: Offsets = read["offsets"] if read and read["topic_id"] == begins.topic_id else {}
    return {
        partition: max(begins.offsets.get(partition, 0), min(offset, read_to.get(partition, 0)))
        for partition, offset in requested.items()
    }

"""Reprocess: from where the input topic is read again, when an operator wants that."""

from datetime import datetime
from typing import cast

from confluent_kafka.admin import OffsetSpec

from promo_assets.settings import Settings
from promo_assets.stream.kafka.topics import input_offsets
from promo_assets.stream.ledger.lease import ReadOffsets

Offsets = dict[int, int]
"""By partition."""


class OutOfRange(ValueError):
    """Nothing can be read from there; the message says why."""


def offsets_at(settings: Settings, time: datetime) -> Offsets:
    """Each partition's first message that Kafka got at `time` or later, its end where there is none; raises `KafkaException`."""
    ends = input_offsets(settings).offsets
    found = input_offsets(settings, OffsetSpec.for_timestamp(int(time.timestamp() * 1000))).offsets
    return {
        partition: end if found[partition] < 0 else found[partition]
        for partition, end in ends.items()
    }


def check_offsets(settings: Settings, asked: Offsets) -> Offsets:
    """The asked offsets, with each other partition at its end; raises `OutOfRange`, `KafkaException`."""
    ends = input_offsets(settings).offsets
    begins = input_offsets(settings, cast(OffsetSpec, OffsetSpec.earliest())).offsets
    for partition, offset in asked.items():
        if partition not in ends:
            raise OutOfRange(
                f"topic {settings.topic_in} has no partition {partition}: it has 0 to {max(ends)}"
            )
        if not begins[partition] <= offset <= ends[partition]:
            raise OutOfRange(
                f"partition {partition} of topic {settings.topic_in} holds offsets {begins[partition]} to {ends[partition]}, not {offset}"
            )
    return ends | asked


def begin_at(settings: Settings, asked: Offsets, read: ReadOffsets | None) -> Offsets:
    """Where to read from: as asked, but not behind where the stream has read to, nor before what Kafka still has.

    A gap between the two must not be: a dead letter behind it would tell the stream that those in the gap are published, too.
    """
    begins = input_offsets(settings, cast(OffsetSpec, OffsetSpec.earliest()))
    read_to = read["offsets"] if read and read["topic_id"] == begins.topic_id else {}
    return {
        partition: max(
            begins.offsets.get(partition, 0), min(offset, read_to.get(str(partition), 0))
        )
        for partition, offset in asked.items()
    }

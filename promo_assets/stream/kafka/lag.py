"""How far the stream is behind its input topic, in messages and in seconds: asked of Kafka, by its host and by `status`."""

import time

from confluent_kafka import TopicPartition

from promo_assets.settings import Settings
from promo_assets.stream.kafka.topics import InputOffsets, reader

READ_TIMEOUT_S = 2


def count_behind(read: dict[str, int], ends: InputOffsets) -> int:
    """Offsets between where the stream has read to, by partition, and the topic's end."""
    return sum(end - begin for begin, end in _unread(read, ends).values())


def oldest_unread_s(settings: Settings, read: dict[str, int], ends: InputOffsets) -> float | None:
    """Age of the oldest message that lies unread; 0 where there is none, and None where what is unread is no message, or not finished."""
    unread = _unread(read, ends)
    if not unread:
        return 0.0
    oldest: float | None = None
    with reader(settings, auto_offset_reset="earliest", fetch_wait_max_ms="20") as consumer:
        consumer.assign(
            [
                TopicPartition(settings.topic_in, partition, begin)
                for partition, (begin, _) in unread.items()
            ]
        )
        deadline = time.monotonic() + READ_TIMEOUT_S
        while unread and time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if (
                message is not None
                and not message.error()
                and unread.pop(message.partition() or 0, None) is not None
            ):
                at = message.timestamp()[1] / 1000
                oldest = at if oldest is None else min(oldest, at)
    return None if oldest is None else round(max(0.0, time.time() - oldest), 1)


def _unread(read: dict[str, int], ends: InputOffsets) -> dict[int, tuple[int, int]]:
    """Where it begins and ends, by partition."""
    begins = {partition: read.get(str(partition), 0) for partition in ends.offsets}
    return {
        partition: (begins[partition], end)
        for partition, end in ends.offsets.items()
        if begins[partition] < end
    }

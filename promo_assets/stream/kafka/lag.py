"""How far the stream is behind its input topic, in messages and in seconds.

Both are read from Kafka, by the process that runs the stream and by `promo-assets status`.
"""

import time

from confluent_kafka import TopicPartition

from promo_assets.settings import Settings
from promo_assets.stream.kafka.topics import InputOffsets, fetch_input_offsets, reader
from promo_assets.stream.offsets import Offsets

READ_TIMEOUT_S = 2


def measure_lag(settings: Settings, read: Offsets) -> tuple[int, float | None]:
    """Return how far `read` is behind the topic's end: `count_behind` and `oldest_unread_s`.

    Raises `KafkaException`.
    """
    ends = fetch_input_offsets(settings)
    return count_behind(read, ends), oldest_unread_s(settings, read, ends)


def count_behind(read: Offsets, ends: InputOffsets) -> int:
    """Return the number of offsets between where the stream has read to and the topic's end."""
    return sum(end - begin for begin, end in _unread_ranges(read, ends).values())


def oldest_unread_s(settings: Settings, read: Offsets, ends: InputOffsets) -> float | None:
    """Return the age of the oldest unread message, in seconds.

    It is 0 if nothing is unread, and None if what is unread is not a message or belongs to an
    unfinished transaction.
    """
    unread = _unread_ranges(read, ends)
    if not unread:
        return 0.0
    starts = [
        TopicPartition(settings.topic_in, partition, begin)
        for partition, (begin, _) in unread.items()
    ]
    oldest: float | None = None
    with reader(settings, auto_offset_reset="earliest", fetch_wait_max_ms="20") as consumer:
        consumer.assign(starts)
        deadline = time.monotonic() + READ_TIMEOUT_S
        while unread and time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is None or message.error():
                continue
            # Only a partition's first unread message counts.
            if unread.pop(message.partition() or 0, None) is not None:
                sent_at = message.timestamp()[1] / 1000
                oldest = sent_at if oldest is None else min(oldest, sent_at)
    return None if oldest is None else round(max(0.0, time.time() - oldest), 1)


def _unread_ranges(read: Offsets, ends: InputOffsets) -> dict[int, tuple[int, int]]:
    """Return the first unread offset and the end of each partition that is not read to its end."""
    begins = {partition: read.get(partition, 0) for partition in ends.offsets}
    return {
        partition: (begins[partition], end)
        for partition, end in ends.offsets.items()
        if begins[partition] < end
    }

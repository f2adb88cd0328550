"""`notifications watch`: print the output topic, from its beginning on."""

import sys
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from confluent_kafka.admin import AclOperation

from promo_assets.commands.console import INTERRUPTED, CommandError, stop_on_signals
from promo_assets.commands.kafka_client import find_topic
from promo_assets.settings import load_settings
from promo_assets.stream.kafka.topics import reader

POLL_S = 0.2
MESSAGES_PER_POLL = 1000


def watch_notifications(count: int | None, timeout: float | None) -> None:
    settings = load_settings()
    limit = float("inf") if count is None else count
    deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
    stop = threading.Event()
    with stop_on_signals(stop):
        topic = find_topic(settings, settings.topic_out, AclOperation.READ)
        seen = 0
        with reader(settings) as consumer:
            consumer.assign(
                [TopicPartition(topic.name, each, OFFSET_BEGINNING) for each in topic.partitions]
            )
            while seen < limit and not stop.is_set():
                seconds_left = deadline - time.monotonic()
                if seconds_left <= 0:
                    break
                at_most = int(min(MESSAGES_PER_POLL, limit - seen))
                for message in consumer.consume(at_most, timeout=min(POLL_S, seconds_left)):
                    if message.error() is None:
                        sys.stdout.buffer.write((message.value() or b"") + b"\n")
                        seen += 1
                sys.stdout.buffer.flush()
    if stop.is_set():
        sys.exit(INTERRUPTED)
    if count is not None and seen < count:
        raise CommandError(f"Only {seen:,} of {count:,} notifications came within {timeout:g} s")

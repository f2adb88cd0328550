"""The lag, in messages and in seconds, of unread messages in a real topic.

`stream/test_operations.py` tests the lag of a stream, `faults/test_dagster.py` and
`browser/test_ui.py` how it is shown on asset pages.
"""

import contextlib
import time

from confluent_kafka import KafkaException, Producer

from promo_assets.stream.kafka.lag import count_behind, oldest_unread_s
from promo_assets.stream.kafka.topics import InputOffsets, fetch_input_offsets
from promo_assets.stream.offsets import Offsets
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World


def send(world: World, partition: int, age_s: int) -> None:
    producer = Producer(world.kafka_client)
    producer.produce(
        world.topic_in, b"value", partition=partition, timestamp=int((time.time() - age_s) * 1000)
    )
    assert producer.flush(60) == 0


def read_lag(world: World, read: Offsets) -> tuple[int, float | None]:
    ends = wait_for(lambda: fetch_ends(world), "a leader of each partition", 30)
    return count_behind(read, ends), oldest_unread_s(world.settings, read, ends)


def fetch_ends(world: World) -> InputOffsets | None:
    """Return the end offsets, or None while a partition of the new topic has no leader."""
    with contextlib.suppress(KafkaException):
        return fetch_input_offsets(world.settings)


def test_the_seconds_are_the_age_of_the_oldest_unread_message(world: World) -> None:
    assert read_lag(world, {}) == (0, 0)
    for partition, age_s in ((0, 5_000), (0, 4_000), (1, 3_000)):
        send(world, partition, age_s)
    for read, messages, oldest_s in (
        ({}, 3, 5_000),
        ({0: 1}, 2, 4_000),
        ({0: 2, 1: 0, 2: 0}, 1, 3_000),
        ({0: 2, 1: 1}, 0, 0),
    ):
        behind, seconds = read_lag(world, read)
        assert behind == messages and seconds is not None
        assert 0 <= seconds - oldest_s < 60


def test_messages_of_an_open_transaction_have_no_age(world: World) -> None:
    producer = Producer({**world.kafka_client, "transactional.id": world.topic_in})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(world.topic_in, b"value", partition=2)
    producer.flush()
    assert read_lag(world, {}) == (1, None)
    producer.abort_transaction()
    wait_for(
        lambda: read_lag(world, {}) == (2, None),
        "the marker of the transaction, which takes an offset, too",
        30,
    )

"""The lag, in messages and in seconds, of what lies unread in a real topic; with a stream: `test_operations.py`, on its page:
`faults/test_dagster.py` and `browser/test_ui.py`."""

import contextlib
import time

from confluent_kafka import KafkaException, Producer

from promo_assets.stream.kafka.lag import count_behind, oldest_unread_s
from promo_assets.stream.kafka.topics import InputOffsets, input_offsets
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World


def send(world: World, partition: int, age_s: int) -> None:
    producer = Producer(world.kafka_client)
    producer.produce(
        world.topic_in, b"value", partition=partition, timestamp=int((time.time() - age_s) * 1000)
    )
    assert producer.flush(60) == 0


def lag(world: World, read: dict[str, int]) -> tuple[int, float | None]:
    ends = wait_for(lambda: ends_of(world), "a leader of each partition", 30)
    return count_behind(read, ends), oldest_unread_s(world.settings, read, ends)


def ends_of(world: World) -> InputOffsets | None:
    """Nothing while the topic is so new that a partition has no leader."""
    with contextlib.suppress(KafkaException):
        return input_offsets(world.settings)


def test_the_seconds_are_those_of_the_oldest_message_that_is_unread(world: World) -> None:
    assert lag(world, {}) == (0, 0)
    for partition, age_s in ((0, 5_000), (0, 4_000), (1, 3_000)):
        send(world, partition, age_s)
    for read, messages, oldest_s in (
        ({}, 3, 5_000),
        ({"0": 1}, 2, 4_000),
        ({"0": 2, "1": 0, "2": 0}, 1, 3_000),
        ({"0": 2, "1": 1}, 0, 0),
    ):
        behind, seconds = lag(world, read)
        assert behind == messages and seconds is not None
        assert 0 <= seconds - oldest_s < 60


def test_what_an_open_transaction_holds_back_has_no_age(world: World) -> None:
    producer = Producer({**world.kafka_client, "transactional.id": world.topic_in})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(world.topic_in, b"value", partition=2)
    producer.flush()
    assert lag(world, {}) == (1, None)
    producer.abort_transaction()
    wait_for(
        lambda: lag(world, {}) == (2, None),
        "the transaction's mark, which takes an offset, too",
        30,
    )

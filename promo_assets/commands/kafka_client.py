"""What several commands need from Kafka: a topic's partitions, its end, and reading up to it.

`transactional_sender.py` writes.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import (
    OFFSET_BEGINNING,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AclOperation

from promo_assets.commands.console import CommandError
from promo_assets.settings import Settings
from promo_assets.stream.kafka.authorization import explain_kafka_error
from promo_assets.stream.kafka.topics import describe_topics, reader, unreachable_message

KAFKA_TIMEOUT_S = 10


@dataclass(frozen=True)
class Topic:
    """An existing topic. Its id differs from that of a topic re-created under the same name."""

    name: str
    topic_id: str
    partitions: list[int]


def find_topic(settings: Settings, name: str, operation: AclOperation) -> Topic:
    """Ask Kafka for a topic that the command is going to read or write.

    Raises `StreamError` if the topic or Kafka is unavailable, or the right to the operation is
    missing.
    """
    described = describe_topics(settings, {name: [operation]})[name]
    partitions = [partition.id for partition in described.partitions]
    return Topic(name, str(described.topic_id), partitions)


def as_command_error(settings: Settings, error: KafkaError, **rights: str) -> CommandError:
    """Turn a Kafka error into a command's: a missing right or login, or a broker that is away.

    rights: the rights that were needed, named as in `explain_kafka_error`.
    """
    explanation = explain_kafka_error(error, settings.kafka_client(), **rights)
    return CommandError(explanation or unreachable_message(settings, error))


def read_to_end(
    settings: Settings, topic: Topic, start: Mapping[int, int] | None = None
) -> Iterator[Message]:
    """Yield the messages that the topic holds now, in order within a partition.

    start: the offset to begin at, by partition; the beginning where a partition is not named.
    """
    offsets = start or {}
    with reader(settings, enable_partition_eof="true", auto_offset_reset="earliest") as consumer:
        consumer.assign(
            [
                TopicPartition(topic.name, partition, offsets.get(partition, OFFSET_BEGINNING))
                for partition in topic.partitions
            ]
        )
        unread = set(topic.partitions)
        answered_at = time.monotonic()
        while unread:
            for message in consumer.consume(1000, timeout=0.5):
                answered_at = time.monotonic()
                error = message.error()
                if error is None:
                    if message.partition() in unread:
                        yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition() or 0)
                # The group is only a name here: nothing is read from it or committed to it.
                elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
                    raise as_command_error(settings, error, topics=f"READ on topic {topic.name}")
            if time.monotonic() - answered_at > 3 * KAFKA_TIMEOUT_S:
                raise CommandError(
                    f"Kafka at {settings.bootstrap_servers} stopped answering "
                    f"while topic {topic.name} was being read. Run the command again"
                )


def end_offsets(settings: Settings, topic: Topic) -> dict[int, int]:
    """Return the offset behind the last message of each partition; raises `CommandError`."""
    with reader(settings) as consumer:
        try:
            return {
                partition: consumer.get_watermark_offsets(
                    TopicPartition(topic.name, partition), KAFKA_TIMEOUT_S
                )[1]
                for partition in topic.partitions
            }
        except KafkaException as error:
            right = f"READ on topic {topic.name}"
            raise as_command_error(settings, error.args[0], topics=right) from None

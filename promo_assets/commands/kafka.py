"""What the commands need of Kafka: a topic's partitions, reading it to its end, sending all or nothing."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import uuid4

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AclOperation

from promo_assets.commands.console import CommandError, UserError
from promo_assets.settings import Settings
from promo_assets.stream.kafka.authorization import explain_kafka_error
from promo_assets.stream.kafka.topics import describe_topics, quiet_client, reader
from promo_assets.stream.kafka.topics import unreachable_message as no_answer_line

KAFKA_TIMEOUT_S = 10
# A sender that is killed half-way keeps read_committed readers waiting for this long.
TRANSACTION_TIMEOUT_MS = 30_000
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Topic:
    """A topic that is there; its id tells it from one made anew under the same name."""

    name: str
    topic_id: str
    partitions: list[int]


def find_topic(settings: Settings, name: str, to: AclOperation) -> Topic:
    """Ask Kafka for a topic to read or to write; raises `StreamError` where it, Kafka, or the right to is not to be had."""
    described = describe_topics(settings, {name: [to]})[name]
    return Topic(
        name, str(described.topic_id), [partition.id for partition in described.partitions]
    )


def unreachable_message(settings: Settings, error: KafkaError, **rights: str) -> CommandError:
    """What the end of talking to Kafka meant; `rights` as for `explain_kafka_error`, should it have been the lack of one."""
    return CommandError(
        explain_kafka_error(error, settings.kafka_client(), **rights)
        or no_answer_line(settings, error)
    )


def read_to_end(
    settings: Settings, topic: Topic, start: Mapping[int, int] | None = None
) -> Iterator[Message]:
    """What lies in the topic now, from its beginning or from `start` (offset by partition); in order within a partition."""
    with reader(settings, enable_partition_eof="true", auto_offset_reset="earliest") as consumer:
        begin = start or {}
        consumer.assign(
            [
                TopicPartition(topic.name, each, begin.get(each, OFFSET_BEGINNING))
                for each in topic.partitions
            ]
        )
        unread = set(topic.partitions)
        heard_at = time.monotonic()
        while unread:
            for message in consumer.consume(1000, timeout=0.5):
                heard_at = time.monotonic()
                error = message.error()
                if error is None:
                    if message.partition() in unread:
                        yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition() or 0)
                elif (
                    error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED
                ):  # the group is a name only: nothing is asked of it
                    raise unreachable_message(settings, error, topics=f"READ on topic {topic.name}")
            if time.monotonic() - heard_at > 3 * KAFKA_TIMEOUT_S:
                raise CommandError(
                    f"Kafka at {settings.bootstrap_servers} stopped answering while {topic.name} was read"
                )


def end_offsets(settings: Settings, topic: Topic) -> dict[int, int]:
    with reader(settings) as consumer:
        try:
            return {
                each: consumer.get_watermark_offsets(
                    TopicPartition(topic.name, each), KAFKA_TIMEOUT_S
                )[1]
                for each in topic.partitions
            }
        except KafkaException as error:
            raise unreachable_message(
                settings, error.args[0], topics=f"READ on topic {topic.name}"
            ) from None


class AllOrNothing:
    """A producer whose messages become visible together, or not at all. Under the same `name` only the last one lives."""

    def __init__(self, settings: Settings, topic: Topic, name: str | None = None):
        self._settings = settings
        self._topic = topic
        self._name = name or f"promo-assets-{uuid4()}"
        self._refused: list[tuple[object, KafkaError]] = []
        self._producer = Producer(
            quiet_client(settings)
            | {
                "transactional.id": self._name,
                "transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
                "message.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
                "message.max.bytes": str(MAX_MESSAGE_BYTES),
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": "5",
            }
        )
        with self._as_error():
            self._producer.init_transactions(KAFKA_TIMEOUT_S)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Raises `CommandError` where nothing of it was sent."""
        with self._as_error():
            self._producer.begin_transaction()
            try:
                yield
                self._await_answers()
                self._producer.commit_transaction(TRANSACTION_TIMEOUT_MS / 1000)
            except BaseException:
                self._producer.purge()  # else an abort waits for them, too
                with contextlib.suppress(KafkaException):
                    self._producer.abort_transaction(5)
                raise

    def send(self, key: bytes | None, value: bytes | None, what: object) -> None:
        """`what` names the message should Kafka refuse it."""

        def note(error: KafkaError | None, _: Message) -> None:
            if error is not None and error.code() not in (
                KafkaError._PURGE_QUEUE,
                KafkaError._PURGE_INFLIGHT,
            ):  # the ones that we gave up
                self._refused.append((what, error))

        while True:
            try:
                self._producer.produce(self._topic.name, value=value, key=key, on_delivery=note)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _await_answers(self) -> None:
        """Of the broker, to each message. Once one is refused, those behind it would only wait until their time is over."""
        while len(self._producer) and not self._refused:
            self._producer.poll(0.1)
        if self._refused:
            raise KafkaException(self._refused[0][1])

    def commit_with(self, offsets: list[TopicPartition], consumer: Consumer) -> None:
        """The consumer's group gets to these offsets if, and only if, the transaction takes place."""
        self._await_answers()
        self._producer.send_offsets_to_transaction(
            offsets, consumer.consumer_group_metadata(), KAFKA_TIMEOUT_S
        )

    @contextlib.contextmanager
    def _as_error(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            if self._refused:
                what, refused = self._refused[0]
                problem = f"{what} was refused by Kafka, so nothing was sent: {refused.str()}"
                too_large = refused.code() in (
                    KafkaError.MSG_SIZE_TOO_LARGE,
                    KafkaError.RECORD_LIST_TOO_LARGE,
                )
                raise (UserError if too_large else CommandError)(problem) from None
            if error.args[0].code() in (
                KafkaError._FENCED,
                KafkaError.PRODUCER_FENCED,
                KafkaError.INVALID_PRODUCER_EPOCH,
            ):
                raise CommandError("another one has begun meanwhile and took over") from None
            rights = {
                "topics": f"WRITE on topic {self._topic.name}",
                "group": self._name,
                "transactional_id": self._name,
            }
            raise unreachable_message(self._settings, error.args[0], **rights) from None

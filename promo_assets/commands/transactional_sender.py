"""Send messages to a topic so that all of them become visible together, or none."""

import contextlib
from collections.abc import Iterator
from uuid import uuid4

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from promo_assets.commands.console import CommandError, UserError
from promo_assets.commands.kafka_client import KAFKA_TIMEOUT_S, Topic, as_command_error
from promo_assets.settings import Settings
from promo_assets.stream.kafka.producer import MAX_MESSAGE_BYTES
from promo_assets.stream.kafka.topics import quiet_client

# If a sender is killed inside a transaction, read_committed readers wait for this long.
TRANSACTION_TIMEOUT_MS = 30_000
_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
_FENCED = (
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
)


class TransactionalSender:
    """A transactional producer for commands. Of several with the same name, the last one wins.

    It shares no code with the stream's `TransactionalProducer`, because only the settings are
    alike. This one watches each message's delivery and discards the queue at the first refusal, so
    that a refused message is reported within seconds, by its place in the user's input. The
    stream's flushes, and commits its progress in the same transaction under an id that stays.
    """

    def __init__(self, settings: Settings, topic: Topic, name: str | None = None):
        self._settings = settings
        self._topic = topic
        self._name = name or f"promo-assets-{uuid4()}"
        self._refused: list[tuple[str, KafkaError]] = []
        conf = {
            "transactional.id": self._name,
            "transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
            "message.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
            "message.max.bytes": str(MAX_MESSAGE_BYTES),
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": "5",
        }
        self._producer = Producer(quiet_client(settings) | conf)
        with self._command_errors():
            self._producer.init_transactions(KAFKA_TIMEOUT_S)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Publish what is sent within it; raises `CommandError` or `UserError` if nothing was."""
        with self._command_errors():
            self._producer.begin_transaction()
            try:
                yield
                self._wait_for_deliveries()
                self._producer.commit_transaction(TRANSACTION_TIMEOUT_MS / 1000)
            except BaseException:
                self._producer.purge()  # otherwise the abort waits for the messages, too
                with contextlib.suppress(KafkaException):
                    self._producer.abort_transaction(5)
                raise

    def send(self, key: bytes | None, value: bytes | None, description: str) -> None:
        """Queue a message; the description names it in the error if Kafka refuses it."""

        def record_refusal(error: KafkaError | None, _: Message) -> None:
            if error is not None and error.code() not in _PURGED:
                self._refused.append((description, error))

        while True:
            try:
                self._producer.produce(
                    self._topic.name, value=value, key=key, on_delivery=record_refusal
                )
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)

    def commit_offsets(self, offsets: list[TopicPartition], consumer: Consumer) -> None:
        """Commit these offsets of the consumer's group in the same transaction."""
        self._wait_for_deliveries()
        self._producer.send_offsets_to_transaction(
            offsets, consumer.consumer_group_metadata(), KAFKA_TIMEOUT_S
        )

    def _wait_for_deliveries(self) -> None:
        """Wait until the broker has acknowledged each message, or has refused one.

        The messages behind a refused one would only wait until they time out.
        """
        while len(self._producer) and not self._refused:
            self._producer.poll(0.1)
        if self._refused:
            raise KafkaException(self._refused[0][1])

    @contextlib.contextmanager
    def _command_errors(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise self._as_command_error(error.args[0]) from None

    def _as_command_error(self, error: KafkaError) -> CommandError | UserError:
        if self._refused:
            description, refusal = self._refused[0]
            message = f"{description} was refused by Kafka, so nothing was sent: {refusal.str()}"
            return UserError(message) if refusal.code() in _TOO_LARGE else CommandError(message)
        if error.code() in _FENCED:
            return CommandError(
                f"another command with the transactional id {self._name} started in the meantime "
                "and ended this one"
            )
        rights = {
            "topics": f"WRITE on topic {self._topic.name}",
            "group": self._name,
            "transactional_id": self._name,
        }
        return as_command_error(self._settings, error, **rights)

"""The transactional producer of the stream's executors, and the progress that it commits."""

import contextlib
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from promo_assets.stream.errors import AuthorizationError, HangingTransaction
from promo_assets.stream.kafka.authorization import explain_kafka_error
from promo_assets.stream.kafka.progress import (
    can_read_unstable_progress,
    close_progress_reader,
    fetch_committed,
    get_progress_reader,
    is_transient,
)
from promo_assets.stream.writer_context import WriterContext

KAFKA_TIMEOUT_S = 60
# A producer that dies with its transaction open blocks read_committed readers until its successor
# starts, or for this long.
TRANSACTION_TIMEOUT_MS = 600_000
MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # the broker's limit decides, not the client's
PRODUCER_QUEUE_KIB = 64 * 1024

Headers = dict[str, str | bytes | None]


class TransactionalProducer:
    """A producer of Kafka transactions under a transactional id that stays the same over restarts.

    `progress` is a partition's offset in the context's consumer group. It is committed in the same
    transaction as the messages.
    """

    def __init__(
        self,
        context: WriterContext,
        transactional_id: str,
        producer: Producer,
        progress_reader: Consumer,
    ):
        self._context = context
        self._transactional_id = transactional_id
        self._producer = producer
        self._progress_reader = progress_reader
        self._topics: set[str] = set()

    @classmethod
    def open(cls, context: WriterContext, name: str) -> "TransactionalProducer":
        """Connect, end whatever an earlier producer of this name left open, and fence it.

        Raises `AuthorizationError` if this user may not do so, `KafkaException` for other errors.
        """
        transactional_id = f"promo-{context.ledger_id}-{name}"
        progress_reader = get_progress_reader(context)
        producer = Producer(
            context.kafka_client
            | {
                "transactional.id": transactional_id,
                "transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
                "message.max.bytes": str(MAX_MESSAGE_BYTES),
                "queue.buffering.max.kbytes": str(PRODUCER_QUEUE_KIB),
                "partitioner": "murmur2_random",  # a Java client finds the same partition for a key
                "compression.type": "lz4",
                "linger.ms": "5",
                "reconnect.backoff.ms": "10",
            }
        )
        opened = cls(context, transactional_id, producer, progress_reader)
        opened._init_transactions()
        return opened

    def _init_transactions(self) -> None:
        # librdkafka looks for the coordinator through a connected broker, and sleeps 500 ms if it
        # has none yet. The first answer is the bootstrap address's, the second comes over a
        # connection that stays: 20 ms instead.
        for _ in range(2):
            self._producer.list_topics(self._context.topic_in, KAFKA_TIMEOUT_S)
        with self._authorization_errors(self._context.topic_in):
            self._producer.init_transactions(KAFKA_TIMEOUT_S)

    @retry(
        retry=retry_if_exception(
            lambda error: isinstance(error, KafkaException) and is_transient(error.args[0])
        ),
        wait=wait_fixed(0.1),
        stop=stop_after_delay(KAFKA_TIMEOUT_S),
        reraise=True,
    )
    def _stable_progress(self, topic: str, partition: int) -> TopicPartition:
        with self._authorization_errors(topic):
            return fetch_committed(self._progress_reader, [TopicPartition(topic, partition)])[0]

    def progress(self, topic: str, partition: int) -> TopicPartition:
        """Return the progress that was last committed. Its offset is negative if there is none.

        Raises `HangingTransaction` if Kafka answers, but a transaction that wrote this progress
        never ends.
        """
        try:
            return self._stable_progress(topic, partition)
        except KafkaException as error:
            timed_out = error.args[0].code() == KafkaError._TIMED_OUT
            if timed_out and can_read_unstable_progress(self._context, topic, partition):
                kafka = self._context.kafka_client["bootstrap.servers"]
                raise HangingTransaction(
                    f"Kafka at {kafka} does not end the transaction of {self._transactional_id} "
                    f"that wrote offsets of {topic}-{partition} in group {self._context.group}. "
                    "See hanging transactions in docs/operations.md"
                ) from None
            raise

    @contextlib.contextmanager
    def transaction(self, progress: TopicPartition) -> Iterator[None]:
        """Publish what is produced inside the block together with `progress`, all or nothing."""
        with self._authorization_errors(progress.topic):
            self._producer.begin_transaction()
            try:
                yield
                self._producer.flush()
                self._producer.send_offsets_to_transaction(
                    [progress], self._progress_reader.consumer_group_metadata(), KAFKA_TIMEOUT_S
                )
                self.commit()
            except BaseException:
                with contextlib.suppress(KafkaException):
                    self._producer.abort_transaction(5)
                raise

    def commit(self) -> None:
        self._producer.commit_transaction(KAFKA_TIMEOUT_S)

    @contextlib.contextmanager
    def _authorization_errors(self, progress_topic: str) -> Iterator[None]:
        """Turn errors of authorization, login and TLS into an `AuthorizationError`."""
        try:
            yield
        except KafkaException as error:
            permissions = [
                f"READ on topic {progress_topic}",
                *(f"WRITE on topic {topic}" for topic in sorted(self._topics)),
            ]
            message = explain_kafka_error(
                error.args[0],
                self._context.kafka_client,
                topics=" or ".join(permissions),
                group=self._context.group,
                transactional_id=self._transactional_id,
            )
            if message:
                raise AuthorizationError(message) from None
            raise

    def produce(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        self._topics.add(topic)
        while True:
            try:
                self._producer.produce(topic, value=value, key=key, headers=headers)
                return
            except BufferError:  # the queue is full: give the broker time to accept some of it
                self._producer.poll(0.1)


def check_kafka_permissions(context: WriterContext) -> None:
    """Do once what the executors' producers will do.

    A missing permission then shows at the start, not when the first campaign arrives. Progress is
    read through the producer that writes it (the one for dead letters of partition 0): opening that
    producer ends a transaction which an earlier run left open, and which would block the read.
    """
    try:
        producer = TransactionalProducer.open(context, dead_letters_producer_name(0))
        producer.progress(context.topic_in, 0)
    finally:
        close_progress_reader(context)


def dead_letters_producer_name(partition: int) -> str:
    """Return the name of the producer of the dead letters from this input partition."""
    return f"dead-letters-{partition}"

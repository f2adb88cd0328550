"""The transactional producer of the stream's executors, and the progress that it commits."""

import contextlib
import threading
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from promo_assets.stream.errors import AuthorizationError, HangingTransaction
from promo_assets.stream.kafka.authorization import explain_kafka_error
from promo_assets.stream.writer_context import WriterContext

KAFKA_TIMEOUT_S = 60
PROGRESS_TIMEOUT_S = 5
# A producer that dies with its transaction open blocks read_committed readers until its successor
# starts, or for this long.
TRANSACTION_TIMEOUT_MS = 600_000
MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # the broker's limit decides, not the client's
PRODUCER_QUEUE_KIB = 64 * 1024


_thread_readers = threading.local()


def _progress_reader(context: WriterContext) -> Consumer:
    """This thread's reader of the group's offsets; it does not join the group."""
    kept: dict[str, Consumer] = _thread_readers.__dict__
    if context.group not in kept:
        conf = {
            "group.id": context.group,
            "isolation.level": "read_committed",
            "enable.auto.commit": "false",
        }
        kept[context.group] = Consumer(context.kafka_client | conf)
    return kept[context.group]


class TransactionalProducer:
    """A Kafka transaction's producer under a stable id: making it ends whatever a former one of that id left open.

    `progress` is a partition's offset in the context's consumer group, committed in the same transaction as the messages.
    """

    def __init__(self, context: WriterContext, name: str):
        self._context = context
        self._transactional_id = f"promo-{context.ledger_id}-{name}"
        self._topics: set[str] = set()
        self._progress_reader = _progress_reader(context)
        self._producer = Producer(
            context.kafka_client
            | {
                "transactional.id": self._transactional_id,
                "transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
                "message.max.bytes": str(MAX_MESSAGE_BYTES),
                "queue.buffering.max.kbytes": str(PRODUCER_QUEUE_KIB),
                "partitioner": "murmur2_random",  # a Java client finds the same partition for a key
                "compression.type": "lz4",
                "linger.ms": "5",
                "reconnect.backoff.ms": "10",
            }
        )
        # librdkafka looks for the coordinator through a connected broker, and sleeps 500 ms where it has none yet. The first
        # answer is the bootstrap address's, the second comes over a connection that stays: 20 ms instead.
        for _ in range(2):
            self._producer.list_topics(context.topic_in, KAFKA_TIMEOUT_S)
        with self._authorization_errors(context.topic_in):
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
            return committed(self._progress_reader, [TopicPartition(topic, partition)])[0]

    def progress(self, topic: str, partition: int) -> TopicPartition:
        """The progress last committed; offset below 0 where there is none.

        Raises `HangingTransaction` where Kafka answers, but a transaction that wrote this progress never ends.
        """
        try:
            return self._stable_progress(topic, partition)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._TIMED_OUT and self._answers_without_waiting(
                topic, partition
            ):
                raise HangingTransaction(
                    f"Kafka at {self._context.kafka_client['bootstrap.servers']} does not end the transaction of {self._transactional_id} "
                    f"that wrote offsets of {topic}-{partition} in group {self._context.group}: docs/operations.md, hanging transactions"
                ) from None
            raise

    def _answers_without_waiting(self, topic: str, partition: int) -> bool:
        """Whether the group's offsets can be read by who does not wait for open transactions."""
        reader = Consumer(
            self._context.kafka_client
            | {"group.id": self._context.group, "isolation.level": "read_uncommitted"}
        )
        try:
            committed(reader, [TopicPartition(topic, partition)])
            return True
        except KafkaException:
            return False
        finally:
            reader.close()

    @contextlib.contextmanager
    def transaction(self, progress: TopicPartition) -> Iterator[None]:
        """Publish what is produced in it together with `progress`, all or nothing."""
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
    def _authorization_errors(self, topic_of_progress: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            rights = [
                f"READ on topic {topic_of_progress}",
                *(f"WRITE on topic {topic}" for topic in sorted(self._topics)),
            ]
            line = explain_kafka_error(
                error.args[0],
                self._context.kafka_client,
                topics=" or ".join(rights),
                group=self._context.group,
                transactional_id=self._transactional_id,
            )
            if line:
                raise AuthorizationError(line) from None
            raise

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: dict[str, str | bytes | None],
    ) -> None:
        self._topics.add(topic)
        while True:
            try:
                self._producer.produce(topic, value=value, key=key, headers=headers)
                return
            except BufferError:  # the queue is full: let the broker take some
                self._producer.poll(0.1)


def check_kafka_permissions(context: WriterContext) -> None:
    """Do once what executors' producers will do: a right that is missing is told now, not when the first campaign comes.

    Done as the writer of this partition's progress: a transaction that it left open would keep the progress from being read.
    """
    try:
        TransactionalProducer(context, dead_letters_producer_name(0)).progress(context.topic_in, 0)
    finally:
        if reader := _thread_readers.__dict__.pop(context.group, None):
            reader.close()


def dead_letters_producer_name(partition: int) -> str:
    """Name of the producer of the dead letters that come from this partition of the input topic."""
    return f"dead-letters-{partition}"


def committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """What the consumer's group has committed, offset below 0 where nothing; whatever is wrong is a `KafkaException`."""
    try:
        found = consumer.committed(partitions, PROGRESS_TIMEOUT_S)
    except KafkaException:
        # That the group is refused comes as an event, and is no more than a time-out here.
        if (event := consumer.poll(0)) and (error := event.error()):
            raise KafkaException(error) from None
        raise
    for each in found:
        if each.error:
            raise KafkaException(each.error)
    return found


def is_transient(error: KafkaError) -> bool:
    of_coordinator = (
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    )
    return error.retriable() or error.code() in (*of_coordinator, KafkaError._TIMED_OUT)

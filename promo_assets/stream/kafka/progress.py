"""Reading the progress that transactions commit: the offsets of a consumer group."""

import threading

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from promo_assets.stream.writer_context import WriterContext

PROGRESS_TIMEOUT_S = 5

_thread_readers = threading.local()


def get_progress_reader(context: WriterContext) -> Consumer:
    """Return this thread's reader of the group's offsets. It does not join the group."""
    readers: dict[str, Consumer] = _thread_readers.__dict__
    if context.group not in readers:
        conf = {
            "group.id": context.group,
            "isolation.level": "read_committed",
            "enable.auto.commit": "false",
        }
        readers[context.group] = Consumer(context.kafka_client | conf)
    return readers[context.group]


def close_progress_reader(context: WriterContext) -> None:
    """Close this thread's reader of the group's offsets if there is one."""
    if reader := _thread_readers.__dict__.pop(context.group, None):
        reader.close()


def can_read_unstable_progress(context: WriterContext, topic: str, partition: int) -> bool:
    """Return whether a reader that does not wait for open transactions gets the group's offset."""
    conf = {"group.id": context.group, "isolation.level": "read_uncommitted"}
    reader = Consumer(context.kafka_client | conf)
    try:
        fetch_committed(reader, [TopicPartition(topic, partition)])
        return True
    except KafkaException:
        return False
    finally:
        reader.close()


def fetch_committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """Return what the consumer's group has committed, with a negative offset if there is nothing.

    Raises `KafkaException` for any error.
    """
    try:
        offsets = consumer.committed(partitions, PROGRESS_TIMEOUT_S)
    except KafkaException:
        # That the group is refused is reported as an event. The exception is only a time-out.
        if (event := consumer.poll(0)) and (error := event.error()):
            raise KafkaException(error) from None
        raise
    for offset in offsets:
        if offset.error:
            raise KafkaException(offset.error)
    return offsets


def is_transient(error: KafkaError) -> bool:
    """Return whether the same request may succeed later."""
    coordinator_errors = (
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    )
    return error.retriable() or error.code() in (*coordinator_errors, KafkaError._TIMED_OUT)

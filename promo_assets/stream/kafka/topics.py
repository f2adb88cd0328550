"""Edge: what the stream must know of its Kafka topics before it starts, and where they end.

Nothing here changes a topic (`topic_limits.py` does).
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, OffsetSpec, TopicDescription

from promo_assets.settings import Settings
from promo_assets.stream.errors import StreamError
from promo_assets.stream.kafka.authorization import explain_kafka_error
from promo_assets.stream.offsets import Offsets

KAFKA_TIMEOUT_S = 10
POLL_S = 0.05
# librdkafka writes a fatal error to standard error whatever the log level, unless the client has a
# logger of its own.
_SILENT_LOGGER = logging.Logger("nowhere", logging.CRITICAL + 1)


@dataclass(frozen=True)
class Topics:
    """The input topic's id and the output topic's number of partitions.

    A topic that was deleted and created again under the same name has another id.
    """

    in_id: str
    out_partitions: int


def quiet_client(settings: Settings) -> dict[str, Any]:
    """Return the connection settings of a client whose failures we report ourselves."""
    return {**settings.kafka_client(), "log_level": 0, "logger": _SILENT_LOGGER}


@contextlib.contextmanager
def reader(settings: Settings, **conf: str) -> Iterator[Consumer]:
    """Open a consumer of finished transactions that commits nothing and joins no group.

    conf: further settings of the consumer, with `_` in place of `.` in their names.
    """
    consumer = Consumer(
        quiet_client(settings)
        | {
            "group.id": "promo-assets-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": "false",
        }
        | {name.replace("_", "."): value for name, value in conf.items()}
    )
    try:
        yield consumer
    finally:
        consumer.close()


def check_topics(settings: Settings) -> Topics:
    """Check that the three topics exist and that this user has the stream's permissions on them.

    Changes nothing. Raises `StreamError` if a topic or a permission is missing or Kafka does not
    answer.
    """
    # Published progress is kept as offsets of the output topic, and only a user who may read a
    # topic may commit offsets of it.
    read_and_write = (AclOperation.READ, AclOperation.WRITE)
    needed = {
        settings.topic_in: read_and_write[:1],
        settings.topic_out: read_and_write,
        settings.topic_dead_letters: read_and_write[1:],
    }
    topics = describe_topics(settings, needed)
    return Topics(
        str(topics[settings.topic_in].topic_id), len(topics[settings.topic_out].partitions)
    )


def describe_topics(
    settings: Settings, needed: Mapping[str, Sequence[AclOperation]]
) -> dict[str, TopicDescription]:
    """Describe the topics of these names.

    needed: for each topic what this user must be allowed to do with it. Raises `StreamError`.
    """
    names = TopicCollection(list(needed))
    answers: dict[str, Future[TopicDescription]] = send_admin_request(
        quiet_client(settings),
        lambda admin: admin.describe_topics(
            names, include_authorized_operations=True, request_timeout=KAFKA_TIMEOUT_S
        ),
    )
    return {
        name: _check_description(settings, name, answer, needed[name])
        for name, answer in answers.items()
    }


def send_admin_request(
    conf: dict[str, Any], request: Callable[[AdminClient], dict[str, Future]]
) -> dict[str, Future]:
    """Send a request with an admin client and return its answers when all have arrived.

    Raises `StreamError` as soon as the login or the certificate is rejected, because the client
    itself would keep trying.
    """
    problems: list[KafkaError] = []
    watched: dict[str, Any] = {**conf, "error_cb": problems.append}
    admin = AdminClient(watched)
    answers = request(admin)
    while wait(answers.values(), timeout=0).not_done:
        admin.poll(POLL_S)
        for problem in problems:
            if message := explain_kafka_error(problem, conf):
                raise StreamError(message)
    return answers


def _check_description(
    settings: Settings, name: str, answer: Future[TopicDescription], needed: Sequence[AclOperation]
) -> TopicDescription:
    try:
        topic = answer.result()
    except KafkaException as error:
        raise StreamError(_explain_missing(settings, name, error.args[0], needed)) from None
    # Without an authorizer everything is allowed. A broker that does not report permissions is
    # tested by using them.
    allowed = topic.authorized_operations or needed
    missing = [operation for operation in needed if operation not in allowed]
    if missing:
        denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        raise StreamError(_explain_authorization(settings, name, denied, missing))
    return topic


def _explain_missing(
    settings: Settings, topic: str, problem: KafkaError, needed: Sequence[AclOperation]
) -> str:
    if problem.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return (
            f"Topic {topic} does not exist on Kafka at {settings.bootstrap_servers}: "
            "create it, or run `promo-assets up`"
        )
    explained = _explain_authorization(settings, topic, problem, needed)
    return explained or unreachable_message(settings, problem)


def _explain_authorization(
    settings: Settings, topic: str, problem: KafkaError, needed: Sequence[AclOperation]
) -> str | None:
    operations = " and ".join(operation.name for operation in needed)
    return explain_kafka_error(
        problem, settings.kafka_client(), topics=f"{operations} on topic {topic}"
    )


def unreachable_message(settings: Settings, problem: KafkaError) -> str:
    """Return the message for a Kafka that does not answer."""
    hint = "Start the local one with `promo-assets up`"
    if not settings.local_kafka:
        hint = "Check PROMO_KAFKA_BOOTSTRAP_SERVERS"
    return f"Kafka at {settings.bootstrap_servers} did not answer ({problem.str()}). {hint}"


@dataclass(frozen=True)
class InputOffsets:
    """An offset in each of the input topic's partitions, and the topic's id."""

    topic_id: str
    offsets: Offsets


def fetch_input_offsets(
    settings: Settings, where: OffsetSpec | None = None, timeout_s: float = KAFKA_TIMEOUT_S
) -> InputOffsets:
    """Return the input topic's end offsets, or the offsets of another place.

    If `where` is a time, a partition without a message as late as that has offset -1. Raises
    `KafkaException`.
    """
    admin = AdminClient(quiet_client(settings))
    topic = admin.describe_topics(TopicCollection([settings.topic_in]), request_timeout=timeout_s)[
        settings.topic_in
    ].result()
    latest = cast(OffsetSpec, OffsetSpec.latest())
    request = {
        TopicPartition(settings.topic_in, partition.id): where or latest
        for partition in topic.partitions
    }
    answers = admin.list_offsets(request, request_timeout=timeout_s)
    return InputOffsets(
        str(topic.topic_id),
        {each.partition: answer.result().offset for each, answer in answers.items()},
    )

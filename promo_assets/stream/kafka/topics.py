"""Edge: what the stream must know of its Kafka topics before it starts, and where they end."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
    TopicDescription,
)

from promo_assets.settings import Settings
from promo_assets.stream.errors import StreamError
from promo_assets.stream.kafka.authorization import explain_kafka_error

KAFKA_TIMEOUT_S = 10
POLL_S = 0.05
# A fatal error is written to standard error whatever the log level, but for a logger of one's own.
_SILENT_LOGGER = logging.Logger("nowhere", logging.CRITICAL + 1)
# A dead letter is its message plus headers, a notification its campaign plus a client: their topics must take a little more.
OVERHEAD_BYTES = 64 * 1024
_MAX_BYTES = "max.message.bytes"


@dataclass(frozen=True)
class Topics:
    """The input topic's id (a topic made anew under the same name has another) and the output topic's number of partitions."""

    in_id: str
    out_partitions: int


def quiet_client(settings: Settings) -> dict[str, Any]:
    """Connection settings of a client whose failures we report ourselves."""
    return {**settings.kafka_client(), "log_level": 0, "logger": _SILENT_LOGGER}


@contextlib.contextmanager
def reader(settings: Settings, **conf: str) -> Iterator[Consumer]:
    """A consumer of finished transactions that commits nothing and belongs to no group's members."""
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
    """Ask Kafka for the three topics and for the stream's rights; raises `StreamError` where something is not to be had."""
    # What was published is noted as offsets of the output topic, and only a reader of a topic may note offsets of it.
    both = (AclOperation.READ, AclOperation.WRITE)
    needed = {
        settings.topic_in: both[:1],
        settings.topic_out: both,
        settings.topic_dead_letters: both[1:],
    }
    topics = describe_topics(settings, needed)
    _raise_limits(AdminClient(quiet_client(settings)), settings)
    return Topics(
        str(topics[settings.topic_in].topic_id), len(topics[settings.topic_out].partitions)
    )


def describe_topics(
    settings: Settings, needed: Mapping[str, Sequence[AclOperation]]
) -> dict[str, TopicDescription]:
    """The topics by name, each with what this user must be allowed to do with it; raises `StreamError` in one line."""
    wanted = TopicCollection(list(needed))
    answers: dict[str, Future[TopicDescription]] = ask(
        quiet_client(settings),
        lambda admin: admin.describe_topics(
            wanted, include_authorized_operations=True, request_timeout=KAFKA_TIMEOUT_S
        ),
    )
    return {
        name: _described(settings, name, answer, needed[name]) for name, answer in answers.items()
    }


def ask(
    conf: dict[str, Any], request: Callable[[AdminClient], dict[str, Future]]
) -> dict[str, Future]:
    """An admin request's answers, all there. Raises `StreamError` as soon as the login or the certificate is refused: the
    client itself would go on trying."""
    problems: list[KafkaError] = []
    watched: dict[str, Any] = {**conf, "error_cb": problems.append}
    admin = AdminClient(watched)
    answers = request(admin)
    while wait(answers.values(), timeout=0).not_done:
        admin.poll(POLL_S)
        for problem in problems:
            if line := explain_kafka_error(problem, conf):
                raise StreamError(line)
    return answers


def _described(
    settings: Settings, name: str, answer: Future[TopicDescription], needed: Sequence[AclOperation]
) -> TopicDescription:
    try:
        topic = answer.result()
    except KafkaException as error:
        problem = error.args[0]
        if problem.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            line = f"topic {name} does not exist on Kafka at {settings.bootstrap_servers}: create it, or run `promo-assets up`"
        else:
            line = _explain(settings, name, problem, needed) or unreachable_message(
                settings, problem
            )
        raise StreamError(line) from None
    # Without an authorizer everything is allowed, and a broker that tells nothing of rights is asked by using them.
    missing = [
        operation
        for operation in needed
        if operation not in (topic.authorized_operations or needed)
    ]
    if missing:
        raise StreamError(
            _explain(settings, name, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), missing)
        )
    return topic


def _explain(
    settings: Settings, topic: str, problem: KafkaError, needed: Sequence[AclOperation]
) -> str | None:
    rights = " and ".join(operation.name for operation in needed)
    return explain_kafka_error(
        problem, settings.kafka_client(), topics=f"{rights} on topic {topic}"
    )


def unreachable_message(settings: Settings, problem: KafkaError) -> str:
    hint = ": does it run? `promo-assets up` starts the local one" if settings.local_kafka else ""
    return f"Kafka at {settings.bootstrap_servers} gave no answer ({problem.str()}){hint}"


def _raise_limits(admin: AdminClient, settings: Settings) -> None:
    """Where what goes out would not fit although it came in, raise the outgoing topic's limit; without the right to, it stays."""
    try:
        resources = {
            name: ConfigResource(ResourceType.TOPIC, name)
            for name in (settings.topic_in, settings.topic_out, settings.topic_dead_letters)
        }
        answers = admin.describe_configs(list(resources.values()), request_timeout=KAFKA_TIMEOUT_S)
        limits = {
            resource.name: int(answer.result()[_MAX_BYTES].value)
            for resource, answer in answers.items()
        }
        needed = limits.pop(settings.topic_in) + OVERHEAD_BYTES
        for name in (name for name, limit in limits.items() if limit < needed):
            raised = ConfigEntry(
                _MAX_BYTES, str(needed), incremental_operation=AlterConfigOpType.SET
            )
            request = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[raised])
            for answer in admin.incremental_alter_configs(
                [request], request_timeout=KAFKA_TIMEOUT_S
            ).values():
                answer.result()
    except KafkaException:
        pass  # a message too large for its topic then fails by name when it comes


@dataclass(frozen=True)
class InputOffsets:
    """An offset in each of the input topic's partitions, and the topic's id."""

    topic_id: str
    offsets: dict[int, int]


def input_offsets(
    settings: Settings, where: OffsetSpec | None = None, timeout_s: float = KAFKA_TIMEOUT_S
) -> InputOffsets:
    """The input topic's end offsets, or those of another place (a time has offset -1 where no message is as late); `KafkaException`."""
    admin = AdminClient(quiet_client(settings))
    topic = admin.describe_topics(TopicCollection([settings.topic_in]), request_timeout=timeout_s)[
        settings.topic_in
    ].result()
    wanted = {
        TopicPartition(settings.topic_in, each.id): where or cast(OffsetSpec, OffsetSpec.latest())
        for each in topic.partitions
    }
    found = admin.list_offsets(wanted, request_timeout=timeout_s)
    return InputOffsets(
        str(topic.topic_id), {at.partition: future.result().offset for at, future in found.items()}
    )

"""Edge: what the stream must know of its Kafka topics before it starts, and how far behind it is."""

from dataclasses import dataclass
from typing import cast

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, OffsetSpec, ResourceType

from promo_assets.settings import Settings
from promo_assets.stream.turn import StreamError

ANSWER_S = 15
# A dead letter is its message plus headers, a notification its campaign plus a client: their topics must take a little more.
ROOM_BYTES = 64 * 1024
_SIZE = "max.message.bytes"


@dataclass(frozen=True)
class Topics:
    """The input topic's id (a topic made anew under the same name has another) and the output topic's number of partitions."""

    in_id: str
    out_partitions: int


def quiet_client(settings: Settings) -> dict[str, str | int | float | bool]:
    """Connection settings of a client whose failures we report ourselves."""
    return {**settings.kafka_client(), "log_level": 0}


def check_topics(settings: Settings) -> Topics:
    """Ask Kafka for the three topics; raises `StreamError` where it, or one of them, is not to be had."""
    admin = AdminClient(quiet_client(settings))
    names = [settings.topic_in, settings.topic_out, settings.topic_dead_letters]
    try:
        described = admin.describe_topics(TopicCollection(names), request_timeout=ANSWER_S)
        topics = {}
        for name, future in described.items():
            try:
                topics[name] = future.result()
            except KafkaException as error:
                if error.args[0].name() == "UNKNOWN_TOPIC_OR_PART":
                    raise StreamError(
                        f"topic {name} does not exist on Kafka at {settings.bootstrap_servers}: create it, or run `promo-assets up`"
                    ) from None
                raise
    except KafkaException as error:
        raise StreamError(f"Kafka at {settings.bootstrap_servers} gave no answer: {error.args[0].str()}") from None
    _make_room(admin, settings)
    return Topics(str(topics[settings.topic_in].topic_id), len(topics[settings.topic_out].partitions))


def _make_room(admin: AdminClient, settings: Settings) -> None:
    """Where what goes out would not fit although it came in, raise the outgoing topic's limit; without the right to, it stays."""
    try:
        resources = {
            name: ConfigResource(ResourceType.TOPIC, name) for name in (settings.topic_in, settings.topic_out, settings.topic_dead_letters)
        }
        answers = admin.describe_configs(list(resources.values()), request_timeout=ANSWER_S)
        limits = {resource.name: int(answer.result()[_SIZE].value) for resource, answer in answers.items()}
        needed = limits.pop(settings.topic_in) + ROOM_BYTES
        for name in (name for name, limit in limits.items() if limit < needed):
            raised = ConfigEntry(_SIZE, str(needed), incremental_operation=AlterConfigOpType.SET)
            request = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[raised])
            for answer in admin.incremental_alter_configs([request], request_timeout=ANSWER_S).values():
                answer.result()
    except KafkaException:
        pass  # a message too large for its topic then fails by name when it comes


@dataclass(frozen=True)
class InputOffsets:
    """An offset in each of the input topic's partitions, and the topic's id."""

    topic_id: str
    offsets: dict[int, int]


def input_offsets(settings: Settings, where: OffsetSpec | None = None, answer_s: float = ANSWER_S) -> InputOffsets:
    """The input topic's end offsets, or those of another place (a time has offset -1 where no message is as late); `KafkaException`."""
    admin = AdminClient(quiet_client(settings))
    topic = admin.describe_topics(TopicCollection([settings.topic_in]), request_timeout=answer_s)[settings.topic_in].result()
    wanted = {TopicPartition(settings.topic_in, each.id): where or cast(OffsetSpec, OffsetSpec.latest()) for each in topic.partitions}
    found = admin.list_offsets(wanted, request_timeout=answer_s)
    return InputOffsets(str(topic.topic_id), {at.partition: future.result().offset for at, future in found.items()})


def count_behind(read: dict[str, int], ends: dict[int, int]) -> int:
    """Offsets between where the stream has read to, by partition, and the topic's end."""
    return sum(max(0, end - read.get(str(partition), 0)) for partition, end in ends.items())

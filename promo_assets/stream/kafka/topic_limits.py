"""Edge: the limit of a message's size, the only setting of a topic that the stream changes."""

import contextlib

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from promo_assets.settings import Settings
from promo_assets.stream.kafka.topics import KAFKA_TIMEOUT_S, quiet_client

# A dead letter is its message plus headers, a notification is its campaign plus a client: their
# topics must accept a little more than the input topic.
OVERHEAD_BYTES = 64 * 1024

_MAX_BYTES = "max.message.bytes"


def raise_topic_limits(settings: Settings) -> None:
    """Raise the output topics' `max.message.bytes` if a message that came in might not fit.

    Without the permission to do so the limits stay. A message that is too large for its topic then
    fails with an error that names the topic.
    """
    admin = AdminClient(quiet_client(settings))
    with contextlib.suppress(KafkaException):
        limits = _describe_limits(admin, settings)
        needed = limits.pop(settings.topic_in) + OVERHEAD_BYTES
        for topic, limit in limits.items():
            if limit < needed:
                _set_limit(admin, topic, needed)


def _describe_limits(admin: AdminClient, settings: Settings) -> dict[str, int]:
    """Return the limit of each of the three topics, in bytes. Raises `KafkaException`."""
    topics = (settings.topic_in, settings.topic_out, settings.topic_dead_letters)
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
    answers = admin.describe_configs(resources, request_timeout=KAFKA_TIMEOUT_S)
    return {
        resource.name: int(answer.result()[_MAX_BYTES].value)
        for resource, answer in answers.items()
    }


def _set_limit(admin: AdminClient, topic: str, limit: int) -> None:
    entry = ConfigEntry(_MAX_BYTES, str(limit), incremental_operation=AlterConfigOpType.SET)
    request = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    answers = admin.incremental_alter_configs([request], request_timeout=KAFKA_TIMEOUT_S)
    for answer in answers.values():
        answer.result()

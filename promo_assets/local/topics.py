"""Creates the three topics of the stream if they are missing."""

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.cimpl import NewTopic

from promo_assets.local.processes import ServiceError
from promo_assets.settings import Settings
from promo_assets.stream.kafka.topics import quiet_client, send_admin_request

PARTITIONS = 3
BROKERS_DEFAULT = -1
KAFKA_TIMEOUT_S = 30


def create_topics(settings: Settings, bootstrap_servers: str) -> None:
    """Create the topics that are missing, and leave the others as they are.

    Raises `ServiceError` if Kafka refuses one.
    """
    login = {} if settings.local_kafka else quiet_client(settings)
    names = (settings.topic_in, settings.topic_out, settings.topic_dead_letters)
    new = [
        NewTopic(name, num_partitions=PARTITIONS, replication_factor=BROKERS_DEFAULT)
        for name in names
    ]
    answers = send_admin_request(
        login | {"bootstrap.servers": bootstrap_servers, "log_level": 0},
        lambda admin: admin.create_topics(
            new, operation_timeout=KAFKA_TIMEOUT_S, request_timeout=KAFKA_TIMEOUT_S
        ),
    )
    for name, answer in answers.items():
        try:
            answer.result()
        except KafkaException as error:
            problem = error.args[0]
            if problem.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise ServiceError(
                    f"Cannot create the topic {name} on Kafka at {bootstrap_servers}:"
                    f" {problem.str()}"
                ) from error

"""What it means that Kafka does not let a client in: who lacks which right on what."""

import re
from collections.abc import Mapping

from confluent_kafka import KafkaError

_LOGIN_ERRORS = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
)


def explain_kafka_error(
    error: KafkaError,
    conf: Mapping[str, object],
    *,
    topics: str = "",
    group: str = "",
    transactional_id: str = "",
) -> str | None:
    """The message for an error of authorization, login or TLS of a client; None for any other.

    conf: the client's configuration. topics: the rights that were needed, on which topics.
    """
    where = f"Kafka at {conf['bootstrap.servers']}"
    user = f"user {conf['sasl.username']}" if "sasl.username" in conf else "this user"
    missing = {
        KafkaError.TOPIC_AUTHORIZATION_FAILED: topics,
        KafkaError.GROUP_AUTHORIZATION_FAILED: f"READ on group {group}",
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (
            f"WRITE on transactional id {transactional_id}"
        ),
    }.get(error.code())
    if missing:
        return f"{user} lacks {missing} on {where}: docs/security.md shows how to grant it"
    reason = re.sub(r"^\w+://\S+: |\s*\(after \d+ms .*$", "", error.str())
    if error.code() in _LOGIN_ERRORS:
        settings = "PROMO_KAFKA_USERNAME and PROMO_KAFKA_PASSWORD"
        return f"{where} refused the login of {user}, see {settings}: {reason}"
    if error.code() == KafkaError._SSL:
        if "certificate verify failed" in reason:
            reason = "its certificate is of no authority in that file"
        return f"no safe connection to {where}, see PROMO_KAFKA_CA_FILE: {reason}"
    return None

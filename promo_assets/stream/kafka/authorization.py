"""The explanation of Kafka's authorization errors: who lacks which permission on what."""

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
    """Return the message for a client's error of authorization, login or TLS. Others give None.

    conf: the client's configuration. topics: the permissions that were needed, and on which topics.
    """
    kafka = f"Kafka at {conf['bootstrap.servers']}"
    user = f"user {conf['sasl.username']}" if "sasl.username" in conf else "this user"
    missing = {
        KafkaError.TOPIC_AUTHORIZATION_FAILED: topics,
        KafkaError.GROUP_AUTHORIZATION_FAILED: f"READ on group {group}",
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (
            f"WRITE on transactional id {transactional_id}"
        ),
    }.get(error.code())
    if missing:
        hint = "docs/security.md shows how to grant it"
        return f"{_capitalize(user)} lacks {missing} on {kafka}. {hint}"
    reason = re.sub(r"^\w+://\S+: |\s*\(after \d+ms .*$", "", error.str())
    if error.code() in _LOGIN_ERRORS:
        settings = "PROMO_KAFKA_USERNAME and PROMO_KAFKA_PASSWORD"
        return f"{kafka} rejected the login of {user} ({reason}). Check {settings}"
    if error.code() == KafkaError._SSL:
        if "certificate verify failed" in reason:
            reason = "no authority in PROMO_KAFKA_CA_FILE has signed its certificate"
        return f"Cannot open a TLS connection to {kafka}: {reason}. Check PROMO_KAFKA_CA_FILE"
    return None


def _capitalize(text: str) -> str:
    """Return the text with an upper-case first letter, and the rest as it is."""
    return text[:1].upper() + text[1:]

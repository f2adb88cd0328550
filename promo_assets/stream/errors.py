"""What it means when Kafka or Postgres does not let this user do something: one line that says who lacks which right on what.

A right that is missing is still missing a second later: what was refused is not tried again.
"""

import re
from collections.abc import Mapping

from confluent_kafka import KafkaError
from psycopg import Error as PostgresError

_LOGIN = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
)
_OURS = re.compile(r"^promo_assets\.stream\.errors\.AuthorizationError: (.+)$", re.MULTILINE)
_JAVAS = re.compile(
    r"(?:org\.apache\.kafka\.common\.errors\.\w*AuthorizationException|PSQLException: ERROR): ((?:permission|\w+ auth).+)"
)


class AuthorizationError(Exception):
    """A right is missing, or the login is wrong; the message is one line that says what to do."""


def authorization_error_in(error: BaseException | None) -> str | None:
    """The refusal's line where that is what an error comes from: executors' and Java's errors reach the driver as text."""
    if isinstance(error, AuthorizationError):
        return str(error)
    if found := _OURS.search(str(error)):
        return found[1].strip()
    found = _JAVAS.search(str(error))
    return (
        f"Spark's reader was refused: {found[1].strip(' .')}: docs/security.md shows how to grant it"
        if found
        else None
    )


def explain_kafka_error(
    error: KafkaError,
    conf: Mapping[str, object],
    *,
    topics: str = "",
    group: str = "",
    transactional_id: str = "",
) -> str | None:
    """The line for the error of a client with this configuration; None where it is no refusal. `topics` says what right on which."""
    where = f"Kafka at {conf['bootstrap.servers']}"
    user = f"user {conf['sasl.username']}" if "sasl.username" in conf else "this user"
    lacking = {
        KafkaError.TOPIC_AUTHORIZATION_FAILED: topics,
        KafkaError.GROUP_AUTHORIZATION_FAILED: f"READ on group {group}",
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: f"WRITE on transactional id {transactional_id}",
    }.get(error.code())
    if lacking:
        return f"{user} lacks {lacking} on {where}: docs/security.md shows how to grant it"
    reason = re.sub(r"^\w+://\S+: |\s*\(after \d+ms .*$", "", error.str())
    if error.code() in _LOGIN:
        return f"{where} refused the login of {user}, see PROMO_KAFKA_USERNAME and PROMO_KAFKA_PASSWORD: {reason}"
    if error.code() == KafkaError._SSL:
        why = (
            "its certificate is of no authority in that file"
            if "certificate verify failed" in reason
            else reason
        )
        return f"no safe connection to {where}, see PROMO_KAFKA_CA_FILE: {why}"
    return None


def explain_postgres_error(error: PostgresError, role: str) -> str:
    """The line for a missing right (`psycopg.errors.InsufficientPrivilege`): Postgres itself names the table."""
    told = str(error).strip().splitlines()[0]
    return f"role {role} was refused by Postgres: {told}. Run `promo-assets ledger apply --grant-to {role}` as the owner"

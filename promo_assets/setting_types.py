"""The types of the settings, with the values that each accepts.

A wrong value is reported as "PROMO_X: expected …, got …", without the value if it is a secret.
"""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from promo_assets.secret_files import SECRETS

LONGEST_DEPTH = 36_500


def _expect(description: str) -> WrapValidator:
    """Return a validator that reports every failure of its type as "expected DESCRIPTION"."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(f"expected {description}") from None

    return WrapValidator(validate)


def _make_absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _check_topic(name: str) -> str:
    if name in (".", "..") or not re.fullmatch("[A-Za-z0-9._-]{1,249}", name):
        raise ValueError("not a topic's name")
    return name


def _resolve_folder(folder_or_uri: str) -> str:
    """Return a URI as it is and a folder as an absolute path."""
    if re.match("[A-Za-z][A-Za-z0-9+.-]+:", folder_or_uri) is None:
        return str(_make_absolute(Path(folder_or_uri)))
    if not re.match("[A-Za-z][A-Za-z0-9+.-]+:/", folder_or_uri):
        raise ValueError("a URI without a path")
    return folder_or_uri


def _check_day(value: object) -> object:
    """Refuse what pydantic would accept too: times and numbers."""
    if isinstance(value, str) and not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("not a day")
    return value


def _check_addresses(servers: str) -> str:
    for address in servers.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError("not HOST:PORT")
    return servers


def _check_archive(archive: str) -> str:
    """Return a URI as it is and an existing file as an absolute path."""
    if "://" in archive:
        return archive
    if not archive.endswith((".tar.gz", ".tgz", ".tar", ".zip", ".jar")):
        raise ValueError("expected .tar.gz, .tgz, .tar, .zip or .jar, which Spark can unpack")
    if not (path := _make_absolute(Path(archive))).is_file():
        raise ValueError(
            f"the file {path} does not exist; create it with `promo-assets spark-archive`"
        )
    return str(path)


AbsolutePath = Annotated[Path, AfterValidator(_make_absolute)]
FolderOrUri = Annotated[
    str,
    AfterValidator(_resolve_folder),
    _expect("a folder or a URI such as hdfs://namenode:8020/folder"),
]
TopicName = Annotated[
    str, AfterValidator(_check_topic), _expect("1 to 249 of the characters a-z A-Z 0-9 . _ -")
]
BootstrapServers = Annotated[
    str,
    AfterValidator(_check_addresses),
    _expect("one or more HOST:PORT, separated by commas"),
]
SecurityProtocol = Annotated[
    Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
    _expect("PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
]
SaslMechanism = Annotated[
    Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
    _expect("PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
]
DayCount = Annotated[
    int,
    Field(ge=1, le=LONGEST_DEPTH),
    _expect(f"a whole number of days from 1 to {LONGEST_DEPTH}"),
]
Day = Annotated[date, BeforeValidator(_check_day), _expect("a day such as 2022-01-31")]
LakeOwner = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"),
    _expect("letters, digits, _ . - that begin with neither . nor -"),
]
SparkMaster = Annotated[
    str,
    Field(pattern=r"^(local(\[(\*|[1-9][0-9]*)(, *[1-9][0-9]*)?\])?|spark://.+|yarn|k8s://.+)$"),
    _expect("local, local[*], local[N], spark://HOST:PORT, yarn or k8s://URL"),
]
SparkArchive = Annotated[str, AfterValidator(_check_archive)]


def check_login(protocol: str, login: Mapping[str, object]) -> None:
    """Refuse a Kafka login that is incomplete, and one that the protocol would not use.

    `login` maps the settings' names to their values. Raises `ValueError`.
    """
    wants_login = protocol.startswith("SASL")
    for name, value in login.items():
        if wants_login and value is None:
            raise ValueError(
                f"{name}: expected a value, because"
                f" PROMO_KAFKA_SECURITY_PROTOCOL={protocol} requires a login"
            )
        if not wants_login and value is not None:
            raise ValueError(
                f"{name}: expected no value, because"
                f" PROMO_KAFKA_SECURITY_PROTOCOL={protocol} has no login; SASL_SSL has one"
            )


def check_topics_differ(*topics: str) -> None:
    """Raises `ValueError` if two of the three topics have the same name."""
    if len(set(topics)) < len(topics):
        raise ValueError(
            "PROMO_TOPIC_IN, PROMO_TOPIC_OUT, PROMO_TOPIC_DEAD_LETTERS: expected three"
            f" different topics, got {', '.join(topics)}"
        )


def describe_error(error: ValidationError) -> str:
    """Return one line about the first wrong setting, which it names; it never shows a secret."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # a rule about several settings; its message names them
        return message
    name, value = str(first["loc"][0]), str(first["input"])
    # A value is shown unless it is a secret, or an address with a login in front of `@`.
    if message.startswith("expected ") and name not in SECRETS and "@" not in value:
        message += f", got {value!r}"
    return f"PROMO_{name.upper()}: {message}"

"""The one typed settings object, and the only place that reads the environment.

Every setting is an environment variable (or a line of `.env`) named `PROMO_` + the field's name.
Secrets can stand in files instead, as Docker and Kubernetes mount them: `PROMO_…_FILE` names the file.
Unset endpoints mean the local services of `promo-assets up`, at the ports that it chose and noted
under `PROMO_HOME`.
"""

import json
import re
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from promo_assets.certificates import read_certificates
from promo_assets.postgres_url import check_url, with_database

PROJECT_ROOT = Path(__file__).resolve().parents[1]
DEFAULT_KAFKA_PORT = 9092
DEFAULT_POSTGRES_PORT = 5432
DAGSTER_DATABASE = "dagster"
LONGEST_DEPTH = 36_500
SECRETS = ("kafka_password", "postgres_url", "feedback_postgres_url", "dagster_postgres_url")


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the message names the setting and never shows a secret."""


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _topic(name: str) -> str:
    if (
        not (0 < len(name) <= 249)
        or name in (".", "..")
        or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
    ):
        raise ValueError("a topic's name has 1 to 249 of the characters a-z A-Z 0-9 . _ -")
    return name


def _folder_or_uri(place: str) -> str:
    if re.match("[A-Za-z][A-Za-z0-9+.-]+:", place) is None:
        return str(_absolute(Path(place)))
    if not re.match("[A-Za-z][A-Za-z0-9+.-]+:/", place):
        raise ValueError("a folder, or a URI like hdfs://namenode:8020/folder, is needed")
    return place


def _iso_date(text: object) -> object:
    if isinstance(text, str) and not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("a day like 2022-01-31 is needed")
    return text


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
FolderOrUri = Annotated[str, AfterValidator(_folder_or_uri)]
TopicName = Annotated[str, AfterValidator(_topic)]


class _WithSecretFiles(PydanticBaseSettingsSource):
    """The environment (or `.env`), with the content of the files that it names in place of their names."""

    def __init__(self, settings_cls: type[BaseSettings], source: PydanticBaseSettingsSource):
        super().__init__(settings_cls)
        self._source = source

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        values = dict(self._source())
        for name in SECRETS:
            file = values.pop(f"{name}_file", None)
            if (
                file is None or name in self.current_state
            ):  # the environment wins over `.env`, whichever way each names it
                continue
            if values.get(name) is not None:
                raise SettingsError(
                    f"PROMO_{name.upper()} and PROMO_{name.upper()}_FILE are both set: keep one"
                )
            values[name] = _read_secret(f"PROMO_{name.upper()}_FILE", Path(file))
        return values


def _read_secret(setting: str, file: Path) -> str:
    """What the file holds but for the line's end."""
    try:
        secret = file.expanduser().read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise SettingsError(f"{setting}: {file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"{setting}: {file} is no text") from None
    if not secret:
        raise SettingsError(f"{setting}: {file} is empty")
    return secret


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="PROMO_",
        env_file=(PROJECT_ROOT / ".env", ".env"),
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    home: AbsolutePath = PROJECT_ROOT / ".promo"
    kafka_bootstrap_servers: str | None = None
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_password_file: AbsolutePath | None = None
    kafka_ca_file: AbsolutePath | None = None
    topic_in: TopicName = "promo_campaigns"
    topic_out: TopicName = "promo_notifications"
    topic_dead_letters: TopicName = "promo_dead_letters"
    postgres_url: SecretStr | None = None
    postgres_url_file: AbsolutePath | None = None
    feedback_postgres_url: SecretStr | None = None
    feedback_postgres_url_file: AbsolutePath | None = None
    dagster_postgres_url: SecretStr | None = None
    dagster_postgres_url_file: AbsolutePath | None = None
    checkpoint_dir: FolderOrUri | None = None
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 90
    lake_root: FolderOrUri | None = None
    lake_owner: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")] = "dosperados"
    lake_depth: Annotated[int, Field(ge=1, le=LONGEST_DEPTH)] = 28
    lake_start: Annotated[date, BeforeValidator(_iso_date)] = date(2022, 1, 1)
    spark_master: Annotated[
        str,
        Field(
            pattern=r"^(local(\[(\*|[1-9][0-9]*)(, *[1-9][0-9]*)?\])?|spark://.+|yarn|k8s://.+)$"
        ),
    ] = "local[*]"
    spark_archive: str | None = None
    spark_python: str | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings,
        env_settings,
        dotenv_settings,
        file_secret_settings,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return tuple(
            _WithSecretFiles(settings_cls, source)
            for source in (init_settings, env_settings, dotenv_settings)
        )

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        for address in (value or "host:1").split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError("one or more HOST:PORT, separated by commas, are needed")
        return value

    @field_validator("postgres_url", "feedback_postgres_url", "dagster_postgres_url")
    @classmethod
    def _postgres_url(cls, value: SecretStr | None, about: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        check_url(value.get_secret_value(), for_spark=about.field_name != "dagster_postgres_url")
        return value

    @field_validator("kafka_ca_file")
    @classmethod
    def _kafka_ca_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            read_certificates(value)
        return value

    @field_validator("spark_archive")
    @classmethod
    def _archive(cls, value: str | None) -> str | None:
        if value is None or "://" in value:
            return value
        if not value.endswith((".tar.gz", ".tgz", ".tar", ".zip", ".jar")):
            raise ValueError("Spark unpacks .tar.gz, .tgz, .tar, .zip and .jar only")
        if not (path := _absolute(Path(value))).is_file():
            raise ValueError("no such file; `promo-assets spark-archive` makes it")
        return str(path)

    @model_validator(mode="after")
    def _kafka_login_is_whole(self) -> "Settings":
        protocol = self.kafka_security_protocol
        login = {
            "KAFKA_SASL_MECHANISM": self.kafka_sasl_mechanism,
            "KAFKA_USERNAME": self.kafka_username,
            "KAFKA_PASSWORD": self.kafka_password,
        }
        for name, value in login.items():
            if protocol.startswith("SASL") and value is None:
                raise ValueError(
                    f"PROMO_{name}: needed with PROMO_KAFKA_SECURITY_PROTOCOL={protocol}"
                )
            if not protocol.startswith("SASL") and value is not None:
                raise ValueError(
                    f"PROMO_{name}: PROMO_KAFKA_SECURITY_PROTOCOL={protocol} has no login; SASL_SSL has one"
                )
        if len({self.topic_in, self.topic_out, self.topic_dead_letters}) < 3:
            raise ValueError(
                "PROMO_TOPIC_IN, PROMO_TOPIC_OUT, PROMO_TOPIC_DEAD_LETTERS: three different topics are needed"
            )
        return self

    @property
    def local_kafka(self) -> bool:
        """No outside broker is named: Kafka is the local one."""
        return self.kafka_bootstrap_servers is None

    @property
    def local_postgres(self) -> bool:
        """No outside database is named: Postgres is the local one."""
        return self.postgres_url is None

    @cached_property
    def _local_services(self) -> dict:
        """What `promo-assets up` noted of the local services: ports and the owner's URL."""
        try:
            return json.loads((self.home / "local" / "services.json").read_text())
        except FileNotFoundError:
            return {}

    @property
    def local_spark(self) -> bool:
        """Spark's executors are threads of this process."""
        return self.spark_master.startswith("local")

    @property
    def bootstrap_servers(self) -> str:
        return (
            self.kafka_bootstrap_servers
            or f"127.0.0.1:{self._local_services.get('kafka_port', DEFAULT_KAFKA_PORT)}"
        )

    @property
    def database_url(self) -> str:
        """libpq URL of the database, with its password: never log it."""
        if self.postgres_url:
            return self.postgres_url.get_secret_value()
        default = f"postgresql://promo@127.0.0.1:{DEFAULT_POSTGRES_PORT}/promo"
        return self._local_services.get("postgres_url", default)

    @property
    def feedback_url(self) -> str:
        """libpq URL by which the lake reads `subscribers_feedback`, with its password: never log it."""
        return (
            self.feedback_postgres_url.get_secret_value()
            if self.feedback_postgres_url
            else self.database_url
        )

    @property
    def local_dagster(self) -> bool:
        """Dagster's database is the local Postgres's."""
        return self.dagster_postgres_url is None and self.local_postgres

    @property
    def dagster_database_url(self) -> str:
        """libpq URL of the database of Dagster's runs, events and schedules, with its password: never log it."""
        if self.dagster_postgres_url:
            return self.dagster_postgres_url.get_secret_value()
        return with_database(self.database_url, DAGSTER_DATABASE)

    @property
    def checkpoint_root(self) -> str:
        """Folder or Hadoop URI below which each input topic has its own checkpoint."""
        return self.checkpoint_dir or str(self.home / "checkpoint")

    @property
    def lake_uri(self) -> str:
        return self.lake_root or str(self.home / "lake")

    @cached_property
    def kafka_ca_pem(self) -> str:
        """The authorities' certificates themselves: executors on other machines do not have the file."""
        return read_certificates(self.kafka_ca_file) if self.kafka_ca_file else ""

    def reloaded(self) -> "Settings":
        """The same settings, with the ports that the local services have now."""
        return Settings(**dict(self))

    def kafka_client(self) -> dict[str, str]:
        """What every Kafka client (librdkafka's names) needs to connect, wherever it runs; holds the password: never log it."""
        conf = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.kafka_security_protocol,
        }
        if self.kafka_ca_file:
            conf["ssl.ca.pem"] = self.kafka_ca_pem
        if self.kafka_password:
            conf |= {
                "sasl.mechanism": self.kafka_sasl_mechanism or "",
                "sasl.username": self.kafka_username or "",
                "sasl.password": self.kafka_password.get_secret_value(),
            }
        return conf


def load_settings() -> Settings:
    """Settings from the environment and `.env`; raises `SettingsError` with one line that names the wrong setting."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "".join(f"PROMO_{part}".upper() + ": " for part in first["loc"][:1])
        raise SettingsError(name + first["msg"].removeprefix("Value error, ")) from None

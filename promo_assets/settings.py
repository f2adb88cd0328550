"""Defines the settings and is the only place that reads the environment.

Each setting is an environment variable (or a line of `.env`) named `PROMO_` plus the field's name
in upper case. `secret_files.py` lets a file hold a secret, `setting_types.py` says which values are
valid. If no Kafka or Postgres is set, the settings name the local ones of `promo-assets up`, at the
ports that `up` chose and wrote down under `PROMO_HOME`.
"""

import json
from datetime import date
from functools import cached_property
from pathlib import Path

from pydantic import SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from promo_assets.certificates import read_certificates
from promo_assets.postgres_url import check_url, with_database
from promo_assets.secret_files import SecretFilesSource, SettingsError
from promo_assets.setting_types import (
    AbsolutePath,
    BootstrapServers,
    Day,
    DayCount,
    FolderOrUri,
    LakeOwner,
    SaslMechanism,
    SecurityProtocol,
    SparkArchive,
    SparkMaster,
    TopicName,
    check_login,
    check_topics_differ,
    describe_error,
)

PROJECT_ROOT = Path(__file__).resolve().parents[1]
DEFAULT_KAFKA_PORT = 9092
DEFAULT_POSTGRES_PORT = 5432
DAGSTER_DATABASE = "dagster"


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
    kafka_bootstrap_servers: BootstrapServers | None = None
    kafka_security_protocol: SecurityProtocol = "PLAINTEXT"
    kafka_sasl_mechanism: SaslMechanism | None = None
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
    retention_days: DayCount = 90
    lake_root: FolderOrUri | None = None
    lake_owner: LakeOwner = "dosperados"
    lake_depth: DayCount = 28
    lake_start: Day = date(2022, 1, 1)
    spark_master: SparkMaster = "local[*]"
    spark_archive: SparkArchive | None = None
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
        sources = (init_settings, env_settings, dotenv_settings)
        return tuple(SecretFilesSource(settings_cls, source) for source in sources)

    @field_validator("postgres_url", "feedback_postgres_url", "dagster_postgres_url")
    @classmethod
    def _check_postgres_url(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is not None:
            check_url(url.get_secret_value(), for_spark=info.field_name != "dagster_postgres_url")
        return url

    @field_validator("kafka_ca_file")
    @classmethod
    def _check_kafka_ca_file(cls, file: Path | None) -> Path | None:
        if file is not None:
            read_certificates(file)
        return file

    @model_validator(mode="after")
    def _check_combinations(self) -> "Settings":
        login = {
            "PROMO_KAFKA_SASL_MECHANISM": self.kafka_sasl_mechanism,
            "PROMO_KAFKA_USERNAME": self.kafka_username,
            "PROMO_KAFKA_PASSWORD": self.kafka_password,
        }
        check_login(self.kafka_security_protocol, login)
        check_topics_differ(self.topic_in, self.topic_out, self.topic_dead_letters)
        return self

    @property
    def local_kafka(self) -> bool:
        """True if no broker is set and Kafka is the local one."""
        return self.kafka_bootstrap_servers is None

    @property
    def local_postgres(self) -> bool:
        """True if no database is set and Postgres is the local one."""
        return self.postgres_url is None

    @cached_property
    def _local_services(self) -> dict:
        """What `promo-assets up` wrote about the local services: ports and the owner's URL."""
        try:
            return json.loads((self.home / "local" / "services.json").read_text())
        except FileNotFoundError:
            return {}

    @property
    def local_spark(self) -> bool:
        """True if Spark's executors are threads of this process."""
        return self.spark_master.startswith("local")

    @property
    def bootstrap_servers(self) -> str:
        if self.kafka_bootstrap_servers:
            return self.kafka_bootstrap_servers
        return f"127.0.0.1:{self._local_services.get('kafka_port', DEFAULT_KAFKA_PORT)}"

    @property
    def database_url(self) -> str:
        """The libpq URL of the stream's database. It holds the password: never log it."""
        if self.postgres_url:
            return self.postgres_url.get_secret_value()
        default = f"postgresql://promo@127.0.0.1:{DEFAULT_POSTGRES_PORT}/promo"
        return self._local_services.get("postgres_url", default)

    @property
    def feedback_url(self) -> str:
        """The lake's libpq URL for `subscribers_feedback`. It holds the password: never log it."""
        if self.feedback_postgres_url:
            return self.feedback_postgres_url.get_secret_value()
        return self.database_url

    @property
    def local_dagster(self) -> bool:
        """True if Dagster's database is on the local Postgres."""
        return self.dagster_postgres_url is None and self.local_postgres

    @property
    def dagster_database_url(self) -> str:
        """The libpq URL of Dagster's own database. It holds the password: never log it."""
        if self.dagster_postgres_url:
            return self.dagster_postgres_url.get_secret_value()
        return with_database(self.database_url, DAGSTER_DATABASE)

    @property
    def checkpoint_root(self) -> str:
        """The folder or Hadoop URI that holds one checkpoint folder for each input topic."""
        return self.checkpoint_dir or str(self.home / "checkpoint")

    @property
    def lake_uri(self) -> str:
        return self.lake_root or str(self.home / "lake")

    @cached_property
    def kafka_ca_pem(self) -> str:
        """The certificates in PROMO_KAFKA_CA_FILE; executors on other machines lack the file."""
        return read_certificates(self.kafka_ca_file) if self.kafka_ca_file else ""

    def reloaded(self) -> "Settings":
        """Return the same settings with the local services' current ports."""
        return Settings(**dict(self))

    def kafka_client(self) -> dict[str, str]:
        """Return librdkafka's properties for any machine. They hold the password: never log."""
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
    """Return the settings of the environment and `.env`.

    Raises `SettingsError` with one line that names the wrong setting.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(describe_error(error)) from None

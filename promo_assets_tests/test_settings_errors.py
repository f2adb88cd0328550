"""A wrong setting is reported in one line that names it and shows no secret."""

from collections.abc import Sequence

import pytest

from promo_assets.settings import SettingsError, load_settings
from promo_assets_tests.support.settings_folder import folder_without_env_file

__all__ = ["folder_without_env_file"]
TOPIC = "1 to 249 of the characters a-z A-Z 0-9 . _ -"
URL = "postgresql://user:password@host:5432/database"
ADDRESS = "HOST:PORT"
FOLDER = "a folder or a URI such as hdfs://namenode:8020/folder"
DAY = "a day such as 2022-01-31"
DAYS = "from 1 to 36500"
MASTER = "local[*]"
NOT_PEM = "no valid PEM certificate"
PARAMETERS = "sslmode, sslrootcert, channel_binding, target_session_attrs, options, connect_timeout"
UNKNOWN_PARAMETERS = {
    "passfile": "/x",
    "sslcert": "/x",
    "sslkey": "/x",
    "sslcrl": "/x",
    "service": "/x",
    "krbsrvname": "/x",
    "hostaddr": "10.0.0.1",
    "keepalives_idle": "1",
    "application_name": "x",
}
# Each parameter of a Postgres URL that is refused, and what the message names.
REFUSED_PARAMETERS = {
    **{f"{name}={value}": (name, PARAMETERS) for name, value in UNKNOWN_PARAMETERS.items()},
    "sslrootcert=system": ("sslrootcert", "system", "a file"),
    "sslrootcert=/nowhere/ca.pem": ("sslrootcert", "/nowhere/ca.pem", "does not exist"),
    f"sslrootcert={__file__}": ("sslrootcert", __file__, NOT_PEM),
    "target_session_attrs=standby": ("target_session_attrs", "standby", "read-write"),
}
WRONG_VALUES = [
    ("PROMO_KAFKA_BOOTSTRAP_SERVERS", "localhost", [ADDRESS, "'localhost'"]),
    ("PROMO_KAFKA_BOOTSTRAP_SERVERS", "localhost:x", [ADDRESS, "'localhost:x'"]),
    ("PROMO_KAFKA_BOOTSTRAP_SERVERS", "localhost:65536", [ADDRESS, "'localhost:65536'"]),
    ("PROMO_KAFKA_BOOTSTRAP_SERVERS", "a:1,,b:2", [ADDRESS, "'a:1,,b:2'"]),
    ("PROMO_KAFKA_BOOTSTRAP_SERVERS", "SASL_SSL://u:secret@host", [ADDRESS]),
    (
        "PROMO_KAFKA_SECURITY_PROTOCOL",
        "TLS",
        ["PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", "'TLS'"],
    ),
    (
        "PROMO_KAFKA_SASL_MECHANISM",
        "GSSAPI",
        ["PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", "'GSSAPI'"],
    ),
    ("PROMO_KAFKA_CA_FILE", "/nowhere/ca.pem", ["/nowhere/ca.pem", "does not exist"]),
    ("PROMO_KAFKA_CA_FILE", __file__, [__file__, NOT_PEM]),
    ("PROMO_KAFKA_CA_FILE", "/", ["cannot be read", "Is a directory"]),
    ("PROMO_TOPIC_IN", "a topic", [TOPIC, "'a topic'"]),
    ("PROMO_TOPIC_OUT", "t" * 250, [TOPIC]),
    ("PROMO_TOPIC_DEAD_LETTERS", "..", [TOPIC, "'..'"]),
    ("PROMO_POSTGRES_URL", "localhost:5432", [URL]),
    ("PROMO_POSTGRES_URL", "mysql://u:secret@h/d", [URL]),
    ("PROMO_POSTGRES_URL", "postgresql://u:secret@host:5432", [URL]),
    ("PROMO_POSTGRES_URL", "postgresql://u:secret@host:port/d", [URL]),
    ("PROMO_POSTGRES_URL", "postgresql://u:secret@host:65536/d", [URL]),
    ("PROMO_DAGSTER_POSTGRES_URL", "postgresql://u:secret@host:5432", [URL]),
    ("PROMO_POSTGRES_URL", "postgresql://u:secret@/d?host=/tmp", ["TCP", "Unix socket"]),
    *(
        ("PROMO_POSTGRES_URL", f"postgresql://u:secret@h/d?{parameter}", named)
        for parameter, named in REFUSED_PARAMETERS.items()
    ),
    ("PROMO_LAKE_ROOT", "hdfs:lake", [FOLDER, "'hdfs:lake'"]),
    ("PROMO_CHECKPOINT_DIR", "s3a:", [FOLDER, "'s3a:'"]),
    ("PROMO_LAKE_OWNER", "../etc", ["letters, digits", "'../etc'"]),
    ("PROMO_LAKE_DEPTH", "0", [DAYS, "'0'"]),
    ("PROMO_LAKE_DEPTH", "many", [DAYS, "'many'"]),
    ("PROMO_LAKE_DEPTH", "36501", [DAYS, "'36501'"]),
    ("PROMO_RETENTION_DAYS", "0", [DAYS, "'0'"]),
    ("PROMO_LAKE_START", "yesterday", [DAY, "'yesterday'"]),
    ("PROMO_LAKE_START", "0", [DAY, "'0'"]),
    ("PROMO_LAKE_START", "2022-01-01T00:00", [DAY, "'2022-01-01T00:00'"]),
    ("PROMO_LAKE_START", "2022-02-30", [DAY, "'2022-02-30'"]),
    ("PROMO_SPARK_MASTER", "localhost", [MASTER, "'localhost'"]),
    ("PROMO_SPARK_MASTER", "local[abc]", [MASTER, "'local[abc]'"]),
    ("PROMO_SPARK_MASTER", "local[0]", [MASTER, "'local[0]'"]),
    ("PROMO_SPARK_MASTER", "local[]", [MASTER, "'local[]'"]),
    ("PROMO_SPARK_MASTER", "local[2", [MASTER, "'local[2'"]),
    ("PROMO_SPARK_MASTER", "local[2,0]", [MASTER, "'local[2,0]'"]),
    (
        "PROMO_SPARK_ARCHIVE",
        "/nowhere/executors.tar.gz",
        ["/nowhere/executors.tar.gz", "does not exist", "`promo-assets spark-archive`"],
    ),
    ("PROMO_SPARK_ARCHIVE", "/bin/sh", [".tar.gz, .tgz, .tar, .zip or .jar", "'/bin/sh'"]),
]


@pytest.mark.parametrize(("name", "value", "named"), WRONG_VALUES)
def test_a_wrong_value_is_reported_in_one_line_that_names_the_setting_and_shows_no_secret(
    name: str, value: str, named: Sequence[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    assert "secret" not in message
    assert [part for part in named if part not in message] == []


@pytest.mark.parametrize(
    "missing", ["PROMO_KAFKA_SASL_MECHANISM", "PROMO_KAFKA_USERNAME", "PROMO_KAFKA_PASSWORD"]
)
def test_an_incomplete_login_is_refused(missing: str, monkeypatch: pytest.MonkeyPatch):
    login = {
        "PROMO_KAFKA_SASL_MECHANISM": "PLAIN",
        "PROMO_KAFKA_USERNAME": "u",
        "PROMO_KAFKA_PASSWORD": "p",
    }
    for name, value in {"PROMO_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", **login, missing: ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        SettingsError, match=f"^{missing}: .*PROMO_KAFKA_SECURITY_PROTOCOL=SASL_SSL requires"
    ):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROMO_KAFKA_SASL_MECHANISM", "PLAIN"),
        ("PROMO_KAFKA_USERNAME", "u"),
        ("PROMO_KAFKA_PASSWORD", "secret"),
    ],
)
def test_a_login_that_the_protocol_would_not_use_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert "PROMO_KAFKA_SECURITY_PROTOCOL=PLAINTEXT has no login" in message
    assert "SASL_SSL" in message
    assert "secret" not in message


def test_two_topics_with_the_same_name_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PROMO_TOPIC_OUT", "promo_campaigns")
    with pytest.raises(SettingsError, match=r"^PROMO_TOPIC_IN, PROMO_TOPIC_OUT, .*different"):
        load_settings()

"""A wrong setting is one line that names it and shows no secret; what is unset means the local services."""

import json
from pathlib import Path

import pytest

from promo_assets.settings import SettingsError, load_settings
from promo_assets_tests.support.authority import Authority

TOPIC = "a topic's name has 1 to 249 of the characters a-z A-Z 0-9 . _ -"
URL = "a URL like postgresql://user:password@host:5432/database is needed"
ADDRESS = "one or more HOST:PORT, separated by commas, are needed"
PLACE = "a folder, or a URI like hdfs://namenode:8020/folder, is needed"
DAY = "a day like 2022-01-31 is needed"
NOT_OBEYED = (
    "the parameter {} cannot be used, as Spark's reader would not obey it; these can be: "
    "sslmode, sslrootcert, channel_binding, target_session_attrs, options, connect_timeout"
)
REFUSED = {
    **{
        f"{name}=/x": NOT_OBEYED.format(name)
        for name in ("passfile", "sslcert", "sslkey", "sslcrl", "service", "krbsrvname")
    },
    "hostaddr=10.0.0.1": NOT_OBEYED.format("hostaddr"),
    "keepalives_idle=1": NOT_OBEYED.format("keepalives_idle"),
    "application_name=x": NOT_OBEYED.format("application_name"),
    "sslrootcert=system": "sslrootcert=system cannot be used, as Spark's reader would not obey it: name the file with the authorities",
    "sslrootcert=/nowhere/ca.pem": "sslrootcert: no such file",
    f"sslrootcert={__file__}": "sslrootcert: the file holds no PEM certificate",
    "target_session_attrs=standby": "target_session_attrs=standby may lead to a server that takes no writes",
}


@pytest.fixture(autouse=True)
def a_folder_without_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "promo_assets.settings.Settings.model_config", {**_config(), "env_file": ".env"}
    )


def _config() -> dict:
    from promo_assets.settings import Settings

    return dict(Settings.model_config)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("PROMO_KAFKA_BOOTSTRAP_SERVERS", "localhost", ADDRESS),
        ("PROMO_KAFKA_BOOTSTRAP_SERVERS", "localhost:x", ADDRESS),
        ("PROMO_KAFKA_BOOTSTRAP_SERVERS", "localhost:65536", ADDRESS),
        ("PROMO_KAFKA_BOOTSTRAP_SERVERS", "a:1,,b:2", ADDRESS),
        (
            "PROMO_KAFKA_SECURITY_PROTOCOL",
            "TLS",
            "Input should be 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'",
        ),
        (
            "PROMO_KAFKA_SASL_MECHANISM",
            "GSSAPI",
            "Input should be 'PLAIN', 'SCRAM-SHA-256' or 'SCRAM-SHA-512'",
        ),
        ("PROMO_KAFKA_CA_FILE", "/nowhere/ca.pem", "no such file"),
        ("PROMO_KAFKA_CA_FILE", __file__, "the file holds no PEM certificate"),
        ("PROMO_KAFKA_CA_FILE", "/", "the file cannot be read: Is a directory"),
        ("PROMO_TOPIC_IN", "a topic", TOPIC),
        ("PROMO_TOPIC_OUT", "t" * 250, TOPIC),
        ("PROMO_TOPIC_DEAD_LETTERS", "..", TOPIC),
        ("PROMO_POSTGRES_URL", "localhost:5432", URL),
        ("PROMO_POSTGRES_URL", "mysql://u:secret@h/d", URL),
        ("PROMO_POSTGRES_URL", "postgresql://u:secret@host:5432", URL),
        ("PROMO_POSTGRES_URL", "postgresql://u:secret@host:port/d", URL),
        ("PROMO_POSTGRES_URL", "postgresql://u:secret@host:65536/d", URL),
        ("PROMO_DAGSTER_POSTGRES_URL", "postgresql://u:secret@host:5432", URL),
        *(
            ("PROMO_POSTGRES_URL", f"postgresql://u:secret@h/d?{parameter}", problem)
            for parameter, problem in REFUSED.items()
        ),
        (
            "PROMO_POSTGRES_URL",
            "postgresql://u:secret@/d?host=/tmp",
            "Spark's reader needs a host that listens on TCP, not a socket's folder",
        ),
        ("PROMO_LAKE_ROOT", "hdfs:lake", PLACE),
        ("PROMO_CHECKPOINT_DIR", "s3a:", PLACE),
        ("PROMO_LAKE_OWNER", "../etc", None),
        ("PROMO_LAKE_DEPTH", "0", "Input should be greater than or equal to 1"),
        ("PROMO_LAKE_DEPTH", "many", None),
        ("PROMO_LAKE_DEPTH", "36501", "Input should be less than or equal to 36500"),
        ("PROMO_LAKE_START", "yesterday", DAY),
        ("PROMO_LAKE_START", "0", DAY),
        ("PROMO_LAKE_START", "2022-01-01T00:00", DAY),
        ("PROMO_LAKE_START", "2022-02-30", None),
        *(
            ("PROMO_SPARK_MASTER", master, None)
            for master in (
                "localhost",
                "local[abc]",
                "local[0]",
                "local[]",
                "local[2",
                "local[2,0]",
            )
        ),
        (
            "PROMO_SPARK_ARCHIVE",
            "/nowhere/executors.tar.gz",
            "no such file; `promo-assets spark-archive` makes it",
        ),
        ("PROMO_SPARK_ARCHIVE", "/bin/sh", "Spark unpacks .tar.gz, .tgz, .tar, .zip and .jar only"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(
    name: str, value: str, problem: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    told = str(caught.value)
    assert told.startswith(f"{name}: ")
    assert "\n" not in told
    assert "secret" not in told
    assert problem is None or told == f"{name}: {problem}"


@pytest.mark.parametrize(
    "missing", ["PROMO_KAFKA_SASL_MECHANISM", "PROMO_KAFKA_USERNAME", "PROMO_KAFKA_PASSWORD"]
)
def test_a_login_must_be_whole(missing: str, monkeypatch: pytest.MonkeyPatch):
    login = {
        "PROMO_KAFKA_SASL_MECHANISM": "PLAIN",
        "PROMO_KAFKA_USERNAME": "u",
        "PROMO_KAFKA_PASSWORD": "p",
    }
    for name, value in {"PROMO_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", **login, missing: ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        SettingsError, match=f"^{missing}: needed with PROMO_KAFKA_SECURITY_PROTOCOL=SASL_SSL$"
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
    with pytest.raises(
        SettingsError,
        match=f"^{name}: PROMO_KAFKA_SECURITY_PROTOCOL=PLAINTEXT has no login; SASL_SSL has one$",
    ):
        load_settings()


@pytest.mark.parametrize("name", ["PROMO_LAKE_ROOT", "PROMO_CHECKPOINT_DIR"])
@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("lake", "{here}/lake"),
        ("~/lake/", "{home}/lake"),
        ("/a/b", "/a/b"),
        ("hdfs://nn:8020/x/", "hdfs://nn:8020/x/"),
        ("file:/a", "file:/a"),
    ],
)
def test_a_place_is_a_uri_or_a_folder_which_is_meant_from_here(
    name: str, value: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(name, value)
    settings = load_settings()
    place = settings.lake_uri if name == "PROMO_LAKE_ROOT" else settings.checkpoint_root
    assert place == meant.format(here=tmp_path, home=Path.home())


@pytest.mark.parametrize(
    "master",
    [
        "local",
        "local[*]",
        "local[2]",
        "local[12, 3]",
        "spark://a:7077,b:7077",
        "yarn",
        "k8s://https://a",
    ],
)
def test_masters_that_spark_knows_are_taken(master: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PROMO_SPARK_MASTER", master)
    assert load_settings().spark_master == master


def test_of_the_ca_file_only_the_certificates_are_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    certificates = [Authority(tmp_path, name).file.read_text() for name in ("one", "two")]
    file = tmp_path / "both.pem"
    file.write_text(
        "# ours\n"
        + "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n".join(certificates)
    )
    monkeypatch.setenv("PROMO_KAFKA_CA_FILE", str(file))
    assert load_settings().kafka_client()["ssl.ca.pem"] == "".join(certificates)


def test_two_topics_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PROMO_TOPIC_OUT", "promo_campaigns")
    with pytest.raises(SettingsError, match="three different topics are needed"):
        load_settings()


def test_the_env_file_is_read_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / ".env").write_text(
        "PROMO_TOPIC_IN=from_file\nPROMO_TOPIC_OUT=from_file_too\nPROMO_LAKE_DEPTH=\n"
    )
    monkeypatch.setenv("PROMO_TOPIC_OUT", "from_environment")
    settings = load_settings()
    assert (settings.topic_in, settings.topic_out, settings.lake_depth) == (
        "from_file",
        "from_environment",
        28,
    )


def test_unset_endpoints_are_those_that_up_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PROMO_HOME", str(tmp_path))
    before = load_settings()
    assert (before.bootstrap_servers, before.database_url) == (
        "127.0.0.1:9092",
        "postgresql://promo@127.0.0.1:5432/promo",
    )
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "services.json").write_text(
        json.dumps({"kafka_port": 1234, "postgres_url": "postgresql://promo:x@127.0.0.1:1/promo"})
    )
    after = load_settings()
    assert (after.bootstrap_servers, after.database_url) == (
        "127.0.0.1:1234",
        "postgresql://promo:x@127.0.0.1:1/promo",
    )


def test_named_endpoints_win_over_the_local_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "services.json").write_text(
        '{"kafka_port": 1234, "postgres_url": "postgresql://promo:x@127.0.0.1:1/promo"}'
    )
    for name, value in {
        "HOME": str(tmp_path),
        "KAFKA_BOOTSTRAP_SERVERS": "k:9",
        "POSTGRES_URL": "postgresql://u:p@h/d",
    }.items():
        monkeypatch.setenv("PROMO_" + name, value)
    settings = load_settings()
    assert (settings.bootstrap_servers, settings.database_url) == ("k:9", "postgresql://u:p@h/d")


SECRETS = {
    "PROMO_KAFKA_PASSWORD": "hidden",
    "PROMO_POSTGRES_URL": "postgresql://u:hidden@h/d",
    "PROMO_DAGSTER_POSTGRES_URL": "postgresql://u:hidden@h/dagster",
}


@pytest.fixture
def login_but_for_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SECURITY_PROTOCOL": "SASL_SSL",
        "SASL_MECHANISM": "PLAIN",
        "USERNAME": "u",
    }.items():
        monkeypatch.setenv(f"PROMO_KAFKA_{name}", value)


def shown(name: str) -> str | None:
    value = getattr(load_settings(), name.removeprefix("PROMO_").lower())
    return value and value.get_secret_value()


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["no end", "newline", "CRLF"])
@pytest.mark.parametrize(("name", "secret"), SECRETS.items(), ids=SECRETS)
def test_a_secret_is_what_its_file_holds_but_for_the_line_s_end(
    name: str,
    secret: str,
    end: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
):
    if name == "PROMO_KAFKA_PASSWORD":
        request.getfixturevalue("login_but_for_its_password")
    (tmp_path / "secret").write_bytes(f"{secret}{end}".encode())
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    assert shown(name) == secret
    assert "hidden" not in repr(load_settings())


@pytest.mark.usefixtures("login_but_for_its_password")
def test_only_the_line_s_end_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "secret").write_text(" p w \n\n")
    monkeypatch.setenv("PROMO_KAFKA_PASSWORD_FILE", "secret")  # from here
    assert shown("PROMO_KAFKA_PASSWORD") == " p w \n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        ("folder", "cannot be read: Is a directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "is no text"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_s_file_that_cannot_be_used_is_named(
    name: str,
    content: bytes | str | None,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    file = tmp_path / "secret"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        file.mkdir()
    monkeypatch.setenv(f"{name}_FILE", str(file))
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == f"{name}_FILE: {file} {problem}"


@pytest.mark.parametrize(("name", "secret"), SECRETS.items(), ids=SECRETS)
def test_a_secret_named_twice_is_refused_and_not_shown(
    name: str, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "secret").write_text(secret)
    monkeypatch.setenv(name, secret)
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == f"{name} and {name}_FILE are both set: keep one"


@pytest.mark.parametrize(
    ("in_env_file", "in_environment"), [("", "_FILE"), ("_FILE", ""), ("_FILE", "_FILE")], ids=str
)
def test_the_environment_wins_whichever_way_it_names_a_secret(
    in_env_file: str, in_environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for which, where in (("theirs", in_env_file), ("ours", in_environment)):
        (tmp_path / which).write_text(f"postgresql://{which}@h/d")
        value = str(tmp_path / which) if where else f"postgresql://{which}@h/d"
        if which == "theirs":
            (tmp_path / ".env").write_text(f"PROMO_POSTGRES_URL{where}={value}\n")
        else:
            monkeypatch.setenv(f"PROMO_POSTGRES_URL{where}", value)
    assert shown("PROMO_POSTGRES_URL") == "postgresql://ours@h/d"


@pytest.mark.parametrize(
    ("settings", "url", "local"),
    [
        ({}, "postgresql://promo@127.0.0.1:5432/dagster", True),
        (
            {"POSTGRES_URL": "postgresql://u:p@h:1/d?sslmode=require"},
            "postgresql://u:p@h:1/dagster?sslmode=require",
            False,
        ),
        ({"DAGSTER_POSTGRES_URL": "postgresql://u:p@g/e"}, "postgresql://u:p@g/e", False),
        (
            {
                "POSTGRES_URL": "postgresql://u:p@h/d",
                "DAGSTER_POSTGRES_URL": "postgresql://u:p@g/e",
            },
            "postgresql://u:p@g/e",
            False,
        ),
        (
            {"POSTGRES_URL": "postgresql://u:p#1?[@h/d"},
            "postgresql://u:p%231%3F%5B@h:5432/dagster",
            False,
        ),
    ],
    ids=[
        "all is local",
        "an outside server",
        "only Dagster's is outside",
        "both are outside",
        "a password with #, ? and [",
    ],
)
def test_dagster_s_database_is_the_named_one_else_beside_the_stream_s(
    settings: dict[str, str], url: str, local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {"HOME": str(tmp_path), **settings}.items():
        monkeypatch.setenv(f"PROMO_{name}", value)
    loaded = load_settings()
    assert (loaded.dagster_database_url, loaded.local_dagster) == (url, local)


@pytest.mark.usefixtures("login_but_for_its_password")
def test_secrets_do_not_show_in_a_settings_text(monkeypatch: pytest.MonkeyPatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    assert "hidden" not in repr(load_settings())


def test_a_relative_home_is_meant_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PROMO_HOME", "somewhere")
    assert load_settings().home == tmp_path / "somewhere"

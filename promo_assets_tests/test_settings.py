"""Settings come from the environment and `.env`; endpoints that are not set are the local ones."""

import json
from pathlib import Path

import pytest

from promo_assets.settings import load_settings
from promo_assets_tests.support.authority import Authority
from promo_assets_tests.support.settings_folder import folder_without_env_file

__all__ = ["folder_without_env_file"]


@pytest.mark.parametrize("name", ["PROMO_LAKE_ROOT", "PROMO_CHECKPOINT_DIR"])
@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("lake", "{here}/lake"),
        ("~/lake/", "{home}/lake"),
        ("/a/b", "/a/b"),
        ("hdfs://nn:8020/x/", "hdfs://nn:8020/x/"),
        ("file:/a", "file:/a"),
    ],
)
def test_a_folder_is_resolved_from_the_working_folder_and_a_uri_is_kept(
    name: str, value: str, resolved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(name, value)
    settings = load_settings()
    folder = settings.lake_uri if name == "PROMO_LAKE_ROOT" else settings.checkpoint_root
    assert folder == resolved.format(here=tmp_path, home=Path.home())


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
def test_every_form_of_a_spark_master_is_accepted(master: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PROMO_SPARK_MASTER", master)
    assert load_settings().spark_master == master


def test_only_the_certificates_of_the_ca_file_reach_the_clients(
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


def test_the_env_file_is_read_and_the_environment_overrides_it(
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


def test_endpoints_that_are_not_set_are_those_that_up_wrote_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
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


def test_endpoints_that_are_set_win_over_the_local_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
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
        "both are local",
        "the stream's is set",
        "only Dagster's is set",
        "both are set",
        "a password with #, ? and [",
    ],
)
def test_dagsters_database_is_the_one_set_or_else_on_the_streams_server(
    settings: dict[str, str], url: str, local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {"HOME": str(tmp_path), **settings}.items():
        monkeypatch.setenv(f"PROMO_{name}", value)
    loaded = load_settings()
    assert (loaded.dagster_database_url, loaded.local_dagster) == (url, local)


def test_a_relative_home_is_resolved_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PROMO_HOME", "somewhere")
    assert load_settings().home == tmp_path / "somewhere"

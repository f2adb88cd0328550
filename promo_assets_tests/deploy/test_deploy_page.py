"""docker-compose merges the override of docs/deploy.md; the page's commands for the owner work."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml
from psycopg.errors import InsufficientPrivilege

from promo_assets.settings import PROJECT_ROOT, Settings
from promo_assets_tests.support.compose import (
    COMPOSE_FILE,
    POSTGRES_PROGRAMS,
    SERVICES,
    merge_files,
    needs_compose,
)
from promo_assets_tests.support.pages import install_fake_docker, read_blocks
from promo_assets_tests.support.world import World, world

__all__ = ["world"]
SPARK_DEFAULTS = PROJECT_ROOT / "deploy" / "spark" / "spark-defaults.conf"
LAKE_PASSWORD = "l4ke#?"


@needs_compose
def test_the_override_of_the_page_selects_another_kafka_and_another_hdfs(tmp_path: Path) -> None:
    override = tmp_path / "docker-compose.override.yml"
    (block,) = read_blocks("deploy.md", "Your own Kafka and HDFS", "yaml")
    override.write_text(block)
    merged = merge_files(COMPOSE_FILE, override)
    assert set(merged["services"]) == set(SERVICES)
    kafka = {
        "PROMO_KAFKA_BOOTSTRAP_SERVERS": "kafka-1.example:9093,kafka-2.example:9093",
        "PROMO_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "PROMO_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "PROMO_KAFKA_CA_FILE": "/run/secrets/kafka_ca",
    }
    assert list_changes("code-location", merged) == kafka | {
        "PROMO_KAFKA_USERNAME": "promo_stream",
        "PROMO_KAFKA_PASSWORD_FILE": "/run/secrets/kafka_password",
        "PROMO_LAKE_ROOT": "hdfs://namenode.example:8020",
        "PROMO_CHECKPOINT_DIR": "hdfs://namenode.example:8020/user/promo/checkpoint",
    }
    assert list_changes("prepare", merged) == kafka | {
        "PROMO_KAFKA_USERNAME": "promo_admin",
        "PROMO_KAFKA_PASSWORD_FILE": "/run/secrets/kafka_admin_password",
    }
    assert {name for service in SERVICES for name in list_changes(service, merged)} <= {
        f"PROMO_{name.upper()}" for name in Settings.model_fields
    }
    for service, added in (
        ("code-location", {"kafka_password", "kafka_ca"}),
        ("prepare", {"kafka_admin_password", "kafka_ca"}),
    ):
        secrets = {each["source"] for each in merged["services"][service]["secrets"]}
        assert secrets == {*SERVICES[service]["secrets"], *added}
    for service in ("code-location", "spark-worker"):
        mounted = [str(volume).split(":") for volume in merged["services"][service]["volumes"]]
        conf = SERVICES[service]["environment"]["HADOOP_CONF_DIR"]
        assert [parts[0] for parts in mounted if parts[1:] == [conf, "ro"]] == [
            str(COMPOSE_FILE.parent / "hadoop")
        ]
    assert merged["networks"]["promo"].get("internal", False) is False
    assert not any(
        "ports" in merged["services"][service] for service in SERVICES if service != "webserver"
    )


def list_changes(service: str, merged: dict) -> dict[str, str]:
    """Return the settings of the service that the override adds or changes."""
    before = SERVICES[service].get("environment", {})
    return {
        name: value
        for name, value in merged["services"][service].get("environment", {}).items()
        if str(before.get(name)) != str(value)
    }


def test_sessions_read_the_limit_that_the_page_names_from_this_machines_file() -> None:
    assert re.search(r"^spark\.cores\.max +2$", SPARK_DEFAULTS.read_text(), re.MULTILINE)
    conf = SERVICES["code-location"]["environment"]["SPARK_CONF_DIR"]
    assert f"./deploy/spark:{conf}:ro" in SERVICES["code-location"]["volumes"]
    assert yaml.safe_load(SERVICES["spark-worker"]["command"][4]) == 3  # the page's figure


@pytest.fixture
def roles(world: World) -> Iterator[None]:
    world.execute("CREATE ROLE promo_stream LOGIN")
    try:
        yield
    finally:
        for role in ("promo_stream", "promo_lake"):
            world.execute(f"DROP OWNED BY {role}")
            world.execute(f"DROP ROLE {role}")


def test_the_pages_commands_create_a_role_with_the_password_of_its_file_and_its_rights(
    world: World, roles: None
) -> None:
    (world.home / "lake_password").write_text(LAKE_PASSWORD)
    make_role = read_blocks("deploy.md", "Upgrade")[1]
    apply = read_blocks("deploy.md", "Commands")[1]
    run_on_this_machine(world, make_role.replace("/run/secrets", str(world.home)))
    run_on_this_machine(world, apply)
    lake = {"user": "promo_lake", "password": LAKE_PASSWORD}
    with psycopg.connect(world.postgres_url, **lake) as connection:  # pyright: ignore[reportArgumentType]
        assert connection.execute(
            "SELECT count(feedback) FROM subscribers_feedback"
        ).fetchone() == (0,)
        with pytest.raises(InsufficientPrivilege):
            connection.execute("SELECT FROM promo_ledger.campaigns")
    (granted,) = world.execute(
        "SELECT has_table_privilege('promo_stream', 'promo_ledger.campaigns', 'INSERT')"
    )
    assert granted == (True,)


def run_on_this_machine(world: World, block: str) -> None:
    owner = urlsplit(world.postgres_url)
    path = [
        install_fake_docker(world.home / f"bin-{len(list(world.home.glob('bin-*')))}"),
        POSTGRES_PROGRAMS,
    ]
    path += [Path(sys.executable).parent, os.environ["PATH"]]
    container_env = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(owner.port),
        "PGPASSWORD": str(owner.password),
    }
    env = world.env | container_env | {"PATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, "ERROR" in done.stderr) == (0, False), done.stderr

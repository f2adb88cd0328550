"""docs/deploy.md: its override is merged by docker-compose, its commands for the owner are run."""

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
    FILE,
    POSTGRES_PROGRAMS,
    SERVICES,
    config,
    needs_compose,
)
from promo_assets_tests.support.pages import blocks, commands_of_containers_here
from promo_assets_tests.support.world import World, world

__all__ = ["world"]
SPARK_DEFAULTS = PROJECT_ROOT / "deploy" / "spark" / "spark-defaults.conf"
LAKE_PASSWORD = "l4ke#?"


@needs_compose
def test_the_override_of_the_page_leads_to_another_kafka_and_another_hdfs(tmp_path: Path) -> None:
    override = tmp_path / "docker-compose.override.yml"
    (block,) = blocks("deploy.md", "Your own Kafka and HDFS", "yaml")
    override.write_text(block)
    merged = config(FILE, override)
    assert set(merged["services"]) == set(SERVICES)
    kafka = {
        "PROMO_KAFKA_BOOTSTRAP_SERVERS": "kafka-1.example:9093,kafka-2.example:9093",
        "PROMO_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "PROMO_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "PROMO_KAFKA_CA_FILE": "/run/secrets/kafka_ca",
    }
    assert changed("code-location", merged) == kafka | {
        "PROMO_KAFKA_USERNAME": "promo_stream",
        "PROMO_KAFKA_PASSWORD_FILE": "/run/secrets/kafka_password",
        "PROMO_LAKE_ROOT": "hdfs://namenode.example:8020",
        "PROMO_CHECKPOINT_DIR": "hdfs://namenode.example:8020/user/promo/checkpoint",
    }
    assert changed("prepare", merged) == kafka | {
        "PROMO_KAFKA_USERNAME": "promo_admin",
        "PROMO_KAFKA_PASSWORD_FILE": "/run/secrets/kafka_admin_password",
    }
    assert {name for service in SERVICES for name in changed(service, merged)} <= {
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
            str(FILE.parent / "hadoop")
        ]
    assert merged["networks"]["promo"].get("internal", False) is False
    assert not any(
        "ports" in merged["services"][service] for service in SERVICES if service != "webserver"
    )


def changed(service: str, merged: dict) -> dict[str, str]:
    """The service's settings that the override gives it."""
    before = SERVICES[service].get("environment", {})
    return {
        name: value
        for name, value in merged["services"][service].get("environment", {}).items()
        if str(before.get(name)) != str(value)
    }


def test_the_limit_that_the_page_names_is_read_by_the_sessions_from_this_machines_file() -> None:
    assert re.search(r"^spark\.cores\.max +2$", SPARK_DEFAULTS.read_text(), re.MULTILINE)
    conf = SERVICES["code-location"]["environment"]["SPARK_CONF_DIR"]
    assert f"./deploy/spark:{conf}:ro" in SERVICES["code-location"]["volumes"]
    assert yaml.safe_load(SERVICES["spark-worker"]["command"][4]) == 3  # as the page counts


@pytest.fixture
def roles(world: World) -> Iterator[None]:
    world.execute("CREATE ROLE promo_stream LOGIN")
    try:
        yield
    finally:
        for role in ("promo_stream", "promo_lake"):
            world.execute(f"DROP OWNED BY {role}")
            world.execute(f"DROP ROLE {role}")


def test_a_new_role_is_made_with_its_password_from_the_file_and_given_its_rights_by_the_owner(
    world: World, roles: None
) -> None:
    (world.home / "lake_password").write_text(LAKE_PASSWORD)
    make_role, apply = blocks("deploy.md", "Upgrade")[1], blocks("deploy.md", "Commands")[1]
    run_here(world, make_role.replace("/run/secrets", str(world.home)))
    run_here(world, apply)
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


def run_here(world: World, block: str) -> None:
    owner = urlsplit(world.postgres_url)
    path = [
        commands_of_containers_here(world.home / f"bin-{len(list(world.home.glob('bin-*')))}"),
        POSTGRES_PROGRAMS,
    ]
    path += [Path(sys.executable).parent, os.environ["PATH"]]
    of_container = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(owner.port),
        "PGPASSWORD": str(owner.password),
    }
    env = world.env | of_container | {"PATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, "ERROR" in done.stderr) == (0, False), done.stderr

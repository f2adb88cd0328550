"""Every service of docker-compose.yml follows the same rules, also one that is added later."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from promo_assets.jvm.java import java_home
from promo_assets.settings import PROJECT_ROOT, Settings
from promo_assets_tests.support.compose import (
    COMPOSE_FILE,
    SERVICES,
    merge_files,
    needs_compose,
)
from promo_assets_tests.support.spark_clusters import SPARK_HOME

COMPOSE = yaml.safe_load(COMPOSE_FILE.read_text())
ONE_SHOT = {"prepare"}
every_service = pytest.mark.parametrize("service", SERVICES)


def test_the_file_follows_the_schema_of_compose() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [check, "--builtin-schema", "vendor.compose-spec", COMPOSE_FILE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@needs_compose
def test_docker_compose_reads_every_service() -> None:
    assert set(merge_files(COMPOSE_FILE)["services"]) == set(SERVICES)


@every_service
def test_a_service_has_a_health_check_and_is_restarted(service: str) -> None:
    if service in ONE_SHOT:
        assert SERVICES[service]["restart"] == "on-failure"
    else:
        assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"
        assert SERVICES[service]["restart"] == "unless-stopped"


@every_service
def test_a_service_does_not_run_as_root_and_its_image_is_pinned(service: str) -> None:
    assert SERVICES[service]["user"] not in ("", "root", "0", 0)
    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?(-\w+)?", SERVICES[service]["image"])
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]


@every_service
def test_only_the_ui_is_published_and_by_default_on_loopback(service: str) -> None:
    assert SERVICES[service].get("ports", []) == (
        ["${PROMO_UI_ADDRESS:-127.0.0.1:3000}:3000"] if service == "webserver" else []
    )
    assert service == "webserver" or SERVICES[service]["networks"] == ["promo"]
    assert COMPOSE["networks"]["promo"] == {"internal": True}


@every_service
def test_secrets_are_declared_files_and_every_setting_exists(service: str) -> None:
    environment = SERVICES[service].get("environment", {})
    named = {
        value.removeprefix("/run/secrets/")
        for value in map(str, environment.values())
        if value.startswith("/run/secrets/")
    }
    assert named <= set(SERVICES[service].get("secrets", []))
    assert set(SERVICES[service].get("secrets", [])) <= set(COMPOSE["secrets"])
    assert not any(re.search(r"PASSWORD$|_URL$|TOKEN|SECRET", name) for name in environment)
    known = {f"PROMO_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in environment if name.startswith("PROMO_")} <= known


def test_a_service_has_only_the_secrets_that_it_needs() -> None:
    assert {
        name: set(parts.get("secrets", []))
        for name, parts in SERVICES.items()
        if parts.get("secrets")
    } == {
        "postgres": {"owner_password", "stream_password", "lake_password", "dagster_password"},
        "prepare": {"owner_url"},
        "code-location": {"stream_url", "lake_url", "dagster_url"},
        "webserver": {"dagster_url"},
        "daemon": {"dagster_url"},
    }
    of_dagster = {"PROMO_DAGSTER_POSTGRES_URL_FILE": "/run/secrets/dagster_url"}
    assert all(
        SERVICES[service]["environment"] == of_dagster for service in ("webserver", "daemon")
    )


@every_service
def test_a_service_waits_for_every_service_that_its_settings_name(service: str) -> None:
    settings = {
        name: str(value)
        for name, value in SERVICES[service].get("environment", {}).items()
        if name.startswith("PROMO_")
    }
    hosts = {
        found[1] for value in settings.values() if (found := re.search(r"\b([a-z-]+):\d+", value))
    }
    hosts |= {"postgres"} if any(value.endswith("_url") for value in settings.values()) else set()
    assert hosts <= _list_dependencies(service)


def _list_dependencies(service: str) -> set[str]:
    waits_for = [
        name
        for name, how in SERVICES[service].get("depends_on", {}).items()
        if how["condition"] != "service_started"
    ]
    return set(waits_for).union(*map(_list_dependencies, waits_for))


def test_a_spark_worker_gets_the_options_that_rotate_executors_logs() -> None:
    """Spark's own launcher prints the command that it runs."""
    worker = SERVICES["spark-worker"]
    _, worker_class, *_ = worker["command"]
    env = {
        "PATH": "/usr/bin:/bin",
        "JAVA_HOME": str(java_home()),
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_PRINT_LAUNCH_COMMAND": "1",
    }
    command = [SPARK_HOME / "bin" / "spark-class", worker_class, "--help"]
    done = subprocess.run(
        command,
        env=env | worker["environment"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    (launched,) = re.findall("^Spark Command: (.*)$", done.stderr, re.MULTILINE)
    options = dict(re.findall(r"-D(spark\.\S+)=(\S+)", launched))
    assert options == {
        "spark.executor.logs.rolling.strategy": "size",
        "spark.executor.logs.rolling.maxSize": str(20 * 1024 * 1024),
        "spark.executor.logs.rolling.maxRetainedFiles": "5",
        "spark.worker.cleanup.enabled": "true",
    }


def test_data_lie_in_named_volumes() -> None:
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith((".", "/"))
    }
    assert used == set(COMPOSE["volumes"]) == {"kafka", "postgres", "namenode", "datanode", "promo"}


def test_the_image_contains_the_files_that_the_commands_name_and_no_secret() -> None:
    """.dockerignore and COPY decide which files of the checkout are in the image."""
    allowed = {
        line[1:]
        for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = re.findall(
        r"^COPY --chown=promo (.+) \S+$", (PROJECT_ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    assert {name.split("/")[0] for line in copied for name in line.split()} == allowed
    named = {
        part
        for service in SERVICES.values()
        for part in service.get("command", [])
        if part.startswith("deploy/")
    }
    assert named == {"deploy/hdfs.sh", "deploy/workspace.yaml"}
    assert all((PROJECT_ROOT / name).is_file() for name in named)
    assert "secrets/" in (PROJECT_ROOT / ".gitignore").read_text().splitlines()


def test_secrets_are_created_once_and_the_urls_contain_the_passwords(tmp_path: Path) -> None:
    def make() -> dict[str, str]:
        subprocess.run(
            ["bash", str(PROJECT_ROOT / "deploy" / "make-secrets.sh")],
            cwd=tmp_path,
            check=True,
            timeout=30,
        )
        return {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}

    made = make()
    assert set(made) == set(COMPOSE["secrets"])
    assert (
        made["stream_url"]
        == f"postgresql://promo_stream:{made['stream_password']}@postgres:5432/promo"
    )
    assert len({made[f"{role}_password"] for role in ("owner", "stream", "lake", "dagster")}) == 4
    assert all(
        re.fullmatch(r"[0-9a-f]{48}", made[f"{role}_password"])
        for role in ("owner", "stream", "lake", "dagster")
    )
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert make() == made


def test_every_setting_is_in_the_example_of_an_env_file() -> None:
    example = (PROJECT_ROOT / ".env.example").read_text()
    missing = [name for name in Settings.model_fields if f"#PROMO_{name.upper()}=" not in example]
    assert missing == []

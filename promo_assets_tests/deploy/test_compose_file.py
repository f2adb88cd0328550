"""What docker-compose.yml promises, read from the file: it cannot be forgotten for a service that comes later."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from promo_assets.settings import PROJECT_ROOT, Settings
from promo_assets_tests.deploy.compose import FILE, SERVICES

WHOLE = yaml.safe_load(FILE.read_text())
ONE_SHOT = {"prepare"}
every_service = pytest.mark.parametrize("service", SERVICES)


def test_it_keeps_to_the_compose_schema() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run([check, "--builtin-schema", "vendor.compose-spec", FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_compose_itself_reads_it(tmp_path: Path) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed, which install_compose.sh does in CI: its `config` was NOT tried")
    done = subprocess.run([program, "-f", str(FILE), "config"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(SERVICES)


@every_service
def test_a_service_has_a_health_check_and_comes_back(service: str) -> None:
    if service in ONE_SHOT:
        assert SERVICES[service]["restart"] == "on-failure"
    else:
        assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"
        assert SERVICES[service]["restart"] == "unless-stopped"


@every_service
def test_a_service_runs_as_somebody_else_than_root_from_a_pinned_image(service: str) -> None:
    assert SERVICES[service]["user"] not in ("", "root", "0", 0)
    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?(-\w+)?", SERVICES[service]["image"])
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]


@every_service
def test_nothing_is_published_but_the_ui_and_that_on_loopback_unless_asked(service: str) -> None:
    assert SERVICES[service].get("ports", []) == (["${PROMO_UI_ADDRESS:-127.0.0.1:3000}:3000"] if service == "webserver" else [])
    assert service == "webserver" or SERVICES[service]["networks"] == ["promo"]
    assert WHOLE["networks"]["promo"] == {"internal": True}


@every_service
def test_a_secret_is_a_file_that_is_declared_and_a_setting_is_known(service: str) -> None:
    environment = SERVICES[service].get("environment", {})
    named = {value.removeprefix("/run/secrets/") for value in map(str, environment.values()) if value.startswith("/run/secrets/")}
    assert named <= set(SERVICES[service].get("secrets", []))
    assert set(SERVICES[service].get("secrets", [])) <= set(WHOLE["secrets"])
    assert not any(re.search(r"PASSWORD$|_URL$|TOKEN|SECRET", name) for name in environment)
    known = {f"PROMO_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in environment if name.startswith("PROMO_")} <= known


def test_data_lie_in_named_volumes() -> None:
    used = {
        volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", []) if not volume.startswith((".", "/"))
    }
    assert used == set(WHOLE["volumes"]) == {"kafka", "postgres", "namenode", "datanode", "promo"}


def test_the_image_has_what_the_commands_name_and_no_secret() -> None:
    """Files of the checkout that go into the image, by .dockerignore and COPY."""
    let_in = {line[1:] for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY --chown=promo (.+) \S+$", (PROJECT_ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {name.split("/")[0] for line in copied for name in line.split()} == let_in
    named = {part for service in SERVICES.values() for part in service.get("command", []) if part.startswith("deploy/")}
    assert named == {"deploy/hdfs.sh", "deploy/workspace.yaml"}
    assert all((PROJECT_ROOT / name).is_file() for name in named)
    assert "secrets/" in (PROJECT_ROOT / ".gitignore").read_text().splitlines()


def test_secrets_are_made_once_and_hold_together(tmp_path: Path) -> None:
    def make() -> dict[str, str]:
        subprocess.run(["bash", str(PROJECT_ROOT / "deploy" / "make-secrets.sh")], cwd=tmp_path, check=True, timeout=30)
        return {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}

    made = make()
    assert set(made) == set(WHOLE["secrets"])
    assert made["stream_url"] == f"postgresql://promo_stream:{made['stream_password']}@postgres:5432/promo"
    assert len({made[f"{role}_password"] for role in ("owner", "stream", "lake", "dagster")}) == 4
    assert all(re.fullmatch(r"[0-9a-f]{48}", made[f"{role}_password"]) for role in ("owner", "stream", "lake", "dagster"))
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert make() == made


def test_every_setting_stands_in_the_example_of_an_env_file() -> None:
    example = (PROJECT_ROOT / ".env.example").read_text()
    missing = [name for name in Settings.model_fields if f"#PROMO_{name.upper()}=" not in example]
    assert missing == []

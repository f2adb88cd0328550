"""`with-dagster`: a program runs on the project's instance, or one line says why it cannot."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from promo_assets.commands.with_dagster import sqlalchemy_url
from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.command_line import COMMAND

SHOW = "import os; print(os.environ['DAGSTER_HOME']); print(os.environ['DAGSTER_POSTGRES_URL'])"


def with_dagster(env: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PROMO_", "DAGSTER_"))
    }
    return subprocess.run(
        [COMMAND, "with-dagster", *command],
        env=inherited | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def env(services, tmp_path: Path) -> dict[str, str]:
    base, _, _ = services.postgres_url.rpartition("/")
    return {
        "PROMO_HOME": str(tmp_path),
        "PROMO_POSTGRES_URL": services.postgres_url,
        "PROMO_DAGSTER_POSTGRES_URL": f"{base}/promo",
    }


def test_a_program_gets_the_instance_and_its_exit_status_is_the_command_s(
    env: dict[str, str], tmp_path: Path
) -> None:
    done = with_dagster(env, "python", "-c", f"{SHOW}; raise SystemExit(7)")
    assert (done.returncode, done.stderr) == (7, "")
    home, url = done.stdout.splitlines()
    assert home == str(tmp_path / "dagster")
    assert url == env["PROMO_DAGSTER_POSTGRES_URL"].replace(
        "postgresql://", "postgresql+psycopg2://"
    )
    assert (Path(home) / "dagster.yaml").read_text() == (
        PROJECT_ROOT / "deploy" / "dagster.yaml"
    ).read_text()


def test_a_configuration_that_the_user_put_there_stays(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("mine: true\n")
    assert with_dagster(env, "python", "-c", SHOW).returncode == 0
    assert (tmp_path / "dagster" / "dagster.yaml").read_text() == "mine: true\n"


@pytest.mark.parametrize(
    ("change", "command", "status", "parts"),
    [
        ({}, "no-such-program", 2, ["no program no-such-program"]),
        (
            {"PROMO_POSTGRES_URL": "", "PROMO_DAGSTER_POSTGRES_URL": ""},
            "dagster",
            1,
            ["local Postgres", "Dagster's history", "is not running", "`promo-assets up`"],
        ),
    ],
)
def test_what_is_missing_is_named_in_one_line(
    env: dict[str, str], change: dict[str, str], command: str, status: int, parts: list[str]
) -> None:
    done = with_dagster(env | change, command)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
    assert done.stderr.startswith("promo-assets: ")
    for part in parts:
        assert part in done.stderr


def test_a_database_that_is_missing_on_an_outside_server_is_named_without_the_password(
    env: dict[str, str],
) -> None:
    url = env["PROMO_DAGSTER_POSTGRES_URL"]
    done = with_dagster(env | {"PROMO_DAGSTER_POSTGRES_URL": f"{url}-missing"}, "dagster")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "promo-assets: Cannot connect to Dagster's database promo-missing on 127.0.0.1 "
        "(PROMO_DAGSTER_POSTGRES_URL), which must exist: "
    )
    assert done.stderr.count("\n") == 1
    assert url.split(":")[2].split("@")[0] not in done.stderr


@pytest.mark.parametrize("password", ["pa#s3cret", "pa?s3cret", "pa[s3cret"])
def test_a_password_with_characters_of_a_url_s_syntax_is_not_shown(
    env: dict[str, str], password: str
) -> None:
    nowhere = {
        "PROMO_DAGSTER_POSTGRES_URL": "",
        "PROMO_POSTGRES_URL": f"postgresql://u:{password}@127.0.0.1:1/promo",
    }
    done = with_dagster(env | nowhere, "dagster")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "promo-assets: Cannot connect to Dagster's database dagster on 127.0.0.1 "
        "(PROMO_DAGSTER_POSTGRES_URL), which must exist: "
    )
    assert "s3cret" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h/d", "postgresql+psycopg2://u:p@h:5432/d"),
        (
            "postgres://u:p%40%2F@h:1/d?sslmode=require",
            "postgresql+psycopg2://u:p%40%2F@h:1/d?sslmode=require",
        ),
        ("postgresql://u@a:1,b:2/d", "postgresql+psycopg2://u@/d?host=a%2Cb&port=1%2C2"),
    ],
)
def test_the_url_names_the_driver(url: str, expected: str) -> None:
    assert sqlalchemy_url(url) == expected


def test_the_instance_s_limits_and_retention_are_what_the_sensor_needs() -> None:
    from promo_assets.stream.defs.assets import promo_stream
    from promo_assets.stream.defs.liveness import CANCEL_TIMEOUT_S, LAUNCH_TIMEOUT_S

    config = yaml.safe_load((PROJECT_ROOT / "deploy" / "dagster.yaml").read_text())
    limits = {
        each["value"]: (each["key"], each["limit"])
        for each in config["concurrency"]["runs"]["tag_concurrency_limits"]
    }
    assert limits["stream"] == ("promo_assets/subsystem", 1)
    assert promo_stream.tags["promo_assets/subsystem"] == "stream"
    assert config["run_monitoring"]["start_timeout_seconds"] >= LAUNCH_TIMEOUT_S
    assert config["run_monitoring"]["cancel_timeout_seconds"] > CANCEL_TIMEOUT_S
    assert config["retention"]["sensor"]["purge_after_days"]["skipped"] == 1

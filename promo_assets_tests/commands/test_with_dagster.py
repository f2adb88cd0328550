"""`promo-assets with-dagster`: a program of Dagster's on the project's instance, and what is told where there is none to be had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from promo_assets.commands.with_dagster import sqlalchemy_url
from promo_assets.settings import PROJECT_ROOT

PROGRAM = str(Path(sys.executable).with_name("promo-assets"))
SHOW = "import os; print(os.environ['DAGSTER_HOME']); print(os.environ['DAGSTER_POSTGRES_URL'])"


def with_dagster(env: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PROMO_", "DAGSTER_"))
    }
    return subprocess.run(
        [PROGRAM, "with-dagster", *command],
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


def test_a_program_gets_the_instance_and_its_exit_status_is_handed_on(
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


def test_a_configuration_that_somebody_put_there_stays(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("mine: true\n")
    assert with_dagster(env, "python", "-c", SHOW).returncode == 0
    assert (tmp_path / "dagster" / "dagster.yaml").read_text() == "mine: true\n"


@pytest.mark.parametrize(
    ("change", "command", "status", "told"),
    [
        ({}, "no-such-program", 2, "promo-assets: there is no program no-such-program to run"),
        (
            {"PROMO_POSTGRES_URL": "", "PROMO_DAGSTER_POSTGRES_URL": ""},
            "dagster",
            1,
            "promo-assets: Dagster keeps its history in the local Postgres, which does not run: `promo-assets up` starts it",
        ),
    ],
)
def test_what_is_missing_is_told_in_one_line(
    env: dict[str, str], change: dict[str, str], command: str, status: int, told: str
) -> None:
    done = with_dagster(env | change, command)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", f"{told}\n")


def test_a_database_that_is_missing_on_an_outside_server_is_named_without_the_password(
    env: dict[str, str],
) -> None:
    url = env["PROMO_DAGSTER_POSTGRES_URL"]
    done = with_dagster(env | {"PROMO_DAGSTER_POSTGRES_URL": f"{url}-missing"}, "dagster")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "promo-assets: Dagster's database promo-missing on 127.0.0.1 (PROMO_DAGSTER_POSTGRES_URL) must exist"
    )
    assert done.stderr.count("\n") == 1
    assert url.split(":")[2].split("@")[0] not in done.stderr


@pytest.mark.parametrize("password", ["pa#s3cret", "pa?s3cret", "pa[s3cret"])
def test_a_password_that_libpq_takes_as_it_is_is_not_taken_for_something_else(
    env: dict[str, str], password: str
) -> None:
    nowhere = {
        "PROMO_DAGSTER_POSTGRES_URL": "",
        "PROMO_POSTGRES_URL": f"postgresql://u:{password}@127.0.0.1:1/promo",
    }
    done = with_dagster(env | nowhere, "dagster")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "promo-assets: Dagster's database dagster on 127.0.0.1 (PROMO_DAGSTER_POSTGRES_URL) must exist"
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


def test_the_streams_limit_and_the_retention_are_as_the_keeper_needs_them() -> None:
    from promo_assets.stream.defs.assets import promo_stream
    from promo_assets.stream.defs.sensor import CANCEL_TIMEOUT_S, LAUNCH_TIMEOUT_S

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

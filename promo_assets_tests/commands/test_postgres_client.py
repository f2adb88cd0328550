"""What every command that needs Postgres says where it cannot connect; it shows no password."""

from pathlib import Path

import pytest

from promo_assets_tests.conftest import Services
from promo_assets_tests.support.command_line import UNREACHABLE_POSTGRES, env, one_line, run

__all__ = ["env"]


@pytest.mark.parametrize("command", ["stream run", "push"])
def test_without_postgres_a_command_that_also_needs_kafka_names_the_failed_connection(
    env: dict[str, str], command: str
):
    done = run(env | {"PROMO_POSTGRES_URL": UNREACHABLE_POSTGRES}, *command.split())
    line = one_line(done, 1)
    assert "Postgres" in line and "127.0.0.1" in line
    assert b"hidden" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["ledger", "clean"],
        ["ledger", "apply"],
        ["campaigns", "waiting"],
        ["campaigns", "cancel", "r", "c", "1"],
    ],
    ids=" ".join,
)
def test_without_postgres_a_command_of_the_ledger_names_the_failed_connection(
    arguments: list[str],
):
    done = run({"PROMO_POSTGRES_URL": UNREACHABLE_POSTGRES}, *arguments)
    line = one_line(done, 1)
    assert line.startswith("Cannot connect to Postgres: connection failed")
    assert line.endswith(". See PROMO_POSTGRES_URL")
    assert b"hidden" not in done.stderr


def test_without_the_local_postgres_the_command_that_starts_it_is_named(tmp_path: Path):
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "services.json").write_text(
        '{"postgres_url": "postgresql://promo@127.0.0.1:1/promo"}'
    )
    line = one_line(run({"PROMO_HOME": str(tmp_path)}, "campaigns", "waiting"), 1)
    assert line.startswith("Cannot connect to Postgres: ")
    assert line.endswith("`promo-assets up`")


def test_a_wrong_password_is_reported_and_not_shown(services: Services):
    url = services.postgres_url.replace("promo:", "promo:wrong", 1)
    done = run(services.env | {"PROMO_POSTGRES_URL": url}, "stream", "run")
    assert "password authentication failed" in one_line(done, 1)
    assert url.encode() not in done.stderr

"""The command line itself: help, arguments, settings and exit status, whatever the command."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from promo_assets_tests.support.command_line import COMMAND, one_line, run

__all__ = ["COMMAND"]  # browser/conftest.py imports it from here


def test_help_is_quick_and_names_every_command():
    started = time.monotonic()
    done = run({}, "--help")
    took = time.monotonic() - started
    assert done.returncode == 0
    for name in (
        "demo",
        "up",
        "down",
        "status",
        "stream",
        "campaigns",
        "notifications",
        "dead-letters",
        "ledger",
        "lake",
        "push",
    ):
        assert f" {name} " in done.stdout.decode()
    assert took < 3  # 0.2 s on a quiet machine; Spark or Dagster would take longer than this


def test_help_imports_nothing_heavy():
    heavy = ("pyspark", "dagster", "psycopg", "confluent_kafka")
    code = (
        "import sys; import promo_assets.cli; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--nothing"], "No such option: --nothing"),
        (["nothing"], "No such command 'nothing'"),
        (["stream", "run", "--fast"], "No such option: --fast"),
        (["notifications", "watch", "--count", "0"], "'--count'"),
        (["notifications", "watch", "--timeout", "soon"], "'--timeout'"),
        (["ledger", "clean", "--older-than", "0"], "'--older-than'"),
        (["campaigns", "cancel", "r", "c", "today"], "'DATETIME_CREATED'"),
        (["dead-letters", "replay", "--id"], "--id"),
    ],
)
def test_a_wrong_argument_is_one_line_and_status_2(arguments: list[str], problem: str):
    assert problem in one_line(run({}, *arguments), 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo"],
        ["up"],
        ["down"],
        ["status"],
        ["stream", "run"],
        ["stream", "reprocess", "--from-offset", "0:0"],
        ["campaigns", "send"],
        ["campaigns", "waiting"],
        ["ledger", "apply"],
        ["ledger", "clean"],
        ["notifications", "watch"],
        ["push"],
        ["dead-letters", "list"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROMO_POSTGRES_URL", "nonsense"),
        ("PROMO_LAKE_DEPTH", "many"),
        ("PROMO_TOPIC_IN", "a topic"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_starts(
    arguments: list[str], name: str, value: str, tmp_path: Path
):
    home = tmp_path / "home"
    done = run({"PROMO_HOME": str(home), name: value}, *arguments)
    assert one_line(done, 2).startswith(f"{name}: ")
    assert not home.exists()


def test_debug_shows_the_trace():
    done = run({"PROMO_LAKE_DEPTH": "many"}, "--debug", "status")
    assert done.returncode == 2
    assert b"Traceback" in done.stderr

"""`down`: it stops what `up` and the demo started, and nothing else."""

import json
import subprocess
from pathlib import Path

import psutil

from promo_assets_tests.support.command_line import run


def test_down_without_services_is_harmless(tmp_path: Path):
    done = run({"PROMO_HOME": str(tmp_path / "home")}, "down")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_process_of_somebody_else_is_not_taken_for_a_demo_s_dagster(tmp_path: Path):
    """`down` finds the Dagster of a killed demo by its record, whose pid may be reused."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as foreign:
        (tmp_path / "local").mkdir()
        record = {
            "pid": foreign.pid,
            "create_time": psutil.Process(foreign.pid).create_time(),
            "argument": "x",
            "port": 1,
        }
        (tmp_path / "local" / "dagster.pid").write_text(json.dumps(record))
        assert run({"PROMO_HOME": str(tmp_path)}, "down").returncode == 0
        assert foreign.poll() is None
        foreign.kill()

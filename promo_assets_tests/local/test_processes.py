import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from promo_assets.local import processes

# Ignores a gentle request, and so does its child.
STUBBORN = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); print(flush=True); time.sleep(100)"


@pytest.fixture
def record(tmp_path: Path):
    yield tmp_path / "it.pid"
    processes.stop(tmp_path / "it.pid", seconds=0)


def start(record: Path, code: str) -> psutil.Process:
    log = record.with_name("it.log")
    process = processes.start(
        [sys.executable, "-c", code], argument=code, port=1, record=record, log=log, env={}
    )
    while not log.read_text() and processes.alive(process):
        pass
    return process


def test_stop_ends_a_stubborn_process_and_its_child(record: Path):
    process = start(record, STUBBORN)
    family = [process, *process.children()]
    assert processes.stop(record, seconds=0.2)
    assert [each for each in family if processes.alive(each)] == []
    assert not record.exists()


def test_a_reused_pid_is_not_the_recorded_process(record: Path):
    process = start(record, "import time; print(flush=True); time.sleep(100)")
    noted = json.loads(record.read_text())
    for other in ({"create_time": noted["create_time"] - 60}, {"argument": "another"}):
        record.write_text(json.dumps(noted | other))
        assert processes.running(record) is None
        assert not processes.stop(record)
        assert processes.alive(process)
    record.write_text(json.dumps(noted))


@pytest.mark.parametrize("content", ["", "{}", "[]", "123", '{"pid": "x"}'])
def test_a_broken_record_is_no_process(content: str, record: Path):
    record.write_text(content)
    assert not processes.stop(record)


def test_a_dead_child_that_nobody_took_away_does_not_run(record: Path):
    process = start(record, "import time; print(flush=True); time.sleep(100)")
    process.send_signal(signal.SIGKILL)
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        pass
    assert processes.running(record) is None


def test_ignored_signals_are_not_handed_down(record: Path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        start(
            record,
            "import signal, time; print(signal.getsignal(signal.SIGINT), flush=True); time.sleep(100)",
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert "default_int_handler" in record.with_name("it.log").read_text()


def test_nothing_starts_when_the_starting_command_is_killed_before_the_record(tmp_path: Path):
    reading, writing = os.pipe()
    os.close(writing)
    command = [sys.executable, "-c", processes.LAUNCHER, "-", "-", "/bin/echo", "started"]
    done = subprocess.run(
        command, stdin=reading, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    os.close(reading)
    assert (done.returncode, done.stdout) == (1, "")

"""A background process is ended as a whole, and never mistaken for another program's."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from promo_assets.local import processes

SLEEP = "import time; print(flush=True); time.sleep(100)"
# Ignores SIGTERM, and so does its child.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print(flush=True)
time.sleep(100)
"""
PRINT_SIGINT_HANDLER = """
import signal, time
print(signal.getsignal(signal.SIGINT), flush=True)
time.sleep(100)
"""


@pytest.fixture
def record(tmp_path: Path):
    yield tmp_path / "process.pid"
    processes.stop(tmp_path / "process.pid", seconds=0)


def start(record: Path, code: str) -> psutil.Process:
    log = record.with_name("process.log")
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
    process = start(record, SLEEP)
    content = json.loads(record.read_text())
    for other in ({"create_time": content["create_time"] - 60}, {"argument": "another"}):
        record.write_text(json.dumps(content | other))
        assert processes.running(record) is None
        assert not processes.stop(record)
        assert processes.alive(process)
    record.write_text(json.dumps(content))


@pytest.mark.parametrize("content", ["", "{}", "[]", "123", '{"pid": "x"}'])
def test_a_broken_record_counts_as_no_process(content: str, record: Path):
    record.write_text(content)
    assert not processes.stop(record)


def test_a_zombie_does_not_count_as_running(record: Path):
    process = start(record, SLEEP)
    process.send_signal(signal.SIGKILL)
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        pass
    assert processes.running(record) is None


def test_a_process_does_not_inherit_ignored_signals(record: Path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        start(record, PRINT_SIGINT_HANDLER)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "default_int_handler" in record.with_name("process.log").read_text()


def test_nothing_starts_if_the_command_is_killed_before_it_writes_the_record(tmp_path: Path):
    reading, writing = os.pipe()
    os.close(writing)
    command = [sys.executable, "-c", processes.LAUNCHER, "-", "-", "/bin/echo", "started"]
    done = subprocess.run(
        command, stdin=reading, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    os.close(reading)
    assert (done.returncode, done.stdout) == (1, "")

"""Starts and stops background processes that outlive the command that starts them.

A record file holds the pid of a process, the time at which it was created, and an argument that no
other process has. The pid alone might belong to another program by now, which must not be stopped.
"""

import contextlib
import json
import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

# The system may correct the boot time, on which creation times are based, after a process starts.
CLOCK_SLACK_SECONDS = 5.0
# Linux gives connections their ports from 32768 on, macOS from 49152 on.
QUIET_PORTS = range(20_000, 32_000)

# Runs between fork and exec, as a program of its own because the caller may have threads. It waits
# until the record is written, so that no process exists without one. It also resets the signals
# that the background job of a script ignores.
LAUNCHER = """
import os, signal, sys
if os.read(0, 1) != b"!":
    sys.exit("not started: the starting command ended")
null = os.open(os.devnull, os.O_RDWR)
os.dup2(null, 0)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, [])
uid, gid, *command = sys.argv[1:]
if uid != "-":
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
os.chdir("/")
os.execv(command[0], command)
"""


class ServiceError(Exception):
    """A local service cannot be started, reached or stopped; the message is a line for the user."""


class PortTaken(ServiceError):
    """Another program listens on the port that was free a moment ago."""


@dataclass(frozen=True)
class Record:
    pid: int
    create_time: float
    argument: str  # an argument of its command line that no other process has
    port: int


def start(
    command: Sequence[str],
    *,
    argument: str,
    port: int,
    record: Path,
    log: Path,
    env: dict[str, str],
    user: pwd.struct_passwd | None = None,
) -> psutil.Process:
    """Start a process in a session of its own, as `user` if given.

    The log of the run before is kept, with `.1` added to its name.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(log.name + ".1"))
    ids = [str(user.pw_uid), str(user.pw_gid)] if user else ["-", "-"]
    with log.open("xb") as output:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCHER, *ids, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )
    assert child.stdin
    with child.stdin:
        process = psutil.Process(child.pid)
        write_atomically(
            record, json.dumps(asdict(Record(child.pid, process.create_time(), argument, port)))
        )
        child.stdin.write(b"!")
    child.returncode = 0  # prevents subprocess's warning about a child that is still running
    return process


def running(record: Path) -> tuple[psutil.Process, Record] | None:
    """Return the recorded process, if it is alive and is the one that was started."""
    try:
        recorded = Record(**json.loads(record.read_text()))
        process = psutil.Process(recorded.pid)
        same_time = abs(process.create_time() - recorded.create_time) <= CLOCK_SLACK_SECONDS
        if not same_time or not alive(process):
            return None
        arguments = process.cmdline()  # empty for a moment while the launcher becomes the program
        return (process, recorded) if not arguments or recorded.argument in arguments else None
    except (FileNotFoundError, ValueError, TypeError, psutil.Error):
        return None


def alive(process: psutil.Process) -> bool:
    """Return False for a zombie, too; reap it if it is a child of this process."""
    try:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return True
        process.wait(0)
    except psutil.Error:
        pass
    return False


def stop(record: Path, *, gently: signal.Signals = signal.SIGTERM, seconds: float = 20) -> bool:
    """End the recorded process and its children; kill those that are alive after `seconds`.

    Returns False if the process was not running. Raises `ServiceError` if one cannot be killed.
    """
    found = running(record)
    if found is not None:
        process = found[0]
        # Children must be listed while the parent lives. psutil checks the creation time of a pid
        # itself before each signal.
        family = [*_children(process), process]
        _signal(process, gently)
        for each in _wait_for_exit(family, seconds):
            _signal(each, signal.SIGKILL)
        left = _wait_for_exit(family, 10)
        if left:
            raise ServiceError(
                f"The process {left[0].pid} ({found[1].argument}) is still alive after SIGKILL"
            )
    record.unlink(missing_ok=True)
    return found is not None


def _wait_for_exit(family: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return the processes that are alive after `seconds`.

    psutil's own wait also waits for zombies that another process has to reap.
    """
    deadline = time.monotonic() + seconds
    while (left := [each for each in family if alive(each)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def is_free(port: int) -> bool:
    """Return True if a server could listen on this port of loopback."""
    with socket.socket() as client:
        # macOS allows binding 127.0.0.1 while another process holds all addresses of the port, so
        # try to connect first.
        client.settimeout(1)
        if client.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as server:
        # Without this option, a port that was just closed appears to be taken.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(wanted: int | None = None) -> int:
    """Return the wanted port if it is free, else any other free port.

    The other port is outside of the range from which the system takes ports for connections: one
    of those could become the near end of a connection before a server listens on it.
    """
    if wanted is not None and is_free(wanted):
        return wanted
    for port in random.sample(QUIET_PORTS, 20):
        if is_free(port):
            return port
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def last_lines(log: Path, count: int = 3) -> str:
    """Return the last lines of a log as one line, for an error message."""
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    # The frames of a Java stack trace do not help a user.
    useful = [line.strip() for line in lines if line.strip() and not line.startswith("\tat ")]
    return " | ".join(useful[-count:])


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step, readable for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)

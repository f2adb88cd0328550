"""Background processes that outlive the command that starts them, and are never mistaken for somebody else's.

A record file holds the pid, when that process was created, and an argument only this process has: a pid alone may
belong to another program by now.
"""

import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

# The clock that creation times are counted from may be set a little after a start.
CLOCK_SLACK_SECONDS = 5.0

# Runs between fork and exec, as a program of its own because the caller may have threads. It waits for the record to be
# written, so that no process exists without one, and takes back the signals that a script's background job ignores.
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
    """A local service cannot be started, reached or stopped; the message is one line for the user."""


class PortTaken(ServiceError):
    """Another program listens on the port that was free a moment ago."""


@dataclass(frozen=True)
class Record:
    pid: int
    create_time: float
    argument: str  # one of its command line that no other program has
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
    """Starts in a session of its own, as `user` if given; the log of the run before is kept beside as `.1`."""
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
    child.returncode = 0  # it is not waited for here, and no warning is due when this object goes
    return process


def running(record: Path) -> tuple[psutil.Process, Record] | None:
    """The recorded process if it lives and is the one that was started."""
    try:
        noted = Record(**json.loads(record.read_text()))
        process = psutil.Process(noted.pid)
        if abs(process.create_time() - noted.create_time) > CLOCK_SLACK_SECONDS or not alive(
            process
        ):
            return None
        arguments = process.cmdline()  # empty for a moment while the launcher becomes the program
        return (process, noted) if not arguments or noted.argument in arguments else None
    except (FileNotFoundError, ValueError, TypeError, psutil.Error):
        return None


def alive(process: psutil.Process) -> bool:
    """False for a zombie too, and takes a dead child away."""
    try:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return True
        process.wait(0)
    except psutil.Error:
        pass
    return False


def stop(record: Path, *, gently: signal.Signals = signal.SIGTERM, seconds: float = 20) -> bool:
    """Ends the recorded process and its children, by force if it takes longer; False if it was not running."""
    found = running(record)
    if found is not None:
        process = found[0]
        # Known before the parent goes; psutil checks a pid's creation time itself before each signal.
        family = [*_children(process), process]
        _signal(process, gently)
        for each in _still_alive(family, seconds):
            _signal(each, signal.SIGKILL)
        left = _still_alive(family, 10)
        if left:
            raise ServiceError(f"process {left[0].pid} of {found[1].argument} does not end")
    record.unlink(missing_ok=True)
    return found is not None


def _still_alive(family: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that have not ended in time. psutil's own wait would also wait for somebody else to take its dead child away."""
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
    """Whether a server could listen on the port on loopback."""
    with socket.socket() as client:
        # macOS lets one bind 127.0.0.1 although another holds all addresses: ask for an answer first.
        client.settimeout(1)
        if client.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as server:
        server.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # else a port just closed seems taken
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(wanted: int | None = None) -> int:
    """The wanted port, or any other where that is taken."""
    if wanted is not None and is_free(wanted):
        return wanted
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def last_lines(log: Path, count: int = 3) -> str:
    """The end of a log, in one line of an error message."""
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    told = [
        line.strip() for line in lines if line.strip() and not line.startswith("\tat ")
    ]  # a Java trace's frames tell a user nothing
    return " | ".join(told[-count:])


def write_atomically(path: Path, text: str) -> None:
    """Whole or not at all, and for the owner's eyes only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)

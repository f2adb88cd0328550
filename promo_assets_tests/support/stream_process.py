"""The stream as a process that tests kill, and how processes are killed and waited for."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from promo_assets_tests.support.daemons import QUICKLY
from promo_assets_tests.support.world import World


class StreamProcess:
    """`promo-assets stream run` in a world. Its output is in `log`."""

    HOOKS = os.pathsep.join(
        [str(Path(__file__).with_name("hooks")), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    """A PYTHONPATH with the hooks first. The caller's own entries stay."""

    def __init__(self, world: World, *arguments: str, env: dict[str, str] | None = None):
        self.log = world.home / f"stream-{len(list(world.home.glob('stream-*')))}.log"
        command = [Path(sys.executable).with_name("promo-assets"), "stream", "run", *arguments]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env=world.env | QUICKLY | (env or {}),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @classmethod
    def killed_at(
        cls, world: World, point: str, count: int = 1, env: dict[str, str] | None = None
    ) -> "StreamProcess":
        """Start a stream that is killed when it passes `point` for the `count`th time."""
        mark = world.home / f"killed-{len(list(world.home.glob('killed-*')))}"
        hooks = {
            "PYTHONPATH": cls.HOOKS,
            "KILL_AT": point,
            "KILL_COUNT": str(count),
            "KILL_MARK": str(mark),
        }
        return cls(world, env=hooks | (env or {}))

    def wait_until_killed(self, seconds: float = 90) -> None:
        ended = self.process.wait(seconds)
        assert ended == -signal.SIGKILL, f"was not killed at its point:\n{self.tail()}"

    def end(self) -> None:
        """Kill whatever is left of the stream: every process of its session."""
        processes = psutil.process_iter()
        kill_all([each for each in processes if session_of(each) == self.process.pid])
        self.process.wait(20)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3_000:]


def kill_all(processes: list[psutil.Process]) -> None:
    """Kill with SIGKILL, as if the power were cut.

    All are suspended first, so that none sees the end of another.
    """
    for act in (psutil.Process.suspend, psutil.Process.kill):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # the process has ended by itself
                act(process)
    psutil.wait_procs(processes, 20)


def kill_listener(port: int) -> None:
    """Kill with SIGKILL the service that listens on a port, and its children."""
    listeners = [
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr
        and connection.laddr.port == port
    ]
    service = psutil.Process(listeners[0])
    kill_all([service, *service.children(recursive=True)])


def session_of(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def wait_for(condition, what: str, seconds: float = 60):
    """Poll a condition and return its first true result.

    what: what is waited for, in words. Raises `AssertionError` after `seconds`.
    """
    try:
        return Retrying(
            retry=retry_if_result(lambda result: not result),
            wait=wait_fixed(0.2),
            stop=stop_after_delay(seconds),
        )(condition)
    except RetryError:
        raise AssertionError(f"not seen within {seconds} s: {what}") from None

"""The stream as a process of its own, to be killed."""

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
    """`promo-assets stream run` in a world."""

    HOOKS = str(Path(__file__).with_name("hooks"))

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
        """A stream that will be killed when it passes `point` for the `count`th time."""
        mark = world.home / f"killed-{len(list(world.home.glob('killed-*')))}"
        hooks = {
            "PYTHONPATH": cls.HOOKS,
            "KILL_AT": point,
            "KILL_COUNT": str(count),
            "KILL_MARK": str(mark),
        }
        return cls(world, env=hooks | (env or {}))

    def wait_until_killed(self, seconds: float = 90) -> None:
        assert self.process.wait(seconds) == -signal.SIGKILL, (
            f"was not killed at its point:\n{self.tail()}"
        )

    def end(self) -> None:
        """However it stands, nothing of it is left."""
        kill_all(
            [
                process
                for process in psutil.process_iter()
                if session_of(process) == self.process.pid
            ]
        )
        self.process.wait(20)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3_000:]


def kill_all(processes: list[psutil.Process]) -> None:
    """kill -9, as if the power were cut: they are all stopped first, so that none sees another's end."""
    for act in (psutil.Process.suspend, psutil.Process.kill):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended by itself
                act(process)
    psutil.wait_procs(processes, 20)


def session_of(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def wait_for(condition, what: str, seconds: float = 60):
    """The condition's first true answer; it is asked, never slept for."""
    try:
        return Retrying(
            retry=retry_if_result(lambda held: not held),
            wait=wait_fixed(0.2),
            stop=stop_after_delay(seconds),
        )(condition)
    except RetryError:
        raise AssertionError(f"not seen within {seconds} s: {what}") from None

"""Servers that a test starts, on loopback only.

They end with the process that started them, however that process ends.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self
from urllib.request import ProxyHandler, build_opener

import tenacity

from promo_assets.local import processes
from promo_assets.local.processes import ServiceError

READY_SECONDS = 120
STARTS = 3
# Servers get nothing of the caller's environment: HADOOP_*, SPARK_* and Java's options would change
# them. Without the locale Java opens ASCII paths only.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
# Java's second compiler does not pay off in a JVM that a test ends soon.
SHORT_LIVED = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
QUICK_START = (*SHORT_LIVED.split(), "-Dlog4j2.level=WARN")
QUICKLY = {"JAVA_TOOL_OPTIONS": SHORT_LIVED}  # for processes that start JVMs themselves

# A process with this code stops the servers when its standard input ends. That happens when the
# process that started it ends: pytest-timeout and kill -9 leave no time for a fixture's end.
KEEPER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from promo_assets.local import processes
sys.stdin.read()
with ThreadPoolExecutor() as threads:
    for record in sys.argv[1:]:
        threads.submit(processes.stop, Path(record), seconds=5)
"""

# A proxy from the environment cannot reach this machine's loopback.
DIRECTLY = build_opener(ProxyHandler({}))


def start_keeper(*records: Path) -> subprocess.Popen[bytes]:
    """Start a process that stops the recorded servers when it is told to, or when this one ends.

    `communicate` tells it, and returns once the servers have stopped.
    """
    command = [sys.executable, "-c", KEEPER, *map(str, records)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


class Daemons:
    """Servers that are ready inside `with Daemons(folder) as servers`.

    Their data and logs are in the folder. A subclass starts them in `start`, with `launch`, and
    says in `ready` whether they can be used. Its `what` names them in messages.
    """

    names: tuple[str, ...]
    what: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = {name: folder / f"{name}.pid" for name in self.names}
        self.logs = {name: folder / f"{name}.log" for name in self.names}
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        raise NotImplementedError

    def ready(self) -> bool:
        raise NotImplementedError

    def __enter__(self) -> Self:
        for attempt in range(1, STARTS + 1):
            try:
                self.start()
                self.wait(self.ready)
                break
            except ServiceError:
                self.stop()
                # Another process may take a port between the moments when it is chosen and used.
                taken = any(
                    "BindException" in log.read_text(errors="replace")
                    for log in self.logs.values()
                    if log.exists()
                )
                if attempt == STARTS or not taken:
                    raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def launch(
        self,
        name: str,
        command: Sequence[str],
        argument: str,
        port: int = 0,
        env: dict[str, str] | None = None,
    ) -> None:
        """Start a server. `argument` is a part of its command line that no other process has."""
        if self._keeper is None:
            self._keeper = start_keeper(*self.records.values())
        processes.start(
            command,
            argument=argument,
            port=port,
            record=self.records[name],
            log=self.logs[name],
            env=ENVIRONMENT | (env or {}),
        )

    def wait(self, ready: Callable[[], bool]) -> None:
        """Poll until the servers are ready. Raises `ServiceError` if one dies or at a time-out."""

        @tenacity.retry(
            stop=tenacity.stop_after_delay(READY_SECONDS),
            wait=tenacity.wait_fixed(0.1),
            retry=tenacity.retry_if_result(lambda result: not result)
            | tenacity.retry_if_exception_type((OSError, HTTPException)),
            retry_error_callback=lambda _: self.fail(
                self.names[0], f"was not ready within {READY_SECONDS} s"
            ),
        )
        def poll() -> bool:
            for name, record in self.records.items():
                if processes.running(record) is None:
                    self.fail(name, "ended while starting")
            return ready()

        poll()

    def stop(self) -> None:
        """Stop all servers. It does no harm if they do not run."""
        if self._keeper is not None:
            self._keeper.communicate(timeout=60)
            self._keeper = None

    def fail(self, name: str, what: str) -> NoReturn:
        log = self.logs[name]
        raise ServiceError(
            f"the {name} of the tests' {self.what} {what}, see {log}: {processes.last_lines(log)}"
        )

    def temporary(self, name: str) -> Path:
        """Create a folder for a server's temporary files and return it."""
        folder = self.folder / "tmp" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

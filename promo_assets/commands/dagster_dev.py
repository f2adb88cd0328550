"""The demo's Dagster: `dagster dev` in a session of its own, found again and ended even where the demo itself was killed."""

import contextlib
import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path

import psutil
from pydantic import SecretStr

from promo_assets.commands.with_dagster import dagster_environment, dagster_home
from promo_assets.local import processes
from promo_assets.settings import PROJECT_ROOT, Settings

FIRST_PORT = 3000
HTTP_TIMEOUT_S = 5
STOP_TIMEOUT_S = 20
UNFINISHED_RUNS = "{runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED]}) {... on Runs {results {runId}}}}"
TERMINATE = "mutation($ids: [String!]!) {terminateRuns(runIds: $ids, terminatePolicy: SAFE_TERMINATE) {__typename}}"
WORKSPACE = PROJECT_ROOT / "workspace.yaml"


class DagsterDev:
    """Dagster's UI and daemon on this project; its home is `PROMO_HOME/dagster`, as for `make dev`."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._record = _record(settings)
        self.log = settings.home / "logs" / "dagster.log"
        self.url = ""

    def start(self) -> None:
        """Returns at once; it takes some 20 seconds until the sensor has started the stream."""
        port = next(port for port in range(FIRST_PORT, 65536) if processes.is_free(port))
        self.url = f"http://127.0.0.1:{port}"
        command = [
            sys.executable,
            "-m",
            "dagster",
            "dev",
            "-w",
            str(WORKSPACE),
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
        ]
        environment = _as_environment(self._settings) | dagster_environment(self._settings)
        processes.start(
            command,
            argument=str(WORKSPACE),
            port=port,
            record=self._record,
            log=self.log,
            env=environment,
        )

    def runs(self) -> bool:
        return processes.running(self._record) is not None

    def answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{self.url}/server_info", timeout=2) as answer,
        ):
            return answer.status == 200
        return False

    def stop(self) -> None:
        _end_session(self._settings)


def stop_leftover(settings: Settings) -> bool:
    """End the Dagster of a demo that was killed; true where there was one."""
    return _end_session(settings)


def _record(settings: Settings) -> Path:
    return settings.home / "local" / "dagster.pid"


def _as_environment(settings: Settings) -> dict[str, str]:
    """The settings as they were read here: Dagster runs in another folder, where another `.env` may lie."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    plain = {
        name: each.get_secret_value() if isinstance(each, SecretStr) else each
        for name, each in values.items()
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PROMO_")}
    return inherited | {
        f"PROMO_{name}".upper(): str(value) for name, value in plain.items() if value is not None
    }


def _end_session(settings: Settings) -> bool:
    """Dagster first, then its runs, each gently; in the end all that is left of the session, its JVMs too."""
    record = _record(settings)
    try:
        noted = processes.Record(**json.loads(record.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return False
    found = family = _session(noted.pid, dagster_home(settings))
    if found:
        _terminate_runs(f"http://127.0.0.1:{noted.port}")
        for each in family:
            if each.pid == noted.pid:
                _signal(each, signal.SIGINT)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while family and time.monotonic() < deadline:
        time.sleep(0.2)
        family = _session(noted.pid, dagster_home(settings))
    for each in family:
        _signal(each, signal.SIGKILL)
    record.unlink(missing_ok=True)
    return bool(found)


def _terminate_runs(url: str) -> None:
    """As the UI does it, so that a run ends as canceled and not as failed. Where nobody answers, they end with the session."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        runs = _ask(url, UNFINISHED_RUNS)
        variables = {"ids": [run["runId"] for run in runs["runsOrError"]["results"]]}
        _ask(url, TERMINATE, variables)


def _ask(url: str, query: str, variables: dict[str, list[str]] | None = None) -> dict:
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as answer:
        return json.load(answer)["data"]


def _session(leader: int, home: Path) -> list[psutil.Process]:
    """All that lives in the session of that number and has our DAGSTER_HOME: the number alone may be somebody else's by now."""
    family = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if (
                os.getsid(process.pid) == leader
                and process.environ().get("DAGSTER_HOME") == str(home)
                and processes.alive(process)
            ):
                family.append(process)
    return family


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)

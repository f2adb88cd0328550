"""The demo's Dagster: `dagster dev` in a session of its own, in `PROMO_HOME/dagster`.

A record file lets a later command find and stop it, even if the demo itself was killed.
"""

import contextlib
import json
import os
import signal
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import SecretStr

from promo_assets.commands.dagster_queries import read_unfinished_run_ids
from promo_assets.commands.with_dagster import dagster_environment, dagster_home
from promo_assets.local import processes
from promo_assets.settings import PROJECT_ROOT, Settings

HOST, FIRST_PORT = "127.0.0.1", 3000
UI_TIMEOUT_S = 2
TERMINATE_TIMEOUT_S = 5
STOP_TIMEOUT_S = 20
WORKSPACE = PROJECT_ROOT / "workspace.yaml"


@dataclass(frozen=True)
class DagsterDev:
    """A started Dagster, its web server and daemon."""

    port: int
    record: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def is_running(self) -> bool:
        return processes.running(self.record) is not None

    def answers(self) -> bool:
        info_page = f"{self.url}/server_info"
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(info_page, timeout=UI_TIMEOUT_S) as response,
        ):
            return response.status == 200
        return False


def dagster_log(settings: Settings) -> Path:
    return settings.home / "logs" / "dagster.log"


def start_dagster(settings: Settings) -> DagsterDev:
    """Start Dagster and return at once; after some 20 seconds the sensor has started the stream."""
    port = next(port for port in range(FIRST_PORT, 65536) if processes.is_free(port))
    dagster = DagsterDev(port, _record_file(settings), dagster_log(settings))
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(WORKSPACE)]
    processes.start(
        [*command, "-h", HOST, "-p", str(port)],
        argument=str(WORKSPACE),
        port=port,
        record=dagster.record,
        log=dagster.log,
        env=_as_environment(settings) | dagster_environment(settings),
    )
    return dagster


def stop_dagster(settings: Settings) -> bool:
    """Stop the demo's Dagster, also one that a killed demo left; return whether it was running.

    Its runs and Dagster itself are asked to end. After `STOP_TIMEOUT_S` all processes that are left
    in the session are killed, the JVMs included.
    """
    record_file = _record_file(settings)
    try:
        record = processes.Record(**json.loads(record_file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return False
    home = dagster_home(settings)
    members = _session_members(record.pid, home)
    was_running = bool(members)
    if was_running:
        _terminate_runs(record.port)
        for process in members:
            if process.pid == record.pid:
                _send_signal(process, signal.SIGINT)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while members and time.monotonic() < deadline:
        time.sleep(0.2)
        members = _session_members(record.pid, home)
    for process in members:
        _send_signal(process, signal.SIGKILL)
    record_file.unlink(missing_ok=True)
    return was_running


def _record_file(settings: Settings) -> Path:
    return settings.home / "local" / "dagster.pid"


def _as_environment(settings: Settings) -> dict[str, str]:
    """Return the settings as variables: Dagster runs in another folder, perhaps with a `.env`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PROMO_")}
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    return inherited | {
        f"PROMO_{name}".upper(): value.get_secret_value()
        if isinstance(value, SecretStr)
        else str(value)
        for name, value in values.items()
        if value is not None
    }


def _terminate_runs(port: int) -> None:
    """Terminate the runs as the UI does, so that they end as canceled and not as failed.

    If Dagster does not answer, they end with the session.
    """
    # Imported only where a Dagster runs: it takes a second, which `down` would always wait for.
    from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError

    errors = (DagsterGraphQLClientError, OSError, ValueError, KeyError, TypeError)
    with contextlib.suppress(*errors):
        run_ids = read_unfinished_run_ids(f"http://{HOST}:{port}", TERMINATE_TIMEOUT_S)
        DagsterGraphQLClient(HOST, port, timeout=TERMINATE_TIMEOUT_S).terminate_runs(run_ids)


def _session_members(leader: int, home: Path) -> list[psutil.Process]:
    """Return the living processes of a session that have our DAGSTER_HOME.

    The session's number alone does not suffice: it may belong to somebody else by now.
    """
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if (
                os.getsid(process.pid) == leader
                and process.environ().get("DAGSTER_HOME") == str(home)
                and processes.alive(process)
            ):
                members.append(process)
    return members


def _send_signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)

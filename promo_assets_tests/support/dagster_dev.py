"""Runs a real `dagster dev` for a test: web server, daemon, code server, and their runs."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import dagster as dg
import psutil
from dagster import DagsterRunStatus as Status

from promo_assets.local.processes import free_port
from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.daemons import QUICKLY
from promo_assets_tests.support.stream_process import kill_all, session_of
from promo_assets_tests.support.world import World

TERMINATE = """mutation ($run: String!) {
    terminateRun(runId: $run) { __typename ... on PythonError { message } }
}"""


class DagsterDev:
    """Web server, daemon and code server in a session of their own.

    Their instance folder survives them, so that `start` can start them again.
    """

    def __init__(self, world: World):
        self.home = world.home / "dagster"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text(
            "telemetry: {enabled: false}\nnux: {enabled: false}\n"
        )
        self.log = world.home / "dagster-dev.log"
        self._env = world.env | QUICKLY | {"DAGSTER_HOME": str(self.home)}
        self.instance = dg.DagsterInstance.from_config(str(self.home))
        self.start()

    def start(self) -> None:
        self.port = free_port()
        command = [Path(sys.executable).with_name("dagster"), "dev", "-w", "workspace.yaml"]
        command += ["-h", "127.0.0.1", "-p", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=PROJECT_ROOT,
                env=self._env,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # pytest in the background ignores SIGINT, and children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def members(self) -> list[psutil.Process]:
        """Return all its processes: the servers, the runs and their JVMs."""
        return [
            process for process in psutil.process_iter() if session_of(process) == self.process.pid
        ]

    def kill_everything(self) -> None:
        """Kill all processes at once, as a power failure would: none can write anything more."""
        kill_all(self.members())
        self.process.wait(20)

    def interrupt(self) -> None:
        """Send SIGINT to every process, as Ctrl-C in a terminal does.

        If only `dagster dev` got the signal, its runs would go on.
        """
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(30)

    def end(self) -> None:
        kill_all(self.members())
        self.process.wait(20)

    def runs(self, job: str = "promo_stream") -> list[dg.DagsterRun]:
        """Return the job's runs, newest first."""
        return list(self.instance.get_runs(dg.RunsFilter(job_name=job)))

    def status(self, run_id: str) -> Status:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def find_log_messages(self, run_id: str, text: str) -> list[str]:
        """Return the messages in the run's log that contain the text."""
        return [
            entry.user_message or entry.message
            for entry in self.instance.all_logs(run_id)
            if text in (entry.user_message + entry.message)
        ]

    def pid(self, run_id: str) -> int:
        """Return the pid of the run's process, which runs the stream and holds its lock."""
        first = self.find_log_messages(run_id, "Executing steps in process")[0]
        return int(re.findall(r"pid: (\d+)", first)[0])

    def terminate(self, run_id: str) -> None:
        body = json.dumps({"query": TERMINATE, "variables": {"run": run_id}}).encode()
        request = Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urlopen(request, timeout=20) as answer:
            assert json.load(answer) == {
                "data": {"terminateRun": {"__typename": "TerminateRunSuccess"}}
            }

    def web_server_answers(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/server_info", timeout=5) as answer:
                return answer.status == 200
        except (URLError, OSError):
            return False


@contextmanager
def dagster_dev(world: World) -> Iterator[DagsterDev]:
    """Run `dagster dev` until the `with` block ends; print the end of its log on a failure."""
    started = DagsterDev(world)
    try:
        yield started
    except BaseException:
        print(started.log.read_text(errors="replace")[-5_000:])
        raise
    finally:
        started.end()


def read_asset_page(dagster: DagsterDev, asset: str = "promo_notifications") -> dict[str, Any]:
    """Return what the asset's page shows: the metadata of the last materialization."""
    (record,) = dagster.instance.fetch_materializations(dg.AssetKey(asset), limit=1).records
    assert record.asset_materialization
    return {key: entry.value for key, entry in record.asset_materialization.metadata.items()}

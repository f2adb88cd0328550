"""The health check of a run, against a real code server that has the run, was restarted, or is
down."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster import DagsterRunStatus as Status
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher, WorkerStatus
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._grpc.client import DagsterGrpcClient

from promo_assets.local.processes import free_port
from promo_assets.run_launcher import HealthCheckRunLauncher
from promo_assets_tests.support.stream_process import kill_all, session_of, wait_for

pytestmark = pytest.mark.slow

# A job whose run never ends by itself.
JOBS = """
import threading
import dagster as dg

@dg.op
def wait() -> None:
    threading.Event().wait()

@dg.job(executor_def=dg.in_process_executor)
def waits() -> None:
    wait()

defs = dg.Definitions(jobs=[waits])
"""
CONFIG = """
run_launcher: {module: promo_assets.run_launcher, class: HealthCheckRunLauncher}
telemetry: {enabled: false}
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(CONFIG)
    (tmp_path / "jobs.py").write_text(JOBS)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


class CodeServer:
    """A code server whose runs end with it, as they do in a container.

    It has the same address after a restart.
    """

    def __init__(self, folder: Path):
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> DagsterGrpcClient:
        command = [
            Path(sys.executable).with_name("dagster"),
            "api",
            "grpc",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-f",
            "jobs.py",
        ]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )
        client = DagsterGrpcClient(host="127.0.0.1", port=self.port)
        wait_for(lambda: is_up(client), "an answer of the code server")
        return client

    def end(self) -> None:
        if self._process:
            kill_all(
                [each for each in psutil.process_iter() if session_of(each) == self._process.pid]
            )
            self._process.wait(20)
            self._process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CodeServer]:
    server = CodeServer(tmp_path)
    yield server
    server.end()


def is_up(client: DagsterGrpcClient) -> bool:
    try:
        return bool(client.ping("there?"))
    except DagsterUserCodeUnreachableError:
        return False


def test_only_a_run_that_its_code_server_does_not_know_is_dead(
    instance: dg.DagsterInstance, server: CodeServer
) -> None:
    launcher = instance.run_launcher
    assert isinstance(launcher, HealthCheckRunLauncher)
    client = server.start()
    origin = RemoteRepositoryOrigin(
        GrpcServerCodeLocationOrigin(host="127.0.0.1", port=server.port), "__repository__"
    )
    run = instance.create_run_for_job(
        load_job(), remote_job_origin=RemoteJobOrigin(origin, "waits")
    )
    DefaultRunLauncher.launch_run_from_grpc_client(instance, run, client)

    def read_run() -> dg.DagsterRun:
        stored = instance.get_run_by_id(run.run_id)
        assert stored
        return stored

    wait_for(lambda: read_run().status == Status.STARTED, "the start of the run")
    assert launcher.check_run_worker_health(read_run()).status == WorkerStatus.RUNNING
    server.end()
    unreachable = launcher.check_run_worker_health(read_run())
    assert unreachable.status == WorkerStatus.RUNNING
    assert "does not answer" in (unreachable.msg or "")
    server.start()
    gone = launcher.check_run_worker_health(read_run())
    assert gone.status == WorkerStatus.NOT_FOUND
    assert "restarted" in (gone.msg or "")
    assert read_run().status == Status.STARTED  # Dagster itself has not noticed
    by_hand = instance.create_run_for_job(load_job(), status=Status.STARTED)
    health = launcher.check_run_worker_health(by_hand)
    assert health.status == WorkerStatus.RUNNING
    assert "dg launch" in (health.msg or "")


def load_job() -> dg.JobDefinition:
    module: dict = {}
    exec(JOBS, module)
    return module["waits"]

"""Whether a run's process lives: a real code server is asked, which has the run, was started anew, or is away."""

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

# A run that is there until its input ends, which it never does.
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
CONFIG = "run_launcher: {module: promo_assets.run_launcher, class: HealthCheckRunLauncher}\ntelemetry: {enabled: false}\n"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(CONFIG)
    (tmp_path / "jobs.py").write_text(JOBS)
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


class CodeServer:
    """A code server whose runs end with it, as they do in a container; started again it has the same address."""

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
        wait_for(lambda: answers(client), "an answer of the code server")
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
    made = CodeServer(tmp_path)
    yield made
    made.end()


def answers(client: DagsterGrpcClient) -> bool:
    try:
        return bool(client.ping("there?"))
    except DagsterUserCodeUnreachableError:
        return False


def test_only_a_run_that_its_own_code_server_does_not_know_is_dead(
    instance: dg.DagsterInstance, server: CodeServer
) -> None:
    launcher = instance.run_launcher
    assert isinstance(launcher, HealthCheckRunLauncher)
    client = server.start()
    origin = RemoteRepositoryOrigin(
        GrpcServerCodeLocationOrigin(host="127.0.0.1", port=server.port), "__repository__"
    )
    run = instance.create_run_for_job(_job(), remote_job_origin=RemoteJobOrigin(origin, "waits"))
    DefaultRunLauncher.launch_run_from_grpc_client(instance, run, client)

    def now() -> dg.DagsterRun:
        found = instance.get_run_by_id(run.run_id)
        assert found
        return found

    wait_for(lambda: now().status == Status.STARTED, "the start of the run")
    assert launcher.check_run_worker_health(now()).status == WorkerStatus.RUNNING
    server.end()
    away = launcher.check_run_worker_health(now())
    assert (away.status, away.msg) == (WorkerStatus.RUNNING, "its code server does not answer")
    server.start()
    gone = launcher.check_run_worker_health(now())
    assert (gone.status, gone.msg) == (
        WorkerStatus.NOT_FOUND,
        "its code server was started anew, and the run is gone",
    )
    assert now().status == Status.STARTED  # nobody else would have noticed
    by_hand = instance.create_run_for_job(_job(), status=Status.STARTED)
    assert launcher.check_run_worker_health(by_hand).status == WorkerStatus.RUNNING


def _job() -> dg.JobDefinition:
    made: dict = {}
    exec(JOBS, made)
    return made["waits"]

"""Dagster's own launcher, and what it lacks: to find out whether a run's process still lives.

A run that went with its container would be STARTED for ever, and keep its place in the queue from the others.
"""

from dagster import DagsterRun, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

CODE_SERVER_TIMEOUT_S = 10


class HealthCheckRunLauncher(DefaultRunLauncher):
    """Asks the code server that a run was launched in: it knows its own runs, and one that was started anew knows none."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Dead is only what its server does not know. Where nobody can be asked, a run counts as alive: it may well be."""
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return CheckRunHealthResult(
                WorkerStatus.RUNNING,
                "no code server has it: `dg launch` runs it, or it has just ended",
            )
        try:
            answer = client.can_cancel_execution(
                CanCancelExecutionRequest(run_id=run.run_id), timeout=CODE_SERVER_TIMEOUT_S
            )
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server does not answer")
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, "its code server was started anew, and the run is gone"
        )

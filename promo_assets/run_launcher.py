"""Dagster's default run launcher, extended by a check whether a run's process is still alive.

Without it, a run that ended with its container would stay STARTED forever and keep its place in the
queue.
"""

from dagster import DagsterRun, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

CODE_SERVER_TIMEOUT_S = 10


class HealthCheckRunLauncher(DefaultRunLauncher):
    """A launcher that asks the code server which a run was launched in whether it has the run.

    A code server knows the runs that it started; after a restart it knows none.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Returns NOT_FOUND only if the run's code server does not know the run.

        If no code server can be asked, returns RUNNING, because the run may still be alive.
        """
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return CheckRunHealthResult(
                WorkerStatus.RUNNING,
                "No code server has the run: `dg launch` runs it, or it has just ended.",
            )
        try:
            reply = client.can_cancel_execution(
                CanCancelExecutionRequest(run_id=run.run_id), timeout=CODE_SERVER_TIMEOUT_S
            )
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, "The run's code server does not answer."
            )
        if deserialize_value(reply, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, "The run's code server was restarted, and the run is gone."
        )

"""Runs of Dagster's jobs for the demo, and what Dagster recorded of them.

The Dagster that the demo started launches the runs, as its UI does, so that they end with it.
"""

import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from dagster import DagsterRunStatus as Status
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError

from promo_assets.commands.console import CommandError
from promo_assets.commands.dagster_dev import HOST
from promo_assets.commands.dagster_queries import read_events, read_row_counts
from promo_assets.commands.demo.session import DemoSession

RUN_START_TIMEOUT_S, QUERY_TIMEOUT_S = 180, 30
NOT_STARTED = (Status.QUEUED, Status.NOT_STARTED, Status.STARTING)
NOT_ENDED = (Status.STARTED, Status.CANCELING)
# Runs of a backfill may still be queued from before the demo: a run of the demo goes first.
PRIORITY = {"dagster/priority": "5"}


class Runs:
    def __init__(self, session: DemoSession):
        self._session = session
        self._log = session.dagster.log
        self._client = DagsterGraphQLClient(
            HOST, port_number=session.dagster.port, timeout=QUERY_TIMEOUT_S
        )

    def run(
        self, job: str, day: date | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        """Run a job to its end; raises `CommandError` if it does not succeed."""
        run_id = self._launch(job, day, config or {})
        self._session.wait_until(
            lambda: self._read_status(run_id) not in NOT_STARTED,
            RUN_START_TIMEOUT_S,
            f"The run of {job} did not start",
        )
        self._session.wait_until(
            lambda: self._read_status(run_id) not in NOT_ENDED,
            math.inf,
            f"The run of {job} did not end",
        )
        status = self._read_status(run_id)
        if status != Status.SUCCESS:
            is_failure = status == Status.FAILURE
            reason = self._read_failure(run_id) if is_failure else f"it ended as {status.value}"
            raise CommandError(f"The job {job} failed: {reason}. See {self._log}, run {run_id}")

    def count_rows(self, asset: str, days: Iterable[date]) -> dict[date, int]:
        """Return the recorded rows of those of the days that Dagster has a materialization of."""
        with self._dagster_errors():
            return read_row_counts(self._session.dagster.url, QUERY_TIMEOUT_S, asset, days)

    def _launch(self, job: str, day: date | None, config: Mapping[str, Any]) -> str:
        """Return the run's id."""
        tags = PRIORITY | ({"dagster/partition": str(day)} if day else {})
        with self._dagster_errors():
            try:
                return self._client.submit_job_execution(
                    job,
                    repository_location_name="promo_assets",
                    repository_name="__repository__",
                    run_config=config,
                    tags=tags,
                )
            except DagsterGraphQLClientError as error:
                if error.__cause__ is not None:
                    raise
                reason = shorten_message(str(error.args[-1]))
                raise CommandError(
                    f"Dagster did not launch the job {job}: {reason}. See {self._log}"
                ) from error

    def _read_status(self, run_id: str) -> Status:
        with self._dagster_errors():
            return self._client.get_run_status(run_id)

    def _read_failure(self, run_id: str) -> str:
        with self._dagster_errors():
            return find_failure(read_events(self._session.dagster.url, QUERY_TIMEOUT_S, run_id))

    @contextlib.contextmanager
    def _dagster_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, DagsterGraphQLClientError) as error:
            # The client's own message is its query; what went wrong is the cause.
            reason = error.__cause__ or error
            raise CommandError(f"Dagster did not answer: {reason}. See {self._log}") from error


def find_failure(events: list[dict[str, Any]]) -> str:
    """Return why a run failed: the innermost cause of its first error, else its last message."""
    for event in events:
        if error := event.get("error"):
            innermost = [error, *error["causes"]][-1]
            return shorten_message(innermost["message"])
    messages = [event["message"] for event in events if event.get("message")]
    return shorten_message(messages[-1] if messages else "no more is known")


def shorten_message(message: str) -> str:
    """Return the first line, without the name of the error's class and without a full stop."""
    first = message.strip().partition("\n")[0]
    return re.sub(r"^(\w+\.)+\w+: ", "", first).rstrip(". ")

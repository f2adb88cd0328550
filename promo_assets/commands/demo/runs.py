"""What the demo asks of Dagster, as the UI does it: to run a job, and what was recorded of a day."""

import json
import math
import re
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from promo_assets.commands.console import CommandError
from promo_assets.commands.dagster_dev import DagsterDev

STARTS_S, ANSWER_S = 180, 30

LAUNCH = """mutation($params: ExecutionParams!) {launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess {run {runId}} ... on Error {message}}}"""
STATUS = "query($id: ID!) {runOrError(runId: $id) {... on Run {status}}}"
EVENTS = """query($id: ID!, $after: String) {runOrError(runId: $id) {... on Run {eventConnection(afterCursor: $after) {cursor hasMore
    events {... on MessageEvent {message} ... on ErrorEvent {error {message causes {message}}}}}}}}"""
RECORDED = """query($key: AssetKeyInput!, $days: [String!]) {assetNodeOrError(assetKey: $key) {... on AssetNode {
    latestMaterializationByPartition(partitions: $days) {partition metadataEntries {label ... on IntMetadataEntry {intRepr}}}}}}"""

Wait = Callable[
    [Callable[[], bool], float, str], None
]  # until something is so, for so many seconds, else this failure


class Runs:
    """A run is launched by the Dagster that the demo started: it ends with that one, too."""

    def __init__(self, dagster: DagsterDev, wait: Wait):
        self._dagster = dagster
        self._wait = wait

    def run(
        self, job: str, day: date | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        """Raises `CommandError` where the run does not succeed."""
        where = {
            "repositoryLocationName": "promo_assets",
            "repositoryName": "__repository__",
            "jobName": job,
        }
        tags = [
            {"key": "dagster/priority", "value": "5"}
        ]  # runs of a backfill may wait here from the time before
        if day:
            tags.append({"key": "dagster/partition", "value": str(day)})
        params = {
            "selector": where,
            "runConfigData": config or {},
            "executionMetadata": {"tags": tags},
        }
        launched = self._ask(LAUNCH, params=params)["launchRun"]
        if "run" not in launched:
            raise CommandError(
                f"{job} was not launched: {plain(launched.get('message', launched['__typename']))}. See {self._dagster.log}"
            )
        run_id = launched["run"]["runId"]

        def status() -> str:
            return self._ask(STATUS, id=run_id)["runOrError"]["status"]

        self._wait(
            lambda: status() not in ("QUEUED", "NOT_STARTED", "STARTING"),
            STARTS_S,
            f"the run of {job} did not start",
        )
        self._wait(
            lambda: status() not in ("STARTED", "CANCELING"),
            math.inf,
            f"the run of {job} did not end",
        )
        if (ended := status()) != "SUCCESS":
            why = f"failed: {self._failure(run_id)}" if ended == "FAILURE" else f"ended as {ended}"
            raise CommandError(f"{job} {why}. See {self._dagster.log}, run {run_id}")

    def rows(self, asset: str, days: Iterable[date]) -> dict[date, int]:
        """Of each of the days that Dagster has a materialization of."""
        variables = {"key": {"path": asset.split("/")}, "days": [str(day) for day in days]}
        found = self._ask(RECORDED, **variables)["assetNodeOrError"][
            "latestMaterializationByPartition"
        ]
        return {
            date.fromisoformat(each["partition"]): int(entry["intRepr"])
            for each in found
            for entry in (each or {"metadataEntries": []})["metadataEntries"]
            if entry["label"] == "dagster/row_count"
        }

    def _failure(self, run_id: str) -> str:
        events, cursor, more = [], None, True
        while more:
            part = self._ask(EVENTS, id=run_id, after=cursor)["runOrError"]["eventConnection"]
            events += part["events"]
            cursor, more = part["cursor"], part["hasMore"]
        return failure_of(events)

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self._dagster.url}/graphql", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                return json.load(answer)["data"]
        except OSError as error:
            raise CommandError(
                f"Dagster gave no answer: {error}. See {self._dagster.log}"
            ) from error


def failure_of(events: list[dict[str, Any]]) -> str:
    """Why a run failed, in one line: the innermost cause of its first error, else what was said last."""
    for event in events:
        if error := event.get("error"):
            return plain([error, *error["causes"]][-1]["message"])
    return plain(
        next(
            (event["message"] for event in reversed(events) if event.get("message")),
            "no more is known",
        )
    )


def plain(message: str) -> str:
    """The first line, without the name of the error's class and without a full stop."""
    return re.sub(r"^(\w+\.)+\w+: ", "", message.strip().partition("\n")[0]).rstrip(". ")

"""GraphQL queries to a running Dagster that its own client, `DagsterGraphQLClient`, does not have.

The client submits runs, terminates them and reads their status.
"""

import json
import urllib.request
from collections.abc import Iterable
from datetime import date
from typing import Any

_UNFINISHED_RUNS = """
{runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED]}) {
    ... on Runs {results {runId}}}}"""
_EVENTS = """
query($id: ID!, $after: String) {runOrError(runId: $id) {... on Run {
    eventConnection(afterCursor: $after) {cursor hasMore events {
        ... on MessageEvent {message}
        ... on ErrorEvent {error {message causes {message}}}}}}}}"""
_MATERIALIZATIONS = """
query($key: AssetKeyInput!, $days: [String!]) {assetNodeOrError(assetKey: $key) {... on AssetNode {
    latestMaterializationByPartition(partitions: $days) {
        partition metadataEntries {label ... on IntMetadataEntry {intRepr}}}}}}"""


def read_unfinished_run_ids(url: str, timeout_s: float) -> list[str]:
    """Raises `OSError` where Dagster does not answer, as all functions of this module do."""
    runs = _query(url, timeout_s, _UNFINISHED_RUNS)["runsOrError"]["results"]
    return [run["runId"] for run in runs]


def read_events(url: str, timeout_s: float, run_id: str) -> list[dict[str, Any]]:
    """Return a run's events, oldest first, each with a `message` or an `error` or neither."""
    events: list[dict[str, Any]] = []
    cursor, has_more = None, True
    while has_more:
        run = _query(url, timeout_s, _EVENTS, id=run_id, after=cursor)["runOrError"]
        page = run["eventConnection"]
        events += page["events"]
        cursor, has_more = page["cursor"], page["hasMore"]
    return events


def read_row_counts(
    url: str, timeout_s: float, asset: str, days: Iterable[date]
) -> dict[date, int]:
    """Return the row count that Dagster recorded last for each materialized day of an asset."""
    key, partitions = {"path": asset.split("/")}, [str(day) for day in days]
    node = _query(url, timeout_s, _MATERIALIZATIONS, key=key, days=partitions)["assetNodeOrError"]
    return {
        date.fromisoformat(materialization["partition"]): int(entry["intRepr"])
        for materialization in node["latestMaterializationByPartition"]
        if materialization is not None
        for entry in materialization["metadataEntries"]
        if entry["label"] == "dagster/row_count"
    }


def _query(url: str, timeout_s: float, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout_s) as response:
        return json.load(response)["data"]

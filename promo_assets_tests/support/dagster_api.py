"""Calls Dagster's GraphQL interface."""

import json
from typing import Any
from urllib.request import Request

from promo_assets_tests.support.daemons import DIRECTLY

_LAUNCH_RUN = """mutation ($params: ExecutionParams!) {
    launchRun(executionParams: $params) {
        __typename
        ... on LaunchRunSuccess { run { runId } }
        ... on Error { message }
    }
}"""


def query_dagster(url: str, query: str, **variables: Any) -> dict[str, Any]:
    """Return the data of a GraphQL query to the web server at `url`."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with DIRECTLY.open(request, timeout=60) as answer:
        return json.load(answer)["data"]


def launch_params(job: str, **more: Any) -> dict[str, Any]:
    """Return the parameters to launch a job; `more` is added to the selector."""
    selector = {
        "repositoryLocationName": "promo_assets",
        "repositoryName": "__repository__",
        "jobName": job,
    }
    return {"selector": selector | more, "runConfigData": {}}


def launch_run(url: str, params: dict[str, Any]) -> str:
    """Launch a run and return its id. Fails the test if Dagster refuses it."""
    result = query_dagster(url, _LAUNCH_RUN, params=params)["launchRun"]
    assert result["__typename"] == "LaunchRunSuccess", result
    return result["run"]["runId"]

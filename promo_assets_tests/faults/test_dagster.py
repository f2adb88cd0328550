"""The stream under a real `dagster dev`: however it ends, the sensor starts it again.

Each campaign arrives once.
"""

import time
from collections.abc import Callable, Iterator

import dagster as dg
import psutil
import psycopg
import pytest
from dagster import DagsterRunStatus as Status

from promo_assets.stream.ledger.lease import read_heartbeat
from promo_assets_tests.support.dagster_dev import DagsterDev, dagster_dev, read_asset_page
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

ENDED_BY_SENSOR = "The sensor found this run dead"
NOW = int(time.time())
# A session and its first micro-batch take 10 s on an idle machine, and much longer on a busy one.
ARRIVAL_S = 180
TEXTS = {"state", "last_error", "waiting_campaigns", "latest_rejections"}
FAVOURITES = {(f"client-{number}", "restaurant") for number in range(3_000)}


@pytest.fixture
def dagster(world: World) -> Iterator[DagsterDev]:
    with dagster_dev(world) as started:
        yield started


class Scenario:
    """A world with a stream under `dagster dev`, the campaigns sent to it, and a clock of steps."""

    def __init__(self, world: World, dagster: DagsterDev, report: Callable[[str], None]):
        self.world = world
        self.dagster = dagster
        self.report = report
        self.sent: list[dict] = []
        world.favour(sorted(FAVOURITES))

    def send(self) -> None:
        number = len(self.sent)
        self.sent.append(campaign("restaurant", f"promo-{number}", NOW - 100, NOW + 86_400))
        self.world.send(self.sent[-1], partition=len(self.sent) % 3)

    def await_arrival(self, what: str) -> str:
        """Wait until every campaign has reached every client. Returns the run that is streaming."""
        wait_for(self._has_arrived, what, ARRIVAL_S)
        run_id = self._find_streaming_run()
        assert run_id
        return run_id

    def _has_arrived(self) -> bool:
        rows = self.world.execute("SELECT count(*) FROM subscribers_feedback")
        expected = len(self.sent) * len(FAVOURITES)
        return rows == [(expected,)] and problems(self.world, self.sent, [FAVOURITES]) == []

    def _find_streaming_run(self) -> str | None:
        """Return the one unfinished run, if it holds the lock."""
        with psycopg.connect(self.world.postgres_url) as connection:
            heartbeat = read_heartbeat(connection)
        unfinished = [run.run_id for run in self.dagster.runs() if not run.is_finished]
        if unfinished and heartbeat.locked and heartbeat.holder == f"dagster run {unfinished[0]}":
            return unfinished[0]
        return None

    def await_status(self, run_id: str, status: Status, what: str, seconds: float) -> None:
        wait_for(lambda: self.dagster.status(run_id) == status, what, seconds)


@pytest.fixture
def scenario(world: World, dagster: DagsterDev, capsys: pytest.CaptureFixture[str]) -> Scenario:
    """A scenario that prints how long each step took."""
    last = [time.monotonic()]

    def report(step: str) -> None:
        with capsys.disabled():
            print(f"\n  {time.monotonic() - last[0]:5.1f} s {step}", end="", flush=True)
        last[0] = time.monotonic()

    return Scenario(world, dagster, report)


@pytest.mark.timeout(900)
def test_the_sensor_restarts_the_stream_after_every_end_and_each_campaign_arrives_once(
    scenario: Scenario,
) -> None:
    dagster = scenario.dagster
    scenario.send()
    first = scenario.await_arrival("the first campaign, by a run that the sensor started")
    scenario.report("to the first campaign's arrival")
    assert len(dagster.runs()) == 1
    check_metrics(scenario, first)
    check_pages(scenario)

    terminate(scenario, first)
    scenario.send()
    second = scenario.await_arrival("the campaign after the termination")
    scenario.report("to the arrival of the next campaign")

    scenario.send()
    psutil.Process(dagster.pid(second)).kill()
    scenario.await_status(second, Status.FAILURE, "the killed run as failed", 20)
    third = scenario.await_arrival("the campaign around the kill of the run")
    scenario.report("from the kill of the run to the arrival of the next campaign")

    dagster.kill_everything()
    assert dagster.status(third) == Status.STARTED  # nobody has recorded its death
    scenario.send()
    dagster.start()
    scenario.await_status(third, Status.FAILURE, "the dead run as failed", ARRIVAL_S)
    assert ENDED_BY_SENSOR in dagster.find_log_messages(third, ENDED_BY_SENSOR)[0]
    scenario.report("from the kill of everything to the report of the dead run")
    fourth = scenario.await_arrival("the campaign after the kill of everything")
    scenario.report("to the arrival of the next campaign")

    assert [(run.run_id, run.status) for run in dagster.runs()] == [
        (fourth, Status.STARTED),
        (third, Status.FAILURE),
        (second, Status.FAILURE),
        (first, Status.CANCELED),
    ]
    interrupt(scenario)
    assert problems(scenario.world, scenario.sent, [FAVOURITES]) == []


def interrupt(scenario: Scenario) -> None:
    scenario.dagster.interrupt()
    wait_for(lambda: scenario.dagster.members() == [], "the end of all processes", 20)
    scenario.report("to the end of `dagster dev`")


def check_metrics(scenario: Scenario, run_id: str) -> None:
    """The output topic's page shows the first campaign, and how far the stream is behind."""
    dagster = scenario.dagster

    def read_metrics_with_lag() -> dict | None:
        metrics = read_metrics(dagster, run_id, "notifications", len(FAVOURITES))
        return metrics if metrics and "lag_messages" in metrics else None

    metrics = wait_for(read_metrics_with_lag, "metrics of the output topic and its lag", 15)
    expected = {"campaigns": 1, "notifications": 3_000, "rejected": 0, "expired": 0, "waiting": 0}
    expected |= {"lag_messages": 0, "lag_seconds": 0}
    assert {name: metrics[name] for name in expected} == expected
    positive = (
        "batches",
        "rows_per_second",
        "batch_seconds",
        "last_batch_latency_seconds",
        "notifications_per_minute",
    )
    assert all(metrics[name] > 0 for name in positive)
    assert (read_asset_page(dagster)["state"], read_asset_page(dagster)["last_error"]) == (
        "running",
        "none",
    )
    scenario.report("to its metrics")


def check_pages(scenario: Scenario) -> None:
    """The pages show a campaign that waits and a message that was rejected."""
    dagster = scenario.dagster
    waiting = campaign("restaurant", "waits | for *it*", NOW + 80_000, NOW + 86_400)
    scenario.world.send(waiting, b"broken")
    page = wait_for(
        lambda: (now := read_asset_page(dagster))["waiting"] == now["rejected"] == 1 and now,
        "the waiting campaign and the rejected message on the page",
        30,
    )
    assert "waits \\| for \\*it\\* |" in page["waiting_campaigns"]
    assert "| the value is not JSON: Expecting value (character 0) |" in page["latest_rejections"]
    dead_letters = dg.AssetKey("promo_dead_letters")
    wait_for(
        lambda: dagster.instance.get_latest_materialization_event(dead_letters),
        "the rejected message on the dead letters' page",
        15,
    )
    assert (
        read_asset_page(dagster, "promo_dead_letters")["latest_rejections"]
        == page["latest_rejections"]
    )
    assert abs(time.time() - page["heartbeat"]) < 30
    assert NOW < page["running_since"] < page["heartbeat"]


def terminate(scenario: Scenario, run_id: str) -> None:
    """A terminated run is canceled, and its processes are gone, within 10 s."""
    dagster = scenario.dagster
    wait_for(dagster.web_server_answers, "the web server", 60)
    process = psutil.Process(dagster.pid(run_id))
    family = [process, *process.children(recursive=True)]
    assert any("java" in member.name() for member in family)
    began = time.monotonic()
    dagster.terminate(run_id)
    scenario.await_status(run_id, Status.CANCELED, "the terminated run as canceled", 10)
    assert psutil.wait_procs(family, 10 - (time.monotonic() - began))[1] == []
    assert read_asset_page(dagster)["state"] == "stopped"
    scenario.report("to the end of the terminated run and of its processes")


def read_metrics(
    dagster: DagsterDev, run_id: str, name: str, value: float
) -> dict[str, float] | None:
    """Return the numeric metadata of the run's last materialization in which `name` has this value.

    Those of the output topic and of the feedback table must agree.
    """
    found = []
    for asset in ("promo_notifications", "subscribers_feedback"):
        records = dagster.instance.fetch_materializations(dg.AssetKey(asset), limit=50).records
        events = [record.asset_materialization for record in records if record.run_id == run_id]
        numbers = [
            {key: entry.value for key, entry in event.metadata.items() if key not in TEXTS}
            for event in events
            if event
        ]
        found += [metrics for metrics in numbers if metrics[name] == value][:1]
        assert all(
            isinstance(each, int | float) for metrics in numbers for each in metrics.values()
        )
    return found[0] if len(found) == 2 and found[0] == found[1] else None

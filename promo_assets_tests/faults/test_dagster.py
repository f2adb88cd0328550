"""The stream under a real `dagster dev`: the sensor starts it, follows it up however it ends, and each campaign arrives once."""

import time
from collections.abc import Iterator

import dagster as dg
import psutil
import psycopg
import pytest
from dagster import DagsterRunStatus as Status

from promo_assets.stream.ledger.lease import read_heartbeat
from promo_assets_tests.support.dagster_dev import DagsterDev, dagster_dev, page_of
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

ENDED_BY_SENSOR = "The sensor found this run dead"
NOW = int(time.time())
ARRIVAL_S = 180  # a session and its first micro-batch take 10 s on a quiet machine, and much longer on a busy one
TEXTS = {"state", "last_error", "waiting_campaigns", "latest_rejections"}
FAVOURITES = {(f"client-{number}", "restaurant") for number in range(3_000)}


@pytest.fixture
def dagster(world: World) -> Iterator[DagsterDev]:
    with dagster_dev(world) as started:
        yield started


@pytest.fixture
def clock(capsys: pytest.CaptureFixture[str]):
    """Says how long each step took."""
    last = [time.monotonic()]

    def said(step: str) -> None:
        with capsys.disabled():
            print(f"\n  {time.monotonic() - last[0]:5.1f} s {step}", end="", flush=True)
        last[0] = time.monotonic()

    return said


@pytest.mark.timeout(900)
def test_the_keeper_follows_up_every_end_and_each_campaign_arrives_once(
    world: World, dagster: DagsterDev, clock
) -> None:
    world.favour(sorted(FAVOURITES))
    sent: list[dict] = []

    def send() -> None:
        sent.append(campaign("restaurant", f"promo-{len(sent)}", NOW - 100, NOW + 86_400))
        world.send(sent[-1], partition=len(sent) % 3)

    def arrived() -> bool:
        wanted = len(sent) * len(FAVOURITES)
        return (
            world.execute("SELECT count(*) FROM subscribers_feedback") == [(wanted,)]
            and problems(world, sent, [FAVOURITES]) == []
        )

    def streams() -> str | None:
        """The one run that holds the lock."""
        with psycopg.connect(world.postgres_url) as connection:
            heartbeat = read_heartbeat(connection)
        living = [run.run_id for run in dagster.runs() if not run.is_finished]
        return (
            living[0]
            if living and heartbeat.locked and heartbeat.holder == f"dagster run {living[0]}"
            else None
        )

    send()
    wait_for(arrived, "the first campaign, by a run that the sensor started", ARRIVAL_S)
    first = streams()
    assert first
    clock("to the first campaign's arrival")
    assert len(dagster.runs()) == 1

    def plots() -> dict | None:
        found = metrics(dagster, first, "notifications", len(FAVOURITES))
        return found if found and "lag_messages" in found else None

    plotted = wait_for(plots, "metrics of the output topic, and how far it is behind", 15)
    counted = (
        "campaigns",
        "notifications",
        "rejected",
        "expired",
        "waiting",
        "lag_messages",
        "lag_seconds",
    )
    assert {name: plotted[name] for name in counted} == {
        "campaigns": 1, "notifications": 3_000, "rejected": 0, "expired": 0, "waiting": 0, "lag_messages": 0, "lag_seconds": 0,
    }  # fmt: skip
    moved = (
        "batches",
        "rows_per_second",
        "batch_seconds",
        "last_batch_latency_seconds",
        "notifications_per_minute",
    )
    assert all(plotted[name] > 0 for name in moved)
    assert (page_of(dagster)["state"], page_of(dagster)["last_error"]) == ("running", "none")
    clock("to its metrics")

    waits = campaign("restaurant", "waits | for *it*", NOW + 80_000, NOW + 86_400)
    world.send(waits, b"broken")
    shown = wait_for(
        lambda: (now := page_of(dagster))["waiting"] == now["rejected"] == 1 and now,
        "what waits and was rejected on the page",
        30,
    )
    assert "waits \\| for \\*it\\* |" in shown["waiting_campaigns"]
    assert "| the value is not JSON: Expecting value (character 0) |" in shown["latest_rejections"]
    dead_letters = dg.AssetKey("promo_dead_letters")
    wait_for(
        lambda: dagster.instance.get_latest_materialization_event(dead_letters),
        "what was rejected on the dead letters' page",
        15,
    )
    assert page_of(dagster, "promo_dead_letters")["latest_rejections"] == shown["latest_rejections"]
    assert abs(time.time() - shown["heartbeat"]) < 30
    assert NOW < shown["running_since"] < shown["heartbeat"]

    wait_for(dagster.web_server_answers, "the web server", 60)
    process = psutil.Process(dagster.pid(first))
    family = [process, *process.children(recursive=True)]
    assert any("java" in member.name() for member in family)
    began = time.monotonic()
    dagster.terminate(first)
    wait_for(lambda: dagster.status(first) == Status.CANCELED, "the terminated run as canceled", 10)
    assert psutil.wait_procs(family, 10 - (time.monotonic() - began))[1] == []
    assert page_of(dagster)["state"] == "stopped"
    clock("to the end of the terminated run and of its processes")
    send()
    wait_for(arrived, "the campaign after the termination", ARRIVAL_S)
    second = streams()
    assert second
    clock("to the arrival of the next campaign")

    send()
    psutil.Process(dagster.pid(second)).kill()
    wait_for(lambda: dagster.status(second) == Status.FAILURE, "the killed run as failed", 20)
    wait_for(arrived, "the campaign around the kill of the run", ARRIVAL_S)
    third = streams()
    assert third
    clock("from the kill of the run to the arrival of the next campaign")

    dagster.kill_everything()
    assert dagster.status(third) == Status.STARTED  # nobody noted its death
    send()
    dagster.start()
    wait_for(lambda: dagster.status(third) == Status.FAILURE, "the dead run as failed", ARRIVAL_S)
    assert ENDED_BY_SENSOR in dagster.said(third, ENDED_BY_SENSOR)[0]
    clock("from the kill of everything to the report of the dead run")
    wait_for(arrived, "the campaign after the kill of everything", ARRIVAL_S)
    fourth = streams()
    assert fourth
    clock("to the arrival of the next campaign")

    assert [(run.run_id, run.status) for run in dagster.runs()] == [
        (fourth, Status.STARTED), (third, Status.FAILURE), (second, Status.FAILURE), (first, Status.CANCELED),
    ]  # fmt: skip
    dagster.interrupt()
    wait_for(lambda: dagster.members() == [], "the end of all processes", 20)
    clock("to the end of `dagster dev`")
    assert problems(world, sent, [FAVOURITES]) == []


def metrics(dagster: DagsterDev, run_id: str, name: str, value: float) -> dict[str, float] | None:
    """The numeric metadata of the run's last materialization of the output topic with this value; of the feedback table alike."""
    found = []
    for asset in ("promo_notifications", "subscribers_feedback"):
        records = dagster.instance.fetch_materializations(dg.AssetKey(asset), limit=50).records
        of_run = [record.asset_materialization for record in records if record.run_id == run_id]
        numbers = [
            {key: entry.value for key, entry in event.metadata.items() if key not in TEXTS}
            for event in of_run
            if event
        ]
        found += [shown for shown in numbers if shown[name] == value][:1]
        assert all(
            isinstance(number, int | float) for shown in numbers for number in shown.values()
        )
    return found[0] if len(found) == 2 and found[0] == found[1] else None

"""The stream under a real `dagster dev`: the keeper starts it, follows it up however it ends, and each campaign arrives once."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import dagster as dg
import psutil
import psycopg
import pytest
from dagster import DagsterRunStatus as Status

from promo_assets.settings import PROJECT_ROOT
from promo_assets.stream.turn import read_heartbeat
from promo_assets_tests.expectation import campaign, problems
from promo_assets_tests.faults.stream_process import kill_all, session_of, wait_for
from promo_assets_tests.world import World

TERMINATE = """mutation ($run: String!) { terminateRun(runId: $run) { __typename ... on PythonError { message } } }"""
ENDED_BY_KEEPER = "The keeper found this run dead"
NOW = int(time.time())
ARRIVAL_S = 180  # a session and its first micro-batch take 10 s on a quiet machine, and much longer on a busy one
TEXTS = {"state", "last_error", "waiting_campaigns", "latest_rejections"}
FAVOURITES = {(f"client-{number}", "restaurant") for number in range(3_000)}


class DagsterDev:
    """Web server, daemon and code server in a session of their own, with an instance folder that outlives them."""

    def __init__(self, world: World):
        self.home = world.home / "dagster"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        self.log = world.home / "dagster-dev.log"
        self._env = world.env | {"DAGSTER_HOME": str(self.home)}
        self.instance = dg.DagsterInstance.from_config(str(self.home))
        self.start()

    def start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [Path(sys.executable).with_name("dagster"), "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=PROJECT_ROOT, env=self._env, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job's is ignored
            )  # fmt: skip

    def members(self) -> list[psutil.Process]:
        """All processes of it: the servers, the runs and their JVMs."""
        return [process for process in psutil.process_iter() if session_of(process) == self.process.pid]

    def kill_everything(self) -> None:
        """As if the machine had lost its power: nobody can note anything any more."""
        kill_all(self.members())
        self.process.wait(20)

    def interrupt(self) -> None:
        """As Ctrl-C in a terminal does: every process gets the signal. With one to `dagster dev` alone, its runs would go on."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(30)

    def end(self) -> None:
        kill_all(self.members())
        self.process.wait(20)

    def runs(self) -> list[dg.DagsterRun]:
        """Newest first."""
        return list(self.instance.get_runs(dg.RunsFilter(job_name="promo_stream")))

    def status(self, run_id: str) -> Status:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def said(self, run_id: str, what: str) -> list[str]:
        return [
            entry.user_message or entry.message for entry in self.instance.all_logs(run_id) if what in (entry.user_message + entry.message)
        ]

    def pid(self, run_id: str) -> int:
        """Of the run's process: its stream holds the lock from within it."""
        return int(re.findall(r"pid: (\d+)", self.said(run_id, "Executing steps in process")[0])[0])

    def terminate(self, run_id: str) -> None:
        body = json.dumps({"query": TERMINATE, "variables": {"run": run_id}}).encode()
        request = Request(f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=20) as answer:
            assert json.load(answer) == {"data": {"terminateRun": {"__typename": "TerminateRunSuccess"}}}

    def web_server_answers(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/server_info", timeout=5) as answer:
                return answer.status == 200
        except (URLError, OSError):
            return False


@pytest.fixture
def dagster(world: World) -> Iterator[DagsterDev]:
    started = DagsterDev(world)
    try:
        yield started
    except BaseException:
        print(started.log.read_text(errors="replace")[-5_000:])
        raise
    finally:
        started.end()


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
def test_the_keeper_follows_up_every_end_and_each_campaign_arrives_once(world: World, dagster: DagsterDev, clock) -> None:
    world.favour(sorted(FAVOURITES))
    sent: list[dict] = []

    def send() -> None:
        sent.append(campaign("restaurant", f"promo-{len(sent)}", NOW - 100, NOW + 86_400))
        world.send(sent[-1], partition=len(sent) % 3)

    def arrived() -> bool:
        wanted = len(sent) * len(FAVOURITES)
        return world.execute("SELECT count(*) FROM subscribers_feedback") == [(wanted,)] and problems(world, sent, [FAVOURITES]) == []

    def streams() -> str | None:
        """The one run that holds the lock."""
        with psycopg.connect(world.postgres_url) as connection:
            heartbeat = read_heartbeat(connection)
        living = [run.run_id for run in dagster.runs() if not run.is_finished]
        return living[0] if living and heartbeat.locked and heartbeat.holder == f"dagster run {living[0]}" else None

    send()
    wait_for(arrived, "the first campaign, by a run that the keeper started", ARRIVAL_S)
    first = streams()
    assert first
    clock("to the first campaign's arrival")
    assert len(dagster.runs()) == 1

    def plots() -> dict | None:
        found = figures(dagster, first, "notifications", len(FAVOURITES))
        return found if found and "lag_messages" in found else None

    plotted = wait_for(plots, "figures of the output topic, and how far it is behind", 15)
    assert {name: plotted[name] for name in ("campaigns", "notifications", "rejected", "expired", "waiting", "lag_messages")} == {
        "campaigns": 1, "notifications": 3_000, "rejected": 0, "expired": 0, "waiting": 0, "lag_messages": 0,
    }  # fmt: skip
    assert all(plotted[name] > 0 for name in ("batches", "lag_seconds", "rows_per_second", "batch_seconds", "notifications_per_minute"))
    assert (page(dagster)["state"], page(dagster)["last_error"]) == ("running", "none")
    clock("to its figures")

    waits = campaign("restaurant", "waits | for *it*", NOW + 80_000, NOW + 86_400)
    world.send(waits, b"broken")
    shown = wait_for(
        lambda: (now := page(dagster))["waiting"] == now["rejected"] == 1 and now, "what waits and was rejected on the page", 30
    )
    assert "waits \\| for \\*it\\* |" in shown["waiting_campaigns"]
    assert "| the value is not JSON: Expecting value (character 0) |" in shown["latest_rejections"]
    assert page(dagster, "promo_dead_letters")["latest_rejections"] == shown["latest_rejections"]
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
    assert page(dagster)["state"] == "stopped"
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
    assert ENDED_BY_KEEPER in dagster.said(third, ENDED_BY_KEEPER)[0]
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


def figures(dagster: DagsterDev, run_id: str, name: str, value: float) -> dict[str, float] | None:
    """The numeric metadata of the run's last materialization of the output topic with this value; of the feedback table alike."""
    found = []
    for asset in ("promo_notifications", "subscribers_feedback"):
        records = dagster.instance.fetch_materializations(dg.AssetKey(asset), limit=50).records
        of_run = [record.asset_materialization for record in records if record.run_id == run_id]
        numbers = [{key: entry.value for key, entry in event.metadata.items() if key not in TEXTS} for event in of_run if event]
        found += [shown for shown in numbers if shown[name] == value][:1]
        assert all(isinstance(number, int | float) for shown in numbers for number in shown.values())
    return found[0] if len(found) == 2 and found[0] == found[1] else None


def page(dagster: DagsterDev, asset: str = "promo_notifications") -> dict[str, Any]:
    """What its page shows: the metadata of the last event, be that a materialization or an observation."""
    key = dg.AssetKey(asset)
    records = [*dagster.instance.fetch_materializations(key, limit=1).records, *dagster.instance.fetch_observations(key, limit=1).records]
    newest = max(records, key=lambda record: record.storage_id)
    event = newest.asset_materialization or newest.asset_observation
    assert event
    return {key: entry.value for key, entry in event.metadata.items()}

"""docs/operations.md: what `promo-assets status` shows."""

import json
import re
import subprocess
import sys
import time

import pytest

from promo_assets.stream.pipeline.run import StreamRun
from promo_assets_tests.support.expectation import campaign
from promo_assets_tests.support.operations import FOLLOWERS, LATER, NOW, due, try_block
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World


def read_status(world: World, **env: str) -> tuple[list[str], dict, str]:
    """The plain lines of the endpoints, the status as JSON, and the text for people."""
    process = try_block(world, "Check the status", **env)
    assert process.returncode == 0, process.stderr
    *endpoints, state = process.stdout.split("\n", 2)
    return endpoints, json.loads(state), process.stderr


def select(values: dict, *names: str) -> tuple:
    return tuple(values[name] for name in names)


def read_stream(world: World) -> dict:
    return read_status(world)[1]["stream"]


def test_the_status_shows_who_runs_the_lag_and_what_waits(world: World, spark) -> None:
    world.favour(FOLLOWERS)
    before = read_stream(world)
    assert before["running"] is False
    assert select(before, "holder", "lag_messages", "metrics") == (None, None, None)

    start = NOW + 3_600
    world.send(*due("a"), campaign("r", "waits", start, LATER), b"broken")
    stream_run = StreamRun(world.settings, lambda: spark, "the one that streams")
    stream_run.start()
    try:
        wait_for(lambda: read_stream(world)["lag_messages"] == 0, "no lag", 120)
        endpoints, running, _ = read_status(world)
    finally:
        stream_run.finish()
    assert endpoints[0] == f"kafka {world.kafka}"
    assert endpoints[1].startswith("postgres postgresql://")
    assert (running["kafka"]["answers"], running["postgres"]["answers"]) == (True, True)
    stream, metrics = running["stream"], running["stream"]["metrics"]
    assert stream["running"] is True
    assert select(stream, "holder", "last_error") == ("the one that streams", None)
    assert select(stream, "waiting", "next_start", "lag_seconds") == (1, start, 0)
    assert select(metrics, "notifications", "notifications_per_minute", "rejected") == (50, 50, 1)
    (waiting,) = stream["waiting_campaigns"]
    assert select(waiting, "adv_campaign_id", "adv_campaign_datetime_start") == ("waits", start)
    (rejection,) = metrics["latest_rejections"]
    assert rejection["reason"].startswith("the value is not JSON: ")
    assert stream["heartbeat_age_seconds"] < 10
    assert time.time() - 120 < stream["started_at"] <= stream["heartbeat_at"] <= time.time()

    world.send(*due("b", "c"))
    _, stopped, text = read_status(world)
    assert select(stopped["stream"], "running", "lag_messages") == (False, 2)
    assert 0 <= stopped["stream"]["lag_seconds"] < 60
    assert re.search(r"stream: .*not run.* 20\d\d-", text)  # with the time of the last heartbeat
    assert "lag: 2 messages, the oldest is " in text
    assert "waiting: 1 campaign\n  starts 20" in text and "UTC: waits of r\n" in text
    assert "50 notifications, 1 campaign, 1 rejected" in text
    assert re.search(r"last rejected: the value is not JSON: .* \(\d-\d+, 20\d\d-.* UTC\)", text)


@pytest.mark.parametrize(
    ("unavailable", "available", "env", "running"),
    [
        (
            "postgres",
            "kafka",
            {"PROMO_POSTGRES_URL": "postgresql://promo:s3cret@127.0.0.1:1/promo"},
            None,
        ),
        ("kafka", "postgres", {"PROMO_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, False),
    ],
    ids=["Postgres", "Kafka"],
)
def test_the_status_names_an_unavailable_service_and_shows_what_the_other_knows(
    world: World, unavailable: str, available: str, env: dict[str, str], running: bool | None
) -> None:
    _, state, text = read_status(world, **env)
    assert re.search(rf"^.*{unavailable.title()}: .*answer.*: ", text, flags=re.MULTILINE)
    assert "s3cret" not in text + json.dumps(state)
    assert (state[unavailable]["answers"], state[available]["answers"]) == (False, True)
    assert state["stream"]["running"] is running


def test_the_status_needs_neither_spark_nor_dagster() -> None:
    code = """
import sys
import promo_assets.commands.status
print([name for name in ("pyspark", "dagster", "pandas") if name in sys.modules])
"""
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert imported == b"[]\n"

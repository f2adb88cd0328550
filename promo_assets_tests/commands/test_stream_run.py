"""`stream run`: it handles all input, and a signal ends it without leaving a process."""

import json
import re
import signal
import time
import uuid

import psutil
import psycopg
import pytest

from promo_assets_tests.support.command_line import campaign, env, lines, run, started

__all__ = ["env"]


@pytest.fixture
def restaurant(env: dict[str, str]) -> str:
    """A restaurant with two followers, one of whom is stored twice."""
    name = f"r-{uuid.uuid4()}"
    statement = "INSERT INTO subscribers_restaurants (client_id, restaurant_id) VALUES (%s, %s)"
    with psycopg.connect(env["PROMO_POSTGRES_URL"]) as connection:
        for client in ("c1", "c2", "c2"):
            connection.execute(statement, (client, name))
    return name


def test_a_stream_that_has_caught_up_has_handled_all_input(env: dict[str, str], restaurant: str):
    late = int(time.time()) + 3600
    waiting = campaign(
        restaurant_id=restaurant,
        adv_campaign_id="later",
        adv_campaign_datetime_start=late,
        adv_campaign_datetime_end=late + 1,
    )
    run(env, "campaigns", "send", input=lines(campaign(restaurant_id=restaurant), waiting))
    run(env, "campaigns", "send", "--raw", input=b"broken\n")
    done = run(env, "stream", "run", "--until-caught-up", timeout=120)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    counts = b"1 campaign, 2 notifications, 1 rejected, 0 repeated, 0 expired, 1 waiting"
    assert b"the stream has ended: " + counts in done.stderr
    for noise in (b"WARN", b"Traceback", b"log4j", b"Exception"):
        assert noise not in done.stderr
    watched = run(env, "notifications", "watch", "--count", "2", "--timeout", "20")
    notifications = [json.loads(line) for line in watched.stdout.splitlines()]
    assert sorted(each["client_id"] for each in notifications) == ["c1", "c2"]
    listed = run(env, "dead-letters", "list").stdout.splitlines()
    assert [json.loads(line)["value"] for line in listed] == ["broken"]


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGINT, rb"the stream (runs|is running)"), (signal.SIGTERM, rb"has the lease")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_ends_the_stream_within_10_seconds_and_leaves_no_process(
    number: signal.Signals, moment: bytes, env: dict[str, str]
):
    with started(env, "stream", "run") as process:
        assert process.stderr
        for line in process.stderr:
            if re.search(moment, line):
                break
        time.sleep(1)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        sent_at = time.monotonic()
        assert process.wait(20) == 0, process.stderr.read()
        assert time.monotonic() - sent_at < 10
        _, alive = psutil.wait_procs(children, timeout=2)
        assert alive == []
        assert b"Traceback" not in process.stderr.read()

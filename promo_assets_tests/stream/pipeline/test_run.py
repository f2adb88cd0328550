"""One run after another, or two at once: what a run leaves undone, the next one does."""

import time

import pytest

from promo_assets.stream.errors import StreamError
from promo_assets.stream.ledger.lease import acquire_lease
from promo_assets.stream.pipeline.run import StreamRun, run_stream
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

NOW = int(time.time())
SOON, LATER = NOW - 100, NOW + 86_400
SET_TIMES = """UPDATE promo_ledger.campaigns
    SET (adv_campaign_datetime_start, adv_campaign_datetime_end) = (%s, %s)
    WHERE adv_campaign_id = %s"""


def test_a_waiting_campaign_is_sent_at_its_start_by_a_later_run_and_an_ended_one_never(
    world: World, spark, catch_up
) -> None:
    world.favour([("c", "r")])
    waiting = campaign("r", "soon", LATER, LATER + 3_600)
    world.send(waiting, campaign("r", "missed", LATER, LATER + 3_600))
    assert catch_up(world).metrics.waiting == 2
    # Instead of waiting for a day, the test moves both campaigns.
    start = int(time.time()) + 4
    times = {"adv_campaign_datetime_start": start, "adv_campaign_datetime_end": start + 3_600}
    world.execute(SET_TIMES, (*times.values(), "soon"))
    world.execute(SET_TIMES, (5, 6, "missed"))
    world.favour([("late", "r")])  # counts, as the first batch that sends the campaign comes later
    stream_run = StreamRun(world.settings, lambda: spark, "test")
    stream_run.start()
    try:
        wait_for(lambda: len(world.rows()) == 2, "the waiting campaign's rows", seconds=40)
    finally:
        stream_run.finish()
    assert stream_run.error is None
    assert problems(world, [waiting | times], [{("c", "r"), ("late", "r")}]) == []
    assert {row["trigger_datetime_created"] >= start for row in world.rows()} == {True}
    metrics = stream_run.metrics
    assert (metrics.expired, metrics.campaigns, metrics.waiting) == (1, 1, 0)


def test_a_second_run_writes_nothing_and_names_the_one_that_is_running(
    world: World, spark, monkeypatch
) -> None:
    monkeypatch.setattr("promo_assets.stream.ledger.lease.ACQUIRE_TIMEOUT_S", 2)
    world.favour([("c", "r")])
    world.send(campaign("r", "x", SOON, LATER), b"broken")
    second = StreamRun(world.settings, lambda: spark, "the second one", until_caught_up=True)
    with acquire_lease(world.postgres_url, "the first one"):
        with pytest.raises(StreamError, match=r"is running.*the first one since .*Nothing was wri"):
            run_stream(second)
        assert (world.rows(), world.messages(), world.dead_letters()) == ([], [], [])


def test_a_run_that_cannot_write_fails_in_one_line_and_the_next_run_does_its_work(
    world: World, spark, catch_up, monkeypatch
) -> None:
    monkeypatch.setattr("promo_assets.stream.pipeline.query.RETRY_TIMEOUT_S", 2)
    world.favour([("c", "r")])
    world.send(campaign("r", "x", SOON, LATER), b"broken")
    world.execute("ALTER TABLE subscribers_feedback ADD CONSTRAINT not_now CHECK (false)")
    with pytest.raises(StreamError, match=r'^.*violates check constraint "not_now"$'):
        run_stream(StreamRun(world.settings, lambda: spark, "test"))
    world.execute("ALTER TABLE subscribers_feedback DROP CONSTRAINT not_now")
    catch_up(world)
    assert problems(world, [campaign("r", "x", SOON, LATER)], [{("c", "r")}]) == []
    assert [letter.value() for letter in world.dead_letters()] == [b"broken"]


def test_a_run_stopped_in_the_middle_of_a_batch_ends_in_seconds_and_loses_nothing(
    world: World, spark, catch_up
) -> None:
    favourites = {(f"client-{number}", "r") for number in range(60_000)}
    world.favour(sorted(favourites))
    campaigns = [campaign("r", name, SOON, LATER) for name in "abc"]
    world.send(*campaigns)
    stream_run = StreamRun(world.settings, lambda: spark, "test")
    stream_run.start()
    first_row = "SELECT 1 FROM subscribers_feedback LIMIT 1"
    wait_for(lambda: world.execute(first_row), "the first chunk's rows", seconds=40)
    began = time.monotonic()
    stream_run.finish()
    assert time.monotonic() - began < 8
    assert (stream_run.ended.is_set(), stream_run.error) == (True, None)
    assert len(world.rows()) < 180_000
    catch_up(world)
    assert problems(world, campaigns, [favourites]) == []

"""docs/operations.md: the ledger is cleaned, and waiting campaigns are listed and cancelled."""

import json
import time

from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.operations import (
    FOLLOWERS,
    LATER,
    NOW,
    due,
    run_block,
    try_block,
)
from promo_assets_tests.support.world import World

DAY_S = 86_400
LISTED = (
    "restaurant_id",
    "adv_campaign_id",
    "adv_campaign_datetime_start",
    "adv_campaign_datetime_end",
    "datetime_created",
)


def waiting(name: str) -> dict:
    return campaign("r", name, NOW + 3_600, LATER)


def campaigns_with_texts(world: World) -> set[str]:
    query = "SELECT adv_campaign_id FROM promo_ledger.campaigns WHERE adv_campaign_owner <> ''"
    return {row[0] for row in world.execute(query)}


def cancel(world: World, value: dict, status: int) -> str:
    """What the command says; it writes to standard error only."""
    process = try_block(
        world,
        "Waiting campaigns",
        1,
        RESTAURANT_ID=value["restaurant_id"],
        CAMPAIGN_ID=value["adv_campaign_id"],
        DATETIME_CREATED=str(value["datetime_created"]),
    )
    assert (process.returncode, process.stdout) == (status, ""), process.stderr
    return process.stderr


def test_cleaning_removes_only_the_texts_of_what_ended_long_ago(world: World, catch_up) -> None:
    ended = campaign("r", "ended", 1, NOW - 31 * DAY_S)
    world.favour(FOLLOWERS)
    world.send(ended, *due("sent"), waiting("w"))
    catch_up(world)
    output = [json.loads(line) for line in run_block(world, "Clean the ledger").splitlines()]
    # The dry run is for 90 days, the second command for 30.
    dry_run = [("campaigns", 0), ("batches", 0), ("dispatches", 0)]
    cleaned = [("campaigns", 1), ("batches", 0), ("dispatches", 0)]
    assert [(table["table"], table["rows"]) for table in output] == dry_run + cleaned
    assert all(table["bytes_before"] > 0 for table in output)
    assert campaigns_with_texts(world) == {"sent", "w"}


def test_waiting_campaigns_are_listed_in_the_order_of_their_starts(world: World, catch_up) -> None:
    later, sooner = waiting("later"), waiting("sooner")
    later["adv_campaign_datetime_start"] += 1
    world.send(later, *due("sent"), sooner)
    catch_up(world)
    lines = run_block(world, "Waiting campaigns").splitlines()
    assert lines[:2] == lines[2:]  # without a terminal, `--json` prints the same
    expected = [{name: value[name] for name in LISTED} for value in (sooner, later)]
    assert [json.loads(line) for line in lines[:2]] == expected


def test_a_cancelled_campaign_notifies_nobody_and_its_repeat_is_ignored(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    kept, cancelled = waiting("kept"), waiting("cancelled")
    world.send(*due("x"), kept, cancelled)
    catch_up(world)
    first, second = (cancel(world, cancelled, status=0) for _ in range(2))
    assert "notified" in first and "notified" not in second
    start = int(time.time()) - 1
    world.execute(
        """UPDATE promo_ledger.campaigns SET adv_campaign_datetime_start = %s
        WHERE adv_campaign_datetime_start > %s""",
        (start, NOW),
    )
    world.send(cancelled)
    metrics = catch_up(world).metrics
    assert (metrics.campaigns, metrics.repeated, metrics.waiting) == (1, 1, 0)
    started = kept | {"adv_campaign_datetime_start": start}
    assert problems(world, [*due("x"), started], [FOLLOWERS]) == []


def test_a_campaign_that_does_not_wait_is_not_cancelled_and_the_reason_is_given(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    (sent,), expired = due("x"), campaign("r", "y", 1, NOW - DAY_S)
    world.send(sent, expired)
    catch_up(world)
    assert " sent" in cancel(world, sent, status=2)
    assert " before" in cancel(world, expired, status=2)
    assert "no such campaign" in cancel(world, waiting("z"), status=2)
    assert problems(world, [sent], [FOLLOWERS]) == []

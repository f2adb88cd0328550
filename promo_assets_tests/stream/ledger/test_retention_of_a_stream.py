"""The ledger of a stream is cleaned, and no client is notified twice or missed because of it."""

import shutil
from threading import Event, Thread

from promo_assets.stream.pipeline.run import StreamRun
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.ledger_rows import (
    DAY_S,
    NOW,
    clean,
    years_later,
)
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

FOLLOWERS = {(f"client-{number}", "r") for number in range(50)}


def due(*names: str) -> list[dict]:
    return [campaign("r", name, NOW - 100, NOW + DAY_S) for name in names]


def test_a_repeat_of_a_cleaned_campaign_is_recognized_whatever_its_content(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a", "b"), campaign("r", "over", 1, NOW - 1), b"broken")
    catch_up(world)
    world.send(*due("c"))
    catch_up(world)
    assert clean(world, years_later()) == {"campaigns": 4, "batches": 1, "dispatches": 2}
    assert world.execute(
        "SELECT DISTINCT adv_campaign_content, dispatch_id FROM promo_ledger.campaigns"
    ) == [("", None)]
    changed = [
        value | {"adv_campaign_content": "other", "adv_campaign_datetime_end": NOW + 900 * DAY_S}
        for value in due("a", "over")
    ]
    world.send(*due("a", "b"), *changed, *due("d"))
    stream_run = catch_up(world)
    assert (stream_run.metrics.repeated, stream_run.metrics.campaigns) == (4, 1)
    shutil.rmtree(world.home / "checkpoint")  # so that the whole topic is read again
    assert catch_up(world).metrics.notifications == 0
    assert problems(world, due("a", "b", "c", "d"), [FOLLOWERS]) == []
    assert [letter.value() for letter in world.dead_letters()] == [b"broken"]


def test_control_without_the_permanent_batch_a_repeat_notifies_again(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a"))
    catch_up(world)
    clean(world, years_later())
    world.execute(
        "DELETE FROM promo_ledger.batches WHERE query_id = '00000000-0000-0000-0000-000000000000'"
    )
    world.send(*due("a"))
    catch_up(world)
    assert any(" rows for " in problem for problem in problems(world, due("a"), [FOLLOWERS]))


def test_replaying_the_last_batch_after_a_cleaning_changes_nothing(world: World, catch_up) -> None:
    """Spark replays it if a run died before it wrote the commit log, however long ago."""
    world.favour(FOLLOWERS)
    for names in ("ab", "c"):
        world.send(*due(*names), b"broken")
        catch_up(world)
    clean(world, years_later())
    commits = max(
        (world.home / "checkpoint").rglob("commits/[0-9]*"), key=lambda path: int(path.name)
    )
    commits.unlink()
    commits.with_name(f".{commits.name}.crc").unlink()
    metrics = catch_up(world).metrics
    assert metrics.batches == 1
    assert (metrics.repeated, metrics.rejected, metrics.notifications) == (0, 0, 0)
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []
    assert len(world.dead_letters()) == 2


def test_cleaning_again_and_again_under_load_loses_and_repeats_nothing(
    world: World, spark, catch_up
) -> None:
    """The clock of the cleaning is years ahead, so it cleans settled campaigns amid repeats."""
    world.favour(FOLLOWERS)
    stream_run = StreamRun(world.settings, lambda: spark, "test")
    stream_run.start()
    sent: list[dict] = []
    cleaned: list[dict[str, int]] = []
    stop = Event()

    def keep_cleaning() -> None:
        while not stop.wait(0.1):
            cleaned.append(clean(world, years_later()))

    cleaner = Thread(target=keep_cleaning)
    cleaner.start()
    try:
        for number in range(15):
            fresh = due(f"{number}-a", f"{number}-b", f"{number}-c")
            for partition in range(3):
                world.send(*sent[-30::7], *fresh, *sent[:2], b"broken", partition=partition)
            sent += fresh
            if number % 5 == 4:
                wait_for(
                    lambda number=number: (
                        len(world.rows()) >= 150 * (number + 1) or stream_run.ended.is_set()
                    ),
                    "the rows of the sent campaigns",
                    60,
                )
        wait_for(
            lambda: sum(rows["campaigns"] for rows in cleaned) == 45 or stream_run.ended.is_set(),
            "all campaigns cleaned",
        )
    finally:
        stop.set()
        cleaner.join()
        stream_run.finish()
    assert stream_run.error is None
    catch_up(world)
    assert sum(rows["batches"] for rows in cleaned) > 3
    assert problems(world, sent, [FOLLOWERS]) == []
    assert len(world.dead_letters()) == 45

"""The ledger is cleaned, and nobody is notified twice or missed by it."""

import re
import shutil
import time
from threading import Event, Thread
from uuid import uuid4

import dagster as dg
import psycopg
import pytest

from promo_assets.definitions import build_definitions
from promo_assets.stream.ledger import retention
from promo_assets.stream.ledger.retention import Cleaned, clean_ledger, count_cleanable
from promo_assets.stream.pipeline.run import StreamRun
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.stream_process import wait_for
from promo_assets_tests.support.world import World

NOW = int(time.time())
DAY = 86_400
DAYS = 90
LIMIT = NOW - DAYS * DAY
QUERY, OTHER_QUERY = str(uuid4()), str(uuid4())
FOLLOWERS = {(f"client-{number}", "r") for number in range(50)}


def due(*names: str, **other: object) -> list[dict]:
    return [campaign("r", name, NOW - 100, NOW + DAY, **other) for name in names]


def years_later() -> int:
    return int(time.time()) + 1_000 * DAY


def put_batch(world: World, query: str, number: int, finished_at: int = LIMIT - 1) -> None:
    world.execute(
        "INSERT INTO promo_ledger.batches VALUES (%s, %s, to_timestamp(%s), 1, 0, 0, 0, 0, 1)",
        (query, number, finished_at),
    )


def put_unit(world: World, finished_at: int | None = LIMIT - 1) -> str:
    row = world.execute(
        "INSERT INTO promo_ledger.dispatches (topic, shards, campaigns, finished_at)"
        " VALUES ('t', 1, 1, to_timestamp(%s)) RETURNING dispatch_id",
        (finished_at,),
    )
    return row[0][0]


def put_campaign(
    world: World,
    name: str,
    state: str,
    end: int = LIMIT - 1,
    query: str = QUERY,
    batch: int = 0,
    dispatch: str | None = None,
) -> None:
    world.execute(
        "INSERT INTO promo_ledger.campaigns VALUES (sha256(%s::bytea), 'r', %s, 'content', 'owner', 'contact', %s, %s, 1, %s, %s,"
        " 1, 0, 0, %s, %s, %s, %s)",
        (
            name,
            name,
            end - 10,
            end,
            query,
            batch,
            state,
            None if state in ("waiting", "cancelled") else end - 5,
            dispatch,
            dispatch and 1,
        ),
    )


def kept_texts(world: World) -> set[str]:
    rows = world.execute(
        "SELECT adv_campaign_id, adv_campaign_content, adv_campaign_owner, adv_campaign_owner_contact FROM promo_ledger.campaigns"
    )
    assert {row[1:] for row in rows} <= {("content", "owner", "contact"), ("", "", "")}
    return {row[0] for row in rows if row[1]}


def test_each_rule_on_rows_at_its_edge(world: World) -> None:
    for number in range(6):
        put_batch(world, QUERY, number)
    put_batch(world, OTHER_QUERY, 7)  # its only one, and so its newest
    done, done_too, open_dispatch, fresh = (
        put_unit(world),
        put_unit(world),
        put_unit(world, None),
        put_unit(world, LIMIT),
    )
    put_campaign(world, "expired", "expired")
    put_campaign(world, "cancelled", "cancelled")
    put_campaign(world, "sent", "dispatched", dispatch=done, batch=1)
    put_campaign(world, "sent with one that goes on", "dispatched", dispatch=done_too, batch=2)
    put_campaign(
        world, "goes on", "dispatched", dispatch=done_too, batch=2, end=LIMIT
    )  # ended exactly 90 days ago: not longer
    put_campaign(world, "waits", "waiting", batch=3)
    put_campaign(world, "due", "due", batch=3)
    put_campaign(world, "being sent", "dispatched", dispatch=open_dispatch, batch=3)
    put_campaign(world, "undecided", "expired", batch=99)  # a batch that was never finished
    put_batch(world, QUERY, 6, LIMIT)  # finished exactly 90 days ago, and the query's newest
    expected = {"campaigns": 4, "batches": 4, "dispatches": 1}

    assert {
        each.table: each.rows for each in count_cleanable(world.postgres_url, DAYS, NOW)
    } == expected
    assert len(kept_texts(world)) == 9
    cleaned = clean_ledger(world.postgres_url, DAYS, NOW)
    assert {each.table: each.rows for each in cleaned} == expected
    assert kept_texts(world) == {"goes on", "waits", "due", "being sent", "undecided"}
    batches = world.execute(
        "SELECT batch_id FROM promo_ledger.batches WHERE query_id IN (%s, %s) ORDER BY 1",
        (QUERY, OTHER_QUERY),
    )
    assert batches == [(2,), (3,), (6,), (7,)]
    assert {row[0] for row in world.execute("SELECT dispatch_id FROM promo_ledger.dispatches")} == {
        done_too,
        open_dispatch,
        fresh,
    }
    assert world.execute("SELECT count(*) FROM promo_ledger.campaigns") == [(9,)]
    assert [each.rows for each in clean_ledger(world.postgres_url, DAYS, NOW)] == [0, 0, 0]
    assert [each.rows for each in clean_ledger(world.postgres_url, DAYS, NOW + 1)] == [
        1,
        1,
        2,
    ]  # "goes on", its batch, both dispatches


def test_many_rows_go_in_steps_and_those_that_stay_stop_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP_ROWS", 3)
    for number in range(20):
        put_batch(world, QUERY, number)
        stays = number in (0, 1, 2, 3, 10)
        put_campaign(
            world,
            f"c-{number}",
            "dispatched",
            end=NOW if stays else LIMIT - 1,
            batch=number,
            dispatch=put_unit(world),
        )
    assert [each.rows for each in clean_ledger(world.postgres_url, DAYS, NOW)] == [15, 14, 15]
    assert kept_texts(world) == {"c-0", "c-1", "c-2", "c-3", "c-10"}


def test_texts_are_gone_from_the_tables_files_and_the_room_is_told(world: World) -> None:
    put_batch(world, QUERY, 0)
    for number in range(200):
        put_campaign(world, f"c-{number}", "expired")
    world.execute("UPDATE promo_ledger.campaigns SET adv_campaign_content = repeat('x', 1500)")
    campaigns = clean_ledger(world.postgres_url, DAYS, NOW)[0]
    assert (campaigns.table, campaigns.rows) == ("campaigns", 200)
    assert campaigns.bytes_before > 300_000
    world.execute("INSERT INTO promo_ledger.campaigns SELECT sha256(campaign_key), restaurant_id, adv_campaign_id, repeat('y', 1500),"
                  " '', '', 1, 2, 3, query_id, 0, 1, 0, 0, 'expired' FROM promo_ledger.campaigns")  # fmt: skip
    (size,) = world.execute("SELECT pg_total_relation_size('promo_ledger.campaigns')")[0]
    assert size < campaigns.bytes_after + 200_000  # without VACUUM 300,000 more


def test_a_cleaned_campaign_is_still_known_whatever_its_repeat_says(world: World, catch_up) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a", "b"), campaign("r", "over", 1, NOW - 1), b"broken")
    catch_up(world)
    world.send(*due("c"))
    catch_up(world)
    clean = {
        each.table: each.rows for each in clean_ledger(world.postgres_url, DAYS, years_later())
    }
    assert clean == {"campaigns": 4, "batches": 1, "dispatches": 2}
    assert world.execute(
        "SELECT DISTINCT adv_campaign_content, dispatch_id FROM promo_ledger.campaigns"
    ) == [("", None)]
    changed = [
        value | {"adv_campaign_content": "other", "adv_campaign_datetime_end": NOW + 900 * DAY}
        for value in due("a", "over")
    ]
    world.send(*due("a", "b"), *changed, *due("d"))
    stream_run = catch_up(world)
    assert (stream_run.metrics.repeated, stream_run.metrics.campaigns) == (4, 1)
    shutil.rmtree(world.home / "checkpoint")  # and all is read again
    assert catch_up(world).metrics.notifications == 0
    assert problems(world, due("a", "b", "c", "d"), [FOLLOWERS]) == []
    assert [letter.value() for letter in world.dead_letters()] == [b"broken"]


def test_control_without_the_batch_that_stays_a_repeat_would_notify_again(
    world: World, catch_up
) -> None:
    world.favour(FOLLOWERS)
    world.send(*due("a"))
    catch_up(world)
    clean_ledger(world.postgres_url, DAYS, years_later())
    world.execute(
        "DELETE FROM promo_ledger.batches WHERE query_id = '00000000-0000-0000-0000-000000000000'"
    )
    world.send(*due("a"))
    catch_up(world)
    assert any(" rows for " in problem for problem in problems(world, due("a"), [FOLLOWERS]))


def test_the_last_batch_done_again_after_a_clean_changes_nothing(world: World, catch_up) -> None:
    """As Spark does it when a run died between a batch's end and its own note of it, however long ago."""
    world.favour(FOLLOWERS)
    for names in ("ab", "c"):
        world.send(*due(*names), b"broken")
        catch_up(world)
    clean_ledger(world.postgres_url, DAYS, years_later())
    commits = max(
        (world.home / "checkpoint").rglob("commits/[0-9]*"), key=lambda path: int(path.name)
    )
    commits.unlink()
    commits.with_name(f".{commits.name}.crc").unlink()
    metrics = catch_up(world).metrics
    assert (metrics.batches, metrics.repeated, metrics.rejected, metrics.notifications) == (
        1,
        0,
        0,
        0,
    )
    assert problems(world, due("a", "b", "c"), [FOLLOWERS]) == []
    assert len(world.dead_letters()) == 2


def test_cleaned_over_and_over_under_load_nothing_is_lost_nothing_doubled(
    world: World, spark, catch_up
) -> None:
    """The clock of the cleaning is set years ahead: whatever is settled goes at once, while its repeats come in."""
    world.favour(FOLLOWERS)
    stream_run = StreamRun(world.settings, lambda: spark, "test")
    stream_run.start()
    sent: list[dict] = []
    cleaned: list[list[Cleaned]] = []
    over = Event()

    def keep_cleaning() -> None:
        while not over.wait(0.1):
            cleaned.append(clean_ledger(world.postgres_url, DAYS, years_later()))

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
                    "the rows of what was sent",
                    60,
                )
        wait_for(
            lambda: sum(each[0].rows for each in cleaned) == 45 or stream_run.ended.is_set(),
            "all campaigns cleaned",
        )
    finally:
        over.set()
        cleaner.join()
        stream_run.finish()
    assert stream_run.error is None
    catch_up(world)
    assert sum(each[1].rows for each in cleaned) > 3
    assert problems(world, sent, [FOLLOWERS]) == []
    assert len(world.dead_letters()) == 45


def test_the_job_cleans_as_the_setting_says_and_is_on_every_night(world: World) -> None:
    world.extra_env["PROMO_RETENTION_DAYS"] = "5"
    put_batch(world, QUERY, 0)
    put_campaign(world, "old", "expired", end=NOW - 6 * DAY)
    put_campaign(world, "not so old", "expired", end=NOW - 4 * DAY)
    definitions = build_definitions(world.settings)
    job = definitions.resolve_job_def("promo_retention")
    assert job.execute_in_process().success
    assert kept_texts(world) == {"not so old"}
    assert job.execute_in_process(
        run_config={"ops": {"clean_promo_ledger": {"config": {"older_than_days": 3}}}}
    ).success
    assert kept_texts(world) == set()
    schedule = definitions.resolve_schedule_def("promo_retention_schedule")
    assert (schedule.cron_schedule, schedule.default_status) == (
        "30 4 * * *",
        dg.DefaultScheduleStatus.RUNNING,
    )
    world.execute("DROP SCHEMA promo_ledger CASCADE")
    result = job.execute_in_process(raise_on_error=False)
    failure = result.failure_data_for_node("clean_promo_ledger")
    assert failure and failure.user_failure_data
    assert re.match(
        r"the ledger could not be cleaned: the ledger is missing",
        failure.user_failure_data.description or "",
    )


def test_a_role_that_owns_nothing_may_clean(world: World) -> None:
    role = f"{world.postgres_url.rpartition('/')[2]}_cleaner"
    world.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA promo_ledger TO {role}"
    )
    world.execute(
        f"GRANT SELECT ON ALL TABLES IN SCHEMA promo_ledger TO {role}; GRANT UPDATE ON promo_ledger.campaigns TO {role}"
    )
    world.execute(f"GRANT DELETE ON promo_ledger.batches, promo_ledger.dispatches TO {role}")
    for number in range(2):
        put_batch(world, QUERY, number)
    put_campaign(world, "old", "dispatched", dispatch=put_unit(world))
    try:
        url = f"postgresql://{role}:p@{world.postgres_url.partition('@')[2]}"
        assert [each.rows for each in clean_ledger(url, DAYS, NOW)] == [1, 1, 1]
    finally:
        world.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_what_the_stream_holds_is_left_for_another_time_without_waiting(world: World) -> None:
    put_batch(world, QUERY, 0)
    put_campaign(world, "held", "expired")
    put_campaign(world, "free", "expired")
    with psycopg.connect(world.postgres_url) as holder:
        holder.execute(
            "SELECT FROM promo_ledger.campaigns WHERE adv_campaign_id = 'held' FOR UPDATE"
        )
        assert clean_ledger(world.postgres_url, DAYS, NOW)[0].rows == 1
        assert kept_texts(world) == {"held"}
    assert clean_ledger(world.postgres_url, DAYS, NOW)[0].rows == 1

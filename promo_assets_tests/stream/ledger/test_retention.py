"""Which rows of the ledger are cleaned, and who may clean them."""

import dagster as dg
import psycopg
import pytest

from promo_assets.definitions import build_definitions
from promo_assets.stream.ledger import retention
from promo_assets.stream.ledger.retention import clean_ledger, count_cleanable
from promo_assets_tests.support.ledger_rows import (
    DAY_S,
    LIMIT,
    NOW,
    OTHER_QUERY_ID,
    QUERY_ID,
    RETENTION_DAYS,
    campaigns_with_texts,
    clean,
    put_batch,
    put_campaign,
    put_dispatch,
    rows_by_table,
)
from promo_assets_tests.support.world import World


def test_each_rule_is_kept_at_its_edge(world: World) -> None:
    for batch_id in range(6):
        put_batch(world, QUERY_ID, batch_id)
    put_batch(world, OTHER_QUERY_ID, 7)  # its query's only batch, and so the newest
    put_batch(world, QUERY_ID, 6, LIMIT)  # finished exactly 90 days ago, and the query's newest
    finished, shared, unfinished, fresh = (
        put_dispatch(world, finished_at) for finished_at in (LIMIT - 1, LIMIT - 1, None, LIMIT)
    )
    put_campaign(world, "expired", "expired")
    put_campaign(world, "cancelled", "cancelled")
    put_campaign(world, "sent", "dispatched", batch_id=1, dispatch_id=finished)
    put_campaign(world, "sent with another", "dispatched", batch_id=2, dispatch_id=shared)
    # It ended exactly 90 days ago, and not before.
    put_campaign(world, "just over", "dispatched", LIMIT, batch_id=2, dispatch_id=shared)
    put_campaign(world, "waits", "waiting", batch_id=3)
    put_campaign(world, "due", "due", batch_id=3)
    put_campaign(world, "being sent", "dispatched", batch_id=3, dispatch_id=unfinished)
    put_campaign(world, "undecided", "expired", batch_id=99)  # its batch was never finished
    expected = {"campaigns": 4, "batches": 4, "dispatches": 1}

    cleanable = count_cleanable(world.postgres_url, RETENTION_DAYS, NOW)
    assert rows_by_table(cleanable) == expected
    assert len(campaigns_with_texts(world)) == 9
    assert clean(world) == expected
    assert campaigns_with_texts(world) == {"just over", "waits", "due", "being sent", "undecided"}
    batches = world.execute(
        "SELECT batch_id FROM promo_ledger.batches WHERE query_id IN (%s, %s) ORDER BY 1",
        (QUERY_ID, OTHER_QUERY_ID),
    )
    assert batches == [(2,), (3,), (6,), (7,)]
    dispatches = world.execute("SELECT dispatch_id FROM promo_ledger.dispatches")
    assert {row[0] for row in dispatches} == {shared, unfinished, fresh}
    assert world.execute("SELECT count(*) FROM promo_ledger.campaigns") == [(9,)]
    assert clean(world) == {"campaigns": 0, "batches": 0, "dispatches": 0}
    # One second later: "just over", its batch, and the dispatches `shared` and `fresh`.
    assert clean(world, NOW + 1) == {"campaigns": 1, "batches": 1, "dispatches": 2}


def test_many_rows_are_cleaned_in_steps_past_the_rows_that_stay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP_ROWS", 3)
    staying = (0, 1, 2, 3, 10)
    for number in range(20):
        put_batch(world, QUERY_ID, number)
        ends_at = NOW if number in staying else LIMIT - 1
        dispatch_id = put_dispatch(world)
        put_campaign(world, f"c-{number}", "dispatched", ends_at, number, dispatch_id)
    assert clean(world) == {"campaigns": 15, "batches": 14, "dispatches": 15}
    assert campaigns_with_texts(world) == {f"c-{number}" for number in staying}


def test_the_texts_are_removed_from_the_files_and_their_space_is_used_again(world: World) -> None:
    put_batch(world, QUERY_ID, 0)
    for number in range(200):
        put_campaign(world, f"c-{number}", "expired")
    world.execute("UPDATE promo_ledger.campaigns SET adv_campaign_content = repeat('x', 1500)")
    campaigns = clean_ledger(world.postgres_url, RETENTION_DAYS, NOW)[0]
    assert (campaigns.table, campaigns.rows) == ("campaigns", 200)
    assert campaigns.bytes_before > 300_000
    world.execute(
        """INSERT INTO promo_ledger.campaigns
        SELECT sha256(campaign_key), restaurant_id, adv_campaign_id, repeat('y', 1500), '', '',
            1, 2, 3, query_id, 0, 1, 0, 0, 'expired'
        FROM promo_ledger.campaigns"""
    )
    (size,) = world.execute("SELECT pg_total_relation_size('promo_ledger.campaigns')")[0]
    assert size < campaigns.bytes_after + 200_000  # without VACUUM it grows by 300,000


def test_a_role_that_owns_nothing_may_clean(world: World) -> None:
    role = f"{world.postgres_url.rpartition('/')[2]}_cleaner"
    world.execute(
        f"""CREATE ROLE {role} LOGIN PASSWORD 'p';
        GRANT USAGE ON SCHEMA promo_ledger TO {role};
        GRANT SELECT ON ALL TABLES IN SCHEMA promo_ledger TO {role};
        GRANT UPDATE ON promo_ledger.campaigns TO {role};
        GRANT DELETE ON promo_ledger.batches, promo_ledger.dispatches TO {role}"""
    )
    for batch_id in range(2):
        put_batch(world, QUERY_ID, batch_id)
    put_campaign(world, "old", "dispatched", dispatch_id=put_dispatch(world))
    try:
        url = f"postgresql://{role}:p@{world.postgres_url.partition('@')[2]}"
        cleaned = clean_ledger(url, RETENTION_DAYS, NOW)
        assert rows_by_table(cleaned) == {"campaigns": 1, "batches": 1, "dispatches": 1}
    finally:
        world.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_campaign_that_is_locked_is_left_for_the_next_run_without_waiting(world: World) -> None:
    put_batch(world, QUERY_ID, 0)
    put_campaign(world, "locked", "expired")
    put_campaign(world, "free", "expired")
    with psycopg.connect(world.postgres_url) as holder:
        holder.execute(
            "SELECT FROM promo_ledger.campaigns WHERE adv_campaign_id = 'locked' FOR UPDATE"
        )
        assert clean(world)["campaigns"] == 1
        assert campaigns_with_texts(world) == {"locked"}
    assert clean(world)["campaigns"] == 1


def test_the_job_cleans_what_is_older_than_the_setting_or_its_configuration(world: World) -> None:
    world.extra_env["PROMO_RETENTION_DAYS"] = "5"
    put_batch(world, QUERY_ID, 0)
    put_campaign(world, "six days", "expired", ends_at=NOW - 6 * DAY_S)
    put_campaign(world, "four days", "expired", ends_at=NOW - 4 * DAY_S)
    job = build_definitions(world.settings).resolve_job_def("promo_retention")
    assert job.execute_in_process().success
    assert campaigns_with_texts(world) == {"four days"}
    three_days = {"ops": {"clean_promo_ledger": {"config": {"older_than_days": 3}}}}
    assert job.execute_in_process(run_config=three_days).success
    assert campaigns_with_texts(world) == set()
    world.execute("DROP SCHEMA promo_ledger CASCADE")
    result = job.execute_in_process(raise_on_error=False)
    failure = result.failure_data_for_node("clean_promo_ledger")
    assert failure and failure.user_failure_data
    assert "the ledger is missing" in (failure.user_failure_data.description or "")


def test_the_job_runs_every_night_unless_its_schedule_is_turned_off(world: World) -> None:
    definitions = build_definitions(world.settings)
    schedule = definitions.resolve_schedule_def("promo_retention_schedule")
    assert schedule.cron_schedule == "30 4 * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING

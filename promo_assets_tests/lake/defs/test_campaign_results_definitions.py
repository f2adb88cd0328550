"""The job `campaign_results` and its schedule as Dagster knows them before any run."""

from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from promo_assets.definitions import build_definitions
from promo_assets.lake import tables
from promo_assets_tests.support.lake.feedback import DAYS, JOB
from promo_assets_tests.support.lake.lake_world import LakeWorld
from promo_assets_tests.support.world import World, world

__all__ = ["world"]


def test_the_rest_of_the_lake_does_not_need_postgres() -> None:
    definitions = build_definitions(LakeWorld.settings(Path("/nowhere")))
    campaigns = {dg.AssetKey([table.layer, table.name]) for table in tables.CAMPAIGNS}
    assert (
        not definitions.resolve_job_def("daily_lake").asset_layer.executable_asset_keys & campaigns
    )
    assert definitions.resolve_job_def(JOB).asset_layer.executable_asset_keys == campaigns


def test_the_feedback_asset_is_made_from_the_streams_table_and_has_its_columns(
    world: World,
) -> None:
    definitions = build_definitions(LakeWorld.settings(Path("/nowhere")))
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert [dep.asset_key for dep in specs["stg/subscribers_feedback"].deps] == [
        specs["subscribers_feedback"].key
    ]
    query = (
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_name = 'subscribers_feedback' ORDER BY ordinal_position"
    )
    assert [(name,) for name in tables.SUBSCRIBERS_FEEDBACK.column_names] == world.execute(query)


@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        ("2025-05-20", "2025-05-13", "2025-05-20"),
        ("2025-05-04", "2025-05-01", "2025-05-04"),
        ("2025-04-30", "", ""),
    ],
)
def test_the_schedule_runs_the_last_seven_days_and_today_in_one_run(
    now: str, first: str, last: str
) -> None:
    definitions = build_definitions(LakeWorld.settings(Path("/nowhere"), lake_start=DAYS[0]))
    schedule = definitions.resolve_schedule_def("campaign_results_schedule")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    tick = datetime.fromisoformat(f"{now}T03:00:00+00:00")
    evaluated = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=tick))
    ranges = [
        (
            request.tags["dagster/asset_partition_range_start"],
            request.tags["dagster/asset_partition_range_end"],
        )
        for request in evaluated.run_requests or []
    ]
    assert ranges == ([(first, last)] if first else [])
    assert first or "2025-05-01" in (evaluated.skip_message or "")

"""The job `campaign_results` without Postgres, with wrong data, and of a part of its assets."""

from pathlib import Path

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from promo_assets.definitions import build_definitions
from promo_assets.lake import steps, tables
from promo_assets.lake.transform import mart_campaigns
from promo_assets.local.processes import free_port
from promo_assets_tests.support.lake.feedback import (
    DAYS,
    JOB,
    insert_campaigns,
    lake,
    noon,
    notify,
    read_results,
    reader,
)
from promo_assets_tests.support.lake.lake_world import LakeWorld, failure_message
from promo_assets_tests.support.world import World, world

__all__ = ["lake", "reader", "world"]


def test_without_postgres_a_run_fails_in_one_line_and_changes_no_file(
    lake: LakeWorld, spark: SparkSession, world: World, tmp_path: Path
) -> None:
    insert_campaigns(world)
    assert lake.run(JOB, DAYS[0]).success
    files = lake.files()
    unreachable = f"postgresql://promo:secret-word@127.0.0.1:{free_port()}/promo"
    lake.definitions = build_definitions(
        LakeWorld.settings(tmp_path / "of-the-lake", feedback_postgres_url=unreachable)
    )
    result = lake.run(JOB, DAYS[0])
    assert not result.success
    message = failure_message(result).strip()
    assert "\n" not in message
    for part in ("subscribers_feedback", "postgresql://127.0.0.1:", "Connection refused"):
        assert part in message
    assert lake.files() == files
    stored = " ".join(
        str(record.event_log_entry)
        for record in lake.instance.get_records_for_run(result.run_id).records
    )
    assert message in stored and "secret-word" not in stored


def test_a_repeated_pair_fails_the_check_and_the_marts_stay_unchanged(
    lake: LakeWorld, world: World
) -> None:
    insert_campaigns(world)
    assert lake.run(JOB, DAYS[0]).success
    marts = {name: time for name, time in lake.files().items() if "/marts/" in name}
    notify(world, "r1", "c1", noon(DAYS[0]), {"ann": "again"})
    result = lake.run(JOB, DAYS[0])
    assert not result.success
    assert [
        found.check_name for found in result.get_asset_check_evaluations() if not found.passed
    ] == ["key_is_unique"]
    assert {name: time for name, time in lake.files().items() if "/marts/" in name} == marts


def test_a_lost_campaign_fails_the_check(
    lake: LakeWorld, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_campaigns(world)
    monkeypatch.setattr(
        steps,
        "campaign_results",
        lambda rows: mart_campaigns.campaign_results(rows).where("adv_campaign_id <> 'c2'"),
    )
    result = lake.run(JOB, DAYS[0])
    assert not result.success
    assert [
        found.check_name for found in result.get_asset_check_evaluations() if not found.passed
    ] == ["all_notifications_are_counted"]


def test_restaurants_are_built_from_the_feedback_and_not_from_an_older_mart_of_campaigns(
    lake: LakeWorld, world: World
) -> None:
    """Only the restaurants are built again, after each of two restaurants had a new campaign."""
    notify(world, "r1", "c1", noon(DAYS[0]), {"ann": None})
    assert lake.run(JOB, DAYS[0]).success
    notify(world, "r1", "c2", noon(DAYS[0]) + 5, {"ann": "yes"})
    notify(world, "r2", "c3", noon(DAYS[0]), {"ann": None})
    keys = [
        dg.AssetKey([table.layer, table.name])
        for table in (tables.SUBSCRIBERS_FEEDBACK, tables.RESTAURANT_RESULTS)
    ]
    assert lake.run(JOB, DAYS[0], asset_selection=keys).success
    campaigns, restaurants = read_results(lake, DAYS[0])
    assert [row[1] for row in campaigns] == ["c1"], "the mart of campaigns was not built again"
    assert restaurants == [("r1", 2, 1, 1, [("yes", 1)], 1.0, 20.0), ("r2", 1, 1, 0, [], 0.0, 20.0)]

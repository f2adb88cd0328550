"""The job `campaign_results`, from the stream's real table to the marts of a small lake."""

import base64
import io
import re

import dagster as dg
from PIL import Image

from promo_assets.lake import tables
from promo_assets_tests.support.lake.feedback import (
    DAYS,
    EMPTY_DAY,
    JOB,
    insert_campaigns,
    lake,
    noon,
    read_results,
    reader,
)
from promo_assets_tests.support.lake.lake_world import LakeWorld, failure_message
from promo_assets_tests.support.world import World, world

__all__ = ["lake", "reader", "world"]

FIRST_DAY = (
    [
        ("r1", "c1", 4, 3, [("yes", 2), ("no", 1)], 0.75, 20),
        ("r1", "c2", 1, 0, [], 0.0, 20),
        ("r2", "c3", 1, 1, [("'; DROP TABLE x; --", 1)], 1.0, 20),
    ],
    [
        ("r1", 2, 4, 3, [("yes", 2), ("no", 1)], 0.75, 20.0),
        ("r2", 1, 1, 1, [("'; DROP TABLE x; --", 1)], 1.0, 20.0),
    ],
)
THIRD_DAY = ([("r1", "c4", 1, 0, [], 0.0, 20)], [("r1", 1, 1, 0, [], 0.0, 20.0)])


def test_days_are_loaded_from_postgres_and_late_feedback_updates_one_when_it_is_run_again(
    lake: LakeWorld, world: World
) -> None:
    insert_campaigns(world)
    result = lake.backfill(DAYS[0], DAYS[2], JOB)
    assert result.success, failure_message(result)
    assert lake.contents(tables.SUBSCRIBERS_FEEDBACK, DAYS[0]) == sorted(
        world.execute(
            "SELECT * FROM subscribers_feedback WHERE trigger_datetime_created BETWEEN %s AND %s",
            (noon(DAYS[0]) - 43_200, noon(DAYS[0]) + 43_199),
        ),
        key=repr,
    )
    assert read_results(lake, DAYS[0]) == FIRST_DAY
    assert read_results(lake, EMPTY_DAY) == ([], [])
    assert read_results(lake, DAYS[2]) == THIRD_DAY
    assert all(lake.materialized(table) == {str(day) for day in DAYS} for table in tables.CAMPAIGNS)
    assert {str(day) for day in DAYS} == {name.rpartition("date=")[2][:10] for name in lake.files()}

    world.execute(
        "UPDATE subscribers_feedback SET feedback = 'no' WHERE client_id = 'ann'"
    )  # of all days
    before, first_day = lake.files(), f"date={DAYS[0]}"
    assert lake.run(JOB, DAYS[0]).success
    campaigns, restaurants = read_results(lake, DAYS[0])
    assert campaigns == [
        ("r1", "c1", 4, 4, [("no", 2), ("yes", 2)], 1.0, 20),
        ("r1", "c2", 1, 1, [("no", 1)], 1.0, 20),
        ("r2", "c3", 1, 1, [("no", 1)], 1.0, 20),
    ]
    assert restaurants == [
        ("r1", 2, 4, 4, [("no", 2), ("yes", 2)], 1.0, 20.0),
        ("r2", 1, 1, 1, [("no", 1)], 1.0, 20.0),
    ]
    after = lake.files()
    assert {name: time for name, time in after.items() if first_day not in name} == {
        name: time for name, time in before.items() if first_day not in name
    }
    assert not {name for name in before if first_day in name} & after.keys(), (
        "every file of the day that ran is replaced"
    )

    everything = {day: [lake.contents(table, day) for table in tables.CAMPAIGNS] for day in DAYS}
    world.execute(
        "UPDATE subscribers_feedback SET feedback = NULL"
        " WHERE restaurant_id = 'r1' AND adv_campaign_id = 'c4'"
    )
    assert lake.backfill(DAYS[0], DAYS[2], JOB).success
    assert {
        day: [lake.contents(table, day) for table in tables.CAMPAIGNS] for day in DAYS
    } == everything
    assert_previews_and_plots_show_the_rows(lake)


def assert_previews_and_plots_show_the_rows(lake: LakeWorld) -> None:
    """Previews show rows; a plot of rows is wide, a plot without rows is the small note."""
    for table, plots in (
        (tables.CAMPAIGN_RESULTS, ("hours", "delays")),
        (tables.RESTAURANT_RESULTS, ("rates",)),
    ):
        key, pages = dg.AssetKey([table.layer, table.name]), {}
        for record in lake.instance.fetch_materializations(key, limit=3).records:
            assert record.asset_materialization
            pages[record.partition_key] = {
                name: value.value for name, value in record.asset_materialization.metadata.items()
            }
        assert "| r1 |" in str(pages[str(DAYS[0])]["preview"]) and "*no rows*" in str(
            pages[str(EMPTY_DAY)]["preview"]
        )
        for plot in plots:
            assert measure_width(pages[str(DAYS[0])][plot]) > 600
            assert measure_width(pages[str(EMPTY_DAY)][plot]) == 240


def measure_width(markdown: object) -> int:
    (encoded,) = re.findall(r"base64,([^)]*)", str(markdown))
    return Image.open(io.BytesIO(base64.b64decode(encoded))).width

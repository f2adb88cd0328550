"""The job `campaign_results`, from the stream's real table in Postgres to the marts in a small lake."""

import base64
import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import psycopg
import pytest
import tenacity
from PIL import Image
from psycopg import sql
from pyspark.sql import SparkSession

from promo_assets.definitions import build_definitions
from promo_assets.jvm.jdbc import jdbc_source
from promo_assets.lake import tables
from promo_assets.lake.storage.feedback import SESSION, TABLE, FeedbackSource, read_feedback
from promo_assets.local.processes import free_port
from promo_assets_tests.commands.test_cli import run
from promo_assets_tests.lake.defs.test_runs import World as LakeWorld
from promo_assets_tests.lake.defs.test_runs import failure_of
from promo_assets_tests.support.world import World, world

__all__ = ["world"]
JOB = "campaign_results"
READER = "promo_lake_of_tests"
DAYS = [date(2025, 5, 1) + timedelta(days=n) for n in range(3)]
EMPTY = DAYS[1]
VALUES = ", ".join(["%s"] * 11)


@pytest.fixture(scope="module")
def reader(services) -> Iterator[sql.Identifier]:
    with psycopg.connect(services.postgres_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(READER), "r3ader")
        )
        yield sql.Identifier(READER)
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(READER)))


@pytest.fixture
def lake(
    spark: SparkSession, world: World, tmp_path: Path, reader: sql.Identifier
) -> Iterator[LakeWorld]:
    """It reads the feedback as a role that may do nothing else."""
    done = run(
        {"PROMO_POSTGRES_URL": world.postgres_url}, "ledger", "apply", "--feedback-reader", READER
    )
    assert done.returncode == 0, done.stderr
    parts = urlsplit(world.postgres_url)
    url = parts._replace(netloc=f"{READER}:r3ader@{parts.netloc.rpartition('@')[2]}").geturl()
    yield LakeWorld(spark, tmp_path / "of-the-lake", feedback_postgres_url=url)
    world.execute(sql.SQL("DROP OWNED BY {}").format(reader))  # pyright: ignore[reportArgumentType]


def noon(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp())


def notify(
    world: World, restaurant: str, campaign: str, at: int, clients: dict[str, str | None]
) -> None:
    told = ("Two for one", "Ann", "ann@example.com", at - 60, at + 3_600, at - 20)
    with psycopg.connect(world.postgres_url) as connection:
        for client, feedback in clients.items():
            connection.execute(
                f"INSERT INTO subscribers_feedback VALUES (DEFAULT, {VALUES})",
                (restaurant, campaign, *told, client, at, feedback),
            )


def fill(world: World) -> None:
    """Two restaurants on the first day and one on the third; the first and the last second of a day, and those beside them."""
    first, third = noon(DAYS[0]), noon(DAYS[2])
    notify(world, "r1", "c1", first, {"ann": None, "bob": "yes", "eve": "yes ", "zoe": "no"})
    notify(world, "r1", "c2", first + 43_199, {"ann": None})
    notify(world, "r2", "c3", first - 43_200, {"ann": "'; DROP TABLE x; --"})
    notify(world, "r1", "c4", third, {"ann": None})
    notify(world, "before", "c", first - 43_201, {"ann": None})
    notify(world, "after", "c", third + 43_200, {"ann": None})


def seen(lake: LakeWorld, day: date) -> tuple[list[tuple], list[tuple]]:
    """Of campaigns and of restaurants: the key, clients notified and answered, feedback, rate, seconds."""

    def of(table: tables.Table, *key: str) -> list[tuple]:
        told = (
            "clients_notified",
            "clients_answered",
            "feedback",
            "feedback_rate",
            "seconds_to_first_notification",
        )
        rows = lake.lake.read(table, [day]).select(*key, *told).collect()
        return sorted(
            (
                tuple(
                    [tuple(item) for item in value] if isinstance(value, list) else value
                    for value in row
                )
            )
            for row in rows
        )

    return of(tables.CAMPAIGN_RESULTS, "restaurant_id", "adv_campaign_id"), of(
        tables.RESTAURANT_RESULTS, "restaurant_id", "campaigns"
    )


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


def test_days_go_from_postgres_to_the_marts_and_late_feedback_brings_one_up_to_date(
    lake: LakeWorld, world: World
) -> None:
    fill(world)
    result = lake.backfill(DAYS[0], DAYS[2], JOB)
    assert result.success, failure_of(result)
    assert lake.contents(tables.SUBSCRIBERS_FEEDBACK, DAYS[0]) == sorted(
        world.execute(
            "SELECT * FROM subscribers_feedback WHERE trigger_datetime_created BETWEEN %s AND %s",
            (noon(DAYS[0]) - 43_200, noon(DAYS[0]) + 43_199),
        ),
        key=repr,
    )
    assert seen(lake, DAYS[0]) == FIRST_DAY
    assert seen(lake, EMPTY) == ([], [])
    assert seen(lake, DAYS[2]) == THIRD_DAY
    assert all(lake.materialized(table) == {str(day) for day in DAYS} for table in tables.CAMPAIGNS)
    assert {str(day) for day in DAYS} == {name.rpartition("date=")[2][:10] for name in lake.files()}

    world.execute(
        "UPDATE subscribers_feedback SET feedback = 'no' WHERE client_id = 'ann'"
    )  # of all days
    before, preview_day = lake.files(), "date=" + str(DAYS[0])
    assert lake.run(JOB, DAYS[0]).success
    campaigns, restaurants = seen(lake, DAYS[0])
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
    assert {name: time for name, time in after.items() if preview_day not in name} == {
        name: time for name, time in before.items() if preview_day not in name
    }
    assert not {name for name in before if preview_day in name} & after.keys(), (
        "its own day is replaced whole"
    )

    everything = {day: [lake.contents(table, day) for table in tables.CAMPAIGNS] for day in DAYS}
    world.execute(
        "UPDATE subscribers_feedback SET feedback = NULL WHERE restaurant_id = 'r1' AND adv_campaign_id = 'c4'"
    )
    assert lake.backfill(DAYS[0], DAYS[2], JOB).success
    assert {
        day: [lake.contents(table, day) for table in tables.CAMPAIGNS] for day in DAYS
    } == everything
    assert_pages_show_what_there_is(lake)


def assert_pages_show_what_there_is(lake: LakeWorld) -> None:
    """The preview's rows, and plots that are pictures and not the note that there are no rows."""
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
            pages[str(EMPTY)]["preview"]
        )
        for plot in plots:
            assert _width(pages[str(DAYS[0])][plot]) > 600
            assert _width(pages[str(EMPTY)][plot]) == 240


def _width(markdown: object) -> int:
    (encoded,) = re.findall(r"base64,([^)]*)", str(markdown))
    return Image.open(io.BytesIO(base64.b64decode(encoded))).width


def test_without_postgres_a_run_fails_in_one_line_and_leaves_what_is_there(
    lake: LakeWorld, spark: SparkSession, world: World, tmp_path: Path
) -> None:
    fill(world)
    assert lake.run(JOB, DAYS[0]).success
    files = lake.files()
    away = f"postgresql://promo:secret-word@127.0.0.1:{free_port()}/promo"
    lake.definitions = build_definitions(
        LakeWorld.settings(tmp_path / "of-the-lake", feedback_postgres_url=away)
    )
    result = lake.run(JOB, DAYS[0])
    assert not result.success
    message = failure_of(result).strip()
    assert "\n" not in message
    assert re.search(
        r"subscribers_feedback cannot be read from jdbc:postgresql://127.0.0.1:\d+/promo: .+: Connection refused$",
        message,
    )
    assert lake.files() == files
    stored = " ".join(
        str(record.event_log_entry)
        for record in lake.instance.get_records_for_run(result.run_id).records
    )
    assert message in stored and "secret-word" not in stored


def test_a_pair_that_is_there_twice_fails_the_check_and_the_marts_stay_as_they_are(
    lake: LakeWorld, world: World
) -> None:
    fill(world)
    assert lake.run(JOB, DAYS[0]).success
    marts = {name: time for name, time in lake.files().items() if "/marts/" in name}
    notify(world, "r1", "c1", noon(DAYS[0]), {"ann": "again"})
    result = lake.run(JOB, DAYS[0])
    assert not result.success
    assert [
        found.check_name for found in result.get_asset_check_evaluations() if not found.passed
    ] == ["key_is_unique"]
    assert {name: time for name, time in lake.files().items() if "/marts/" in name} == marts


def test_a_campaign_that_is_lost_fails_the_check(
    lake: LakeWorld, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from promo_assets.lake import steps
    from promo_assets.lake.transform import mart_campaigns

    fill(world)
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


def test_restaurants_are_counted_from_the_feedback_and_not_from_an_older_mart_of_campaigns(
    lake: LakeWorld, world: World
) -> None:
    """Where only they are made anew, after a first campaign of one and another of the other."""
    notify(world, "r1", "c1", noon(DAYS[0]), {"ann": None})
    assert lake.run(JOB, DAYS[0]).success
    notify(world, "r1", "c2", noon(DAYS[0]) + 5, {"ann": "yes"})
    notify(world, "r2", "c3", noon(DAYS[0]), {"ann": None})
    keys = [
        dg.AssetKey([table.layer, table.name])
        for table in (tables.SUBSCRIBERS_FEEDBACK, tables.RESTAURANT_RESULTS)
    ]
    assert lake.run(JOB, DAYS[0], asset_selection=keys).success
    campaigns, restaurants = seen(lake, DAYS[0])
    assert [row[1] for row in campaigns] == ["c1"], "it was not made anew"
    assert restaurants == [("r1", 2, 1, 1, [("yes", 1)], 1.0, 20.0), ("r2", 1, 1, 0, [], 0.0, 20.0)]


def test_the_rest_of_the_lake_does_not_need_postgres() -> None:
    definitions = build_definitions(LakeWorld.settings(Path("/nowhere")))
    campaigns = {dg.AssetKey([table.layer, table.name]) for table in tables.CAMPAIGNS}
    assert (
        not definitions.resolve_job_def("daily_lake").asset_layer.executable_asset_keys & campaigns
    )
    assert definitions.resolve_job_def(JOB).asset_layer.executable_asset_keys == campaigns


def test_the_stream_s_table_is_what_the_lake_s_is_made_from(world: World) -> None:
    definitions = build_definitions(LakeWorld.settings(Path("/nowhere")))
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert [dep.asset_key for dep in specs["stg/subscribers_feedback"].deps] == [
        specs["subscribers_feedback"].key
    ]
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = 'subscribers_feedback' ORDER BY ordinal_position"
    assert [(name,) for name in tables.SUBSCRIBERS_FEEDBACK.column_names] == world.execute(query)


@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        ("2025-05-20", "2025-05-13", "2025-05-20"),
        ("2025-05-04", "2025-05-01", "2025-05-04"),
        ("2025-04-30", "", ""),
    ],
)
def test_the_schedule_takes_the_last_seven_days_and_today_in_one_run(
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
    assert first or evaluated.skip_message == "the lake's first day, 2025-05-01, has not come"


@pytest.fixture
def a_hundred_days(world: World) -> Iterator[World]:
    told = "'r', 'c', repeat('Two for one. ', 10), 'Ann', 'ann@example.com', 0, 9, 0"
    world.execute(
        f"""INSERT INTO subscribers_feedback SELECT nextval('subscribers_feedback_id_seq'), {told}, 'client-' || n,
            n / 1000 * 86400 + n %% 1000, NULL
        FROM generate_series(0, 99999) n"""
    )
    world.execute("VACUUM ANALYZE subscribers_feedback")
    yield world


def test_a_day_is_read_by_the_index_and_never_the_whole_table(
    spark: SparkSession, a_hundred_days: World
) -> None:
    source = FeedbackSource(*jdbc_source(a_hundred_days.postgres_url))
    day = date(1970, 2, 20)

    def pages_read() -> float:
        """Of the table's pages."""
        before = _pages(a_hundred_days)
        assert read_feedback(spark, source, [day], at_once=2).count() == 1000
        return (_pages(a_hundred_days) - before) / a_hundred_days.execute(
            "SELECT pg_relation_size('subscribers_feedback') / 8192"
        )[0][0]

    assert pages_read() < 0.1
    a_hundred_days.execute("DROP INDEX subscribers_feedback_triggered")
    assert pages_read() >= 1


@tenacity.retry(
    stop=tenacity.stop_after_delay(30),
    wait=tenacity.wait_fixed(0.1),
    retry=tenacity.retry_if_exception_type(AssertionError),
)
def _pages(world: World) -> int:
    """Pages of the table that were looked at so far; a connection tells of them when it ends."""
    assert world.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s",
        (SESSION["ApplicationName"],),
    ) == [(0,)]
    return world.execute(
        "SELECT heap_blks_read + heap_blks_hit FROM pg_statio_user_tables WHERE relname = %s",
        (TABLE,),
    )[0][0]

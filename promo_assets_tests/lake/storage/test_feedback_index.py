"""The lake reads a day of feedback from Postgres by an index."""

from collections.abc import Iterator
from datetime import date

import pytest
import tenacity
from pyspark.sql import SparkSession

from promo_assets.jvm.jdbc import jdbc_source
from promo_assets.lake.storage.feedback import SESSION, TABLE, FeedbackSource, read_feedback
from promo_assets_tests.support.world import World, world

__all__ = ["world"]


@pytest.fixture
def a_hundred_days(world: World) -> Iterator[World]:
    values = "'r', 'c', repeat('Two for one. ', 10), 'Ann', 'ann@example.com', 0, 9, 0"
    world.execute(
        f"""INSERT INTO subscribers_feedback
        SELECT nextval('subscribers_feedback_id_seq'), {values}, 'client-' || n,
            n / 1000 * 86400 + n %% 1000, NULL
        FROM generate_series(0, 99999) n"""
    )
    world.execute("VACUUM ANALYZE subscribers_feedback")
    yield world


def test_a_day_is_read_by_the_index_instead_of_the_whole_table(
    spark: SparkSession, a_hundred_days: World
) -> None:
    source = FeedbackSource(*jdbc_source(a_hundred_days.postgres_url))
    day = date(1970, 2, 20)

    def measure_share_read() -> float:
        """Reads the day; returns the pages looked at, as a share of the table's pages."""
        before = count_pages_read(a_hundred_days)
        assert read_feedback(spark, source, [day], at_once=2).count() == 1000
        return (count_pages_read(a_hundred_days) - before) / a_hundred_days.execute(
            "SELECT pg_relation_size('subscribers_feedback') / 8192"
        )[0][0]

    assert measure_share_read() < 0.1
    a_hundred_days.execute("DROP INDEX subscribers_feedback_triggered")
    assert measure_share_read() >= 1


@tenacity.retry(
    stop=tenacity.stop_after_delay(30),
    wait=tenacity.wait_fixed(0.1),
    retry=tenacity.retry_if_exception_type(AssertionError),
)
def count_pages_read(world: World) -> int:
    """Returns how many pages of the table were looked at so far.

    A connection reports its pages when it ends, so this waits until the lake's connections ended.
    """
    assert world.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s",
        (SESSION["ApplicationName"],),
    ) == [(0,)]
    return world.execute(
        "SELECT heap_blks_read + heap_blks_hit FROM pg_statio_user_tables WHERE relname = %s",
        (TABLE,),
    )[0][0]

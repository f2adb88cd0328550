"""Edge: reads days of the stream's table `subscribers_feedback` in Postgres, by Spark's JDBC reader."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

from pyspark.sql import DataFrame, SparkSession

from promo_assets.lake.storage.files import lake_errors
from promo_assets.lake.transform.calendar_days import midnight_before

TABLE = "subscribers_feedback"
CONNECTIONS = 4  # at most: Postgres has others to serve
# By the index on the trigger time, whatever the planner thinks of the table's size.
SESSION = {
    "sessionInitStatement": "SET enable_seqscan = off",
    "ApplicationName": "promo lake, feedback",
}


@dataclass(frozen=True)
class FeedbackSource:
    """A JDBC URL and the properties that go with it; these hold the password."""

    url: str
    properties: dict[str, str] = field(repr=False)


def read_feedback(
    spark: SparkSession, source: FeedbackSource, days: Sequence[date], at_once: int
) -> DataFrame:
    """Rows whose trigger time is on one of the days, or between them, with all columns; a partition and a connection per part of that time.

    Raises `LakeError` where Postgres is not to be had. Lazy: it is read when the frame is computed.
    """
    bounds = _split(
        midnight_before(min(days)), midnight_before(max(days)) + 86_400, min(at_once, CONNECTIONS)
    )
    of_part = [
        f"trigger_datetime_created >= {first:d} AND trigger_datetime_created < {end:d}"
        for first, end in pairwise(bounds)
    ]
    with lake_errors(f"{TABLE} cannot be read from {source.url}"):
        return spark.read.jdbc(
            source.url, TABLE, predicates=of_part, properties=source.properties | SESSION
        )


def _split(first: int, end: int, parts: int) -> list[int]:
    """The bounds of as many parts of equal length."""
    return [first + (end - first) * part // parts for part in range(parts + 1)]

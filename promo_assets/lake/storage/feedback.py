"""The edge to Postgres: reads days of the stream's table `subscribers_feedback` over JDBC."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

from pyspark.sql import DataFrame, SparkSession

from promo_assets.lake.storage.files import translate_errors
from promo_assets.lake.transform.calendar_days import midnight_before

TABLE = "subscribers_feedback"
SECONDS_PER_DAY = 86_400
MAX_CONNECTIONS = 4  # Postgres has other clients to serve
# Reads by the index on the trigger time, whatever the planner assumes about the table's size.
SESSION = {
    "sessionInitStatement": "SET enable_seqscan = off",
    "ApplicationName": "promo lake, feedback",
}


@dataclass(frozen=True)
class FeedbackSource:
    """A JDBC URL and its connection properties, which contain the password."""

    url: str
    properties: dict[str, str] = field(repr=False)


def read_feedback(
    spark: SparkSession, source: FeedbackSource, days: Sequence[date], at_once: int
) -> DataFrame:
    """Return all columns of the rows whose trigger time is between the first and the last day.

    Each partition reads a part of that time over a connection of its own, at most `at_once` and at
    most MAX_CONNECTIONS. The frame is lazy: rows are read when it is computed.
    Raises `LakeError` if Postgres is unavailable.
    """
    first, end = midnight_before(min(days)), midnight_before(max(days)) + SECONDS_PER_DAY
    bounds = _split_range(first, end, min(at_once, MAX_CONNECTIONS))
    predicates = [
        f"trigger_datetime_created >= {part_first:d} AND trigger_datetime_created < {part_end:d}"
        for part_first, part_end in pairwise(bounds)
    ]
    with translate_errors(f"{TABLE} cannot be read from {source.url}"):
        return spark.read.jdbc(
            source.url, TABLE, predicates=predicates, properties=source.properties | SESSION
        )


def _split_range(first: int, end: int, parts: int) -> list[int]:
    """Return the bounds of that many parts of equal length."""
    return [first + (end - first) * part // parts for part in range(parts + 1)]

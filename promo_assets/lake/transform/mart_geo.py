"""Mart `geo`: how many events and registrations a zone has by week and month."""

from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from promo_assets.lake.tables import EVENT_TYPES, GEO_MART
from promo_assets.lake.transform.calendar_days import date_literal, window_start

REGISTRATION = "user"


def geo(events: DataFrame, first_messages: DataFrame, as_of: date, depth: int) -> DataFrame:
    """Return the table `geo`.

    It is computed from the window of the table `events` and all days of the table `first_messages`
    up to `as_of`. Events are counted by day first, so that the sums over weeks and months are made
    of little data: cities times days.
    """
    located = events.where(F.col("city_id").isNotNull()).select("city_id", "date", "event_type")
    counted = located.unionByName(_registrations(first_messages, window_start(as_of, depth)))
    by_day = counted.groupBy("city_id", "date", "event_type").agg(F.count("*").alias("number"))
    kinds = (*EVENT_TYPES, REGISTRATION)
    per_zone = by_day.coalesce(1).groupBy(
        F.col("city_id").alias("zone_id"),
        F.date_trunc("week", "date").alias("week"),
        F.date_trunc("month", "date").alias("month"),
    )
    zones = per_zone.agg(*(_sum_of_kind(kind).alias(kind) for kind in kinds))
    in_week = Window.partitionBy("zone_id", "week")
    in_month = Window.partitionBy("zone_id", "month")
    counts = zones.select(
        "zone_id",
        "week",
        "month",
        *(F.sum(kind).over(in_week).alias(f"week_{kind}") for kind in kinds),
        *(F.sum(kind).over(in_month).alias(f"month_{kind}") for kind in kinds),
    )
    return counts.select(*GEO_MART.column_names)


def _sum_of_kind(kind: str) -> Column:
    return F.sum(F.when(F.col("event_type") == kind, F.col("number")).otherwise(0))


def _registrations(first_messages: DataFrame, start: date) -> DataFrame:
    """Return a row per user whose first message ever is in the window and has a city."""
    first = first_messages.groupBy("user_id").agg(
        F.min("date").alias("date"), F.min_by("city_id", "date").alias("city_id")
    )
    is_in_window = F.col("date") >= date_literal(start)
    registered = first.where(is_in_window & F.col("city_id").isNotNull())
    return registered.select("city_id", "date", F.lit(REGISTRATION).alias("event_type"))

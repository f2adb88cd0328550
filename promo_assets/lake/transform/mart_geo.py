"""Mart `geo`: what happens in a zone, by week and month."""

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_assets.lake.tables import EVENT_TYPES, GEO_MART
from promo_assets.lake.transform.calendar_days import date_literal, window_start

REGISTRATION = "user"


def geo(events: DataFrame, first_messages: DataFrame, as_of: date, depth: int) -> DataFrame:
    """Table `geo`, from table `events` of the window and table `first_messages` of all days up to `as_of`.

    Days are counted first, so that what is summed up over weeks and months is small: cities times days.
    """
    happened = events.where(F.col("city_id").isNotNull()).select("city_id", "date", "event_type")
    days = happened.unionByName(_registrations(first_messages, window_start(as_of, depth)))
    counts = (
        days.groupBy("city_id", "date", "event_type").agg(F.count("*").alias("number")).coalesce(1)
    )
    kinds = (*EVENT_TYPES, REGISTRATION)
    week, month = (
        F.date_trunc("week", "date").alias("week"),
        F.date_trunc("month", "date").alias("month"),
    )
    zones = counts.groupBy(F.col("city_id").alias("zone_id"), week, month).agg(
        *(
            F.sum(F.when(F.col("event_type") == kind, F.col("number")).otherwise(0)).alias(kind)
            for kind in kinds
        )
    )
    in_week, in_month = (
        Window.partitionBy("zone_id", "week"),
        Window.partitionBy("zone_id", "month"),
    )
    return zones.select(
        "zone_id",
        "week",
        "month",
        *(F.sum(kind).over(in_week).alias(f"week_{kind}") for kind in kinds),
        *(F.sum(kind).over(in_month).alias(f"month_{kind}") for kind in kinds),
    ).select(*GEO_MART.column_names)


def _registrations(first_messages: DataFrame, start: date) -> DataFrame:
    """Users whose first message ever is in the window: one row each, where that message has a city."""
    first = first_messages.groupBy("user_id").agg(
        F.min("date").alias("date"), F.min_by("city_id", "date").alias("city_id")
    )
    registered = first.where((F.col("date") >= date_literal(start)) & F.col("city_id").isNotNull())
    return registered.select("city_id", "date", F.lit(REGISTRATION).alias("event_type"))

"""What marts need to know of all of history, as a small table per day: a mart reads these instead of all events ever."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_assets.lake.tables import CORRESPONDENTS, FIRST_MESSAGES, LAST_POSITIONS, MESSAGE, VISITS

# Wherever events are ordered; Spark puts nulls first, in an ascending sort as in a comparison of structs.
ORDER = ("event_at", "message_id", "lat", "lon")


def visits(events: DataFrame) -> DataFrame:
    """Table `visits`, with `date`."""
    day_of_user = Window.partitionBy("date", "user_id").orderBy(*ORDER)
    visit = (
        Window.partitionBy("date", "user_id")
        .orderBy(*ORDER)
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    messages = events.where((F.col("event_type") == MESSAGE) & F.col("city_id").isNotNull())
    arrivals = messages.withColumn(
        "arrived", F.coalesce(F.col("city_id") != F.lag("city_id").over(day_of_user), F.lit(True))
    )
    numbered = arrivals.withColumn(
        "visit_number", F.sum(F.col("arrived").cast("int")).over(visit).cast("int")
    )
    return (
        numbered.groupBy("date", "user_id", "visit_number", "city_id")
        .agg(
            F.min("event_at").alias("first_message_at"), F.max("event_at").alias("last_message_at")
        )
        .select("date", *VISITS.column_names)
    )


def first_messages(events: DataFrame) -> DataFrame:
    """Table `first_messages`, with `date`."""
    messages = events.where(F.col("event_type") == MESSAGE)
    first = messages.groupBy("date", "user_id").agg(
        F.min(F.struct(*ORDER, "city_id")).alias("first")
    )
    return first.select("date", "user_id", "first.city_id").select(
        "date", *FIRST_MESSAGES.column_names
    )


def correspondents(events: DataFrame) -> DataFrame:
    """Table `correspondents`, with `date`; who writes to himself corresponds with nobody."""
    direct = events.where(
        (F.col("event_type") == MESSAGE) & (F.col("message_to") != F.col("user_id"))
    )
    pairs = direct.select(
        "date",
        F.least("user_id", "message_to").alias("user_left"),
        F.greatest("user_id", "message_to").alias("user_right"),
    )
    return pairs.distinct().select("date", *CORRESPONDENTS.column_names)


def last_positions(events: DataFrame) -> DataFrame:
    """Table `last_positions`, with `date`."""
    located = events.where(F.col("city_id").isNotNull())
    last = located.groupBy("date", "user_id").agg(F.max(F.struct(*ORDER, "city_id")).alias("last"))
    return last.select("date", "user_id", "last.lat", "last.lon", "last.city_id").select(
        "date", *LAST_POSITIONS.column_names
    )

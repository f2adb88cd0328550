"""DDS history: what marts need from all days, as a small table per day.

A mart reads these tables instead of all events ever.
"""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_assets.lake.tables import CORRESPONDENTS, FIRST_MESSAGES, LAST_POSITIONS, MESSAGE, VISITS

# The order of events everywhere (rule 2.4). Spark puts nulls first, both in an ascending sort and
# in a comparison of structs.
ORDER = ("event_at", "message_id", "lat", "lon")


def visits(events: DataFrame) -> DataFrame:
    """Return the table `visits` with `date`."""
    user_day = Window.partitionBy("date", "user_id").orderBy(*ORDER)
    so_far = user_day.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    is_message = F.col("event_type") == MESSAGE
    messages = events.where(is_message & F.col("city_id").isNotNull())
    is_arrival = F.coalesce(F.col("city_id") != F.lag("city_id").over(user_day), F.lit(True))
    arrivals = messages.withColumn("arrived", is_arrival)
    visit_number = F.sum(F.col("arrived").cast("int")).over(so_far).cast("int")
    numbered = arrivals.withColumn("visit_number", visit_number)
    runs = numbered.groupBy("date", "user_id", "visit_number", "city_id").agg(
        F.min("event_at").alias("first_message_at"),
        F.max("event_at").alias("last_message_at"),
    )
    return runs.select("date", *VISITS.column_names)


def first_messages(events: DataFrame) -> DataFrame:
    """Return the table `first_messages` with `date`."""
    messages = events.where(F.col("event_type") == MESSAGE)
    first = F.min(F.struct(*ORDER, "city_id")).alias("first")
    firsts = messages.groupBy("date", "user_id").agg(first)
    columns = firsts.select("date", "user_id", "first.city_id")
    return columns.select("date", *FIRST_MESSAGES.column_names)


def correspondents(events: DataFrame) -> DataFrame:
    """Return the table `correspondents` with `date`; messages to oneself do not count."""
    is_message = F.col("event_type") == MESSAGE
    direct = events.where(is_message & (F.col("message_to") != F.col("user_id")))
    pairs = direct.select(
        "date",
        F.least("user_id", "message_to").alias("user_left"),
        F.greatest("user_id", "message_to").alias("user_right"),
    )
    return pairs.distinct().select("date", *CORRESPONDENTS.column_names)


def last_positions(events: DataFrame) -> DataFrame:
    """Return the table `last_positions` with `date`."""
    located = events.where(F.col("city_id").isNotNull())
    last = F.max(F.struct(*ORDER, "city_id")).alias("last")
    lasts = located.groupBy("date", "user_id").agg(last)
    columns = lasts.select("date", "user_id", "last.lat", "last.lon", "last.city_id")
    return columns.select("date", *LAST_POSITIONS.column_names)

"""Mart `users`: where a user is, where home is, and where the user travelled."""

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_assets.lake.tables import USERS
from promo_assets.lake.transform.calendar_days import date_literal, midnight_after, window_start
from promo_assets.lake.transform.cities import City, city_value

HOME_AFTER_DAYS = 27


def users(visits: DataFrame, cities: list[City], as_of: date, depth: int) -> DataFrame:
    """Table `users`, from table `visits` of all days up to `as_of`."""
    stay = F.make_dt_interval(F.lit(HOME_AFTER_DAYS))
    place = F.struct("date", "visit_number", "city_id")
    summaries = (
        _joined(visits, window_start(as_of, depth))
        .groupBy("user_id")
        .agg(
            F.max(F.struct("date", "visit_number", "city_id", "last_message_at", "since")).alias(
                "last"
            ),
            F.max(
                F.when(
                    F.col("first_message_at") - F.col("since_before") > stay,
                    F.struct("date", "visit_number", "city_before"),
                )
            ).alias("home"),
            F.sort_array(F.collect_list(F.when(F.col("began"), place))).alias("travels"),
        )
        .where(F.col("last.date") >= date_literal(window_start(as_of, depth)))
    )
    still_there = F.lit(midnight_after(as_of)) - F.col("last.since") > stay
    home_id = F.when(still_there, F.col("last.city_id")).otherwise(F.col("home.city_before"))
    return summaries.select(
        "user_id",
        city_value(F.col("last.city_id"), cities, "city").alias("act_city"),
        city_value(home_id, cities, "city").alias("home_city"),
        F.size("travels").alias("travel_count"),
        F.transform("travels", lambda visit: city_value(visit["city_id"], cities, "city")).alias(
            "travel_array"
        ),
        F.from_utc_timestamp(
            F.col("last.last_message_at"), city_value(F.col("last.city_id"), cities, "timezone")
        ).alias("local_time"),
    ).select(*USERS.column_names)


def _joined(visits: DataFrame, start: date) -> DataFrame:
    """The days' visits, joined: where a day begins in the city where the one before ended, both are one visit.

    A row stays a day's visit, and adds: `since` when the joined visit began that it belongs to; in the row that begins the next joined
    visit, `since_before` and `city_before` of the one that ends there; `began`, whether a visit of the window begins with it,
    as it also does where the visit before is out of the window's sight.
    """
    history = Window.partitionBy("user_id").orderBy("date", "visit_number")
    so_far = history.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    city_before, date_before = F.lag("city_id").over(history), F.lag("date").over(history)
    moved = F.coalesce(city_before != F.col("city_id"), F.lit(True))
    began = (F.col("date") >= date_literal(start)) & (moved | (date_before < date_literal(start)))
    runs = visits.withColumns({"city_before": city_before, "moved": moved, "began": began})
    since = F.last(F.when(F.col("moved"), F.col("first_message_at")), ignorenulls=True).over(so_far)
    joined = runs.withColumn("since", since)
    return joined.withColumn("since_before", F.when(F.col("moved"), F.lag("since").over(history)))

"""Mart `users`: a user's current city, home city and travels."""

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_assets.lake.tables import USERS
from promo_assets.lake.transform.calendar_days import date_literal, midnight_after, window_start
from promo_assets.lake.transform.cities import City, city_value

HOME_AFTER_DAYS = 27


def users(visits: DataFrame, cities: list[City], as_of: date, depth: int) -> DataFrame:
    """Return the table `users`, computed from all days of the table `visits` up to `as_of`."""
    home_after = F.make_dt_interval(F.lit(HOME_AFTER_DAYS))
    start = window_start(as_of, depth)
    last = F.struct("date", "visit_number", "city_id", "last_message_at", "since")
    was_long = F.col("first_message_at") - F.col("since_before") > home_after
    former_home = F.when(was_long, F.struct("date", "visit_number", "city_before"))
    travel = F.when(F.col("began"), F.struct("date", "visit_number", "city_id"))
    joined = _join_visits_of_days(visits, start)
    summaries = joined.groupBy("user_id").agg(
        F.max(last).alias("last"),
        F.max(former_home).alias("home"),
        F.sort_array(F.collect_list(travel)).alias("travels"),
    )
    active = summaries.where(F.col("last.date") >= date_literal(start))
    is_current_long = F.lit(midnight_after(as_of)) - F.col("last.since") > home_after
    act_id = F.col("last.city_id")
    home_id = F.when(is_current_long, act_id).otherwise(F.col("home.city_before"))
    travels = F.transform("travels", lambda visit: city_value(visit["city_id"], cities, "city"))
    timezone = city_value(act_id, cities, "timezone")
    described = active.select(
        "user_id",
        city_value(act_id, cities, "city").alias("act_city"),
        city_value(home_id, cities, "city").alias("home_city"),
        F.size("travels").alias("travel_count"),
        travels.alias("travel_array"),
        F.from_utc_timestamp(F.col("last.last_message_at"), timezone).alias("local_time"),
    )
    return described.select(*USERS.column_names)


def _join_visits_of_days(visits: DataFrame, start: date) -> DataFrame:
    """Join visits over midnight: they are one if a day begins in the city where the last ended.

    A row is still a visit of one day, with four more columns:
    `since`: when the joined visit that it belongs to began;
    `since_before`, `city_before`: in the row that begins the next joined visit, when the one that
    ends there began, and its city;
    `began`: whether a visit of the window begins with this row. It does so, too, if the visit
    before lies before the window, which starts at `start`.
    """
    history = Window.partitionBy("user_id").orderBy("date", "visit_number")
    so_far = history.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    city_before, date_before = F.lag("city_id").over(history), F.lag("date").over(history)
    moved = F.coalesce(city_before != F.col("city_id"), F.lit(True))
    is_in_window = F.col("date") >= date_literal(start)
    began = is_in_window & (moved | (date_before < date_literal(start)))
    runs = visits.withColumns({"city_before": city_before, "moved": moved, "began": began})
    arrived_at = F.when(F.col("moved"), F.col("first_message_at"))
    joined = runs.withColumn("since", F.last(arrived_at, ignorenulls=True).over(so_far))
    since_before = F.when(F.col("moved"), F.lag("since").over(history))
    return joined.withColumn("since_before", since_before)

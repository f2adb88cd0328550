"""The contestant *textbook*: the Spark jobs that tutorials show.

Each job reads RAW, joins every event with every city, computes the distances in a Python UDF, and
keeps the nearest city with a window.
"""

from datetime import timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession, Window, WindowSpec
from pyspark.sql import functions as F

from lake_race.steps import AS_OF, DDS, FRIENDS, GEO, THREADS, USERS, Steps
from lake_race.textbook_events import (
    add_nearest_city,
    make_distance_udf,
    read_usable_events,
)
from promo_assets.jvm.session import prepare_environment
from promo_assets.lake import tables
from promo_assets.lake.transform.cities import SHIPPED, parse_cities
from promo_assets.settings import Settings

CITY_SCHEMA = "city_id long, city string, city_lat double, city_lon double, timezone string"
EVENT_ORDER = ("event_at", "message_id", "lat", "lon")


def open_textbook(root: Path) -> Steps:
    prepare_environment(Settings(home=root / "home"))
    session = SparkSession.builder.master(f"local[{THREADS}]").config(
        map={"spark.sql.session.timeZone": "UTC", "spark.ui.enabled": "false"}
    )
    jobs = Textbook(session.getOrCreate(), root)
    return {
        DDS: jobs.write_events,
        USERS: jobs.write_users,
        GEO: jobs.write_geo,
        FRIENDS: jobs.write_friends,
    }


class Textbook:
    def __init__(self, spark: SparkSession, root: Path):
        self._spark = spark
        self._root = root
        self._distance = make_distance_udf()
        rows = [
            (city.city_id, city.city, city.lat, city.lon, city.timezone)
            for city in parse_cities(SHIPPED.read_bytes())
        ]
        self._cities = spark.createDataFrame(rows, CITY_SCHEMA)
        self._timezones = self._cities.select("city_id", "city", "timezone")

    def write_events(self) -> None:
        events = self._read_events()
        nowhere = events.where("lat is null or lon is null").withColumn(
            "city_id", F.lit(None).cast("long")
        )
        located = self._with_city(self._read_events())
        self._write(located.unionByName(nowhere), DDS, "date", "event_type")

    def write_users(self) -> None:
        messages = self._with_city(self._read_events().where("event_type = 'message'")).join(
            self._timezones, "city_id"
        )
        in_order = _order_events()
        arrivals = messages.withColumn("before", F.lag("city_id").over(in_order)).where(
            "before is null or before <> city_id"
        )
        end = F.lit(AS_OF + timedelta(days=1)).cast("timestamp")
        left_at = F.coalesce(F.lead("event_at").over(in_order), end)
        seconds = left_at.cast("double") - F.col("event_at").cast("double")
        visits = arrivals.withColumn("days", seconds / 86_400)
        last = _keep_latest(messages)
        home = _keep_latest(visits.where("days > 27"))
        visit = F.struct(*EVENT_ORDER, "city")
        travels = visits.groupBy("user_id").agg(F.sort_array(F.collect_list(visit)).alias("visits"))
        homes = home.select("user_id", F.col("city").alias("home_city"))
        mart = last.join(homes, "user_id", "left").join(travels, "user_id").select(
            "user_id",
            F.col("city").alias("act_city"),
            "home_city",
            F.size("visits").alias("travel_count"),
            F.col("visits.city").alias("travel_array"),
            F.from_utc_timestamp("event_at", F.col("timezone")).alias("local_time"),
        )  # fmt: skip
        self._write(mart, USERS)

    def write_geo(self) -> None:
        columns = ("user_id", *EVENT_ORDER, "event_type", "city_id", "date")
        events = self._with_city(self._read_events()).select(*columns)
        nowhere = (
            self._read_events()
            .where("event_type = 'message' and (lat is null or lon is null)")
            .withColumn("city_id", F.lit(None).cast("long"))
            .select(*columns)
        )
        messages = events.where("event_type = 'message'").unionByName(nowhere)
        in_order = _order_events()
        first = (
            messages.withColumn("rank", F.row_number().over(in_order))
            .where("rank = 1 and city_id is not null")
            .drop("rank")
        )
        counted = events.unionByName(first.withColumn("event_type", F.lit("user")))
        for period in ("week", "month"):
            counted = counted.withColumn(period, F.date_trunc(period, "event_at"))
        mart = counted.select(F.col("city_id").alias("zone_id"), "week", "month").distinct()
        for period in ("week", "month"):
            counts = (
                F.count(F.when(F.col("event_type") == kind, 1)).alias(f"{period}_{kind}")
                for kind in (*tables.EVENT_TYPES, "user")
            )
            by_period = counted.groupBy(F.col("city_id").alias("zone_id"), period).agg(*counts)
            mart = mart.join(by_period, ["zone_id", period])
        self._write(mart.select(*tables.GEO_MART.column_names), GEO)

    def write_friends(self) -> None:
        subscribed = (
            self._read_events()
            .where("event_type = 'subscription'")
            .select("user_id", "channel_id")
            .distinct()
        )
        left = subscribed.withColumnRenamed("user_id", "user_left")
        right = subscribed.withColumnRenamed("user_id", "user_right")
        pairs = (
            left.join(right, "channel_id")
            .where("user_left < user_right")
            .select("user_left", "user_right")
            .distinct()
        )
        last = _keep_latest(self._with_city(self._read_events()))
        zones = self._timezones.withColumnRenamed("city_id", "zone_id")
        last_of_left = last.selectExpr(
            "user_id user_left", "lat lat_1", "lon lon_1", "city_id zone_id"
        ).join(zones, "zone_id")
        last_of_right = last.selectExpr("user_id user_right", "lat lat_2", "lon lon_2")
        near = (
            pairs.join(last_of_left, "user_left")
            .join(last_of_right, "user_right")
            .where(self._distance("lat_1", "lon_1", "lat_2", "lon_2") <= 1)
        )
        wrote = (
            self._read_events()
            .where("event_type = 'message'")
            .select(
                F.least("user_id", "message_to").alias("user_left"),
                F.greatest("user_id", "message_to").alias("user_right"),
            )
        )
        strangers = near.join(wrote, ["user_left", "user_right"], "left_anti").withColumn(
            "processed_dttm", F.current_timestamp()
        )
        local_time = F.from_utc_timestamp("processed_dttm", F.col("timezone")).alias("local_time")
        mart = strangers.select("user_left", "user_right", "zone_id", "processed_dttm", local_time)
        self._write(mart, FRIENDS)

    def _read_events(self) -> DataFrame:
        return read_usable_events(self._spark, self._root)

    def _with_city(self, events: DataFrame) -> DataFrame:
        return add_nearest_city(events, self._cities, self._distance)

    def _write(self, rows: DataFrame, table: str, *partitions: str) -> None:
        folder = str(self._root / "textbook" / table)
        rows.write.mode("overwrite").partitionBy(*partitions).parquet(folder)


def _order_events() -> WindowSpec:
    return Window.partitionBy("user_id").orderBy(*EVENT_ORDER)


def _keep_latest(rows: DataFrame) -> DataFrame:
    """Return the last row of each user."""
    latest_first = Window.partitionBy("user_id").orderBy(*(F.desc(name) for name in EVENT_ORDER))
    return rows.withColumn("rank", F.row_number().over(latest_first)).where("rank = 1")

"""How the contestant *textbook* reads events and finds their cities."""

import math
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from promo_assets.lake import tables
from promo_assets.lake.transform.cities import EARTH_RADIUS_KM

TIME_PATTERN = r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?$"


def make_distance_udf() -> Callable[..., Column]:
    """Return a UDF of the haversine distance in km between two points in degrees.

    It is a local function so that Spark pickles its code: the Python workers cannot import this
    module.
    """

    @F.udf("double")
    def distance(lat_1: float, lon_1: float, lat_2: float, lon_2: float) -> float:
        lat_1, lon_1, lat_2, lon_2 = map(math.radians, (lat_1, lon_1, lat_2, lon_2))
        a = (
            math.sin((lat_2 - lat_1) / 2) ** 2
            + math.cos(lat_1) * math.cos(lat_2) * math.sin((lon_2 - lon_1) / 2) ** 2
        )
        return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(a))

    return distance


def read_usable_events(spark: SparkSession, root: Path) -> DataFrame:
    """Return the usable events of RAW, typed."""
    raw = spark.read.parquet(str(root / tables.RAW_EVENTS.path.lstrip("/")))
    event, kind = F.col("event"), F.col("event_type")
    message, reaction, subscription = (kind == name for name in tables.EVENT_TYPES)
    user = (
        F.when(message, event.message_from.cast("string"))
        .when(reaction, event.reaction_from)
        .when(subscription, F.coalesce(event.user, event.subscription_user))
    )
    channel = (
        F.when(message, event.message_channel_to)
        .when(reaction, event.channel_id)
        .when(subscription, event.subscription_channel)
    )
    time = F.coalesce(event.datetime, event.message_ts)
    event_at = F.when(time.rlike(TIME_PATTERN), time.try_cast("timestamp"))
    events = raw.where(kind.isin(*tables.EVENT_TYPES)).select(
        F.when(user.rlike("^[0-9]+$"), user.cast("long")).alias("user_id"),
        event.message_id.alias("message_id"),
        event.message_to.alias("message_to"),
        channel.alias("channel_id"),
        event_at.alias("event_at"),
        *("lat", "lon", "event_type", "date"),
    )
    lat_is_valid = F.coalesce(F.col("lat").between(-90, 90), F.lit(True))
    lon_is_valid = F.coalesce(F.col("lon").between(-180, 180), F.lit(True))
    of_day = F.to_date("event_at") == F.col("date")
    return events.where(F.col("user_id").isNotNull() & of_day & lat_is_valid & lon_is_valid)


def add_nearest_city(
    events: DataFrame, cities: DataFrame, distance: Callable[..., Column]
) -> DataFrame:
    """Return the events that have a position, with the id of the nearest city."""
    located = events.where("lat is not null and lon is not null").withColumn(
        "number", F.monotonically_increasing_id()
    )
    distances = located.crossJoin(cities.drop("city", "timezone")).withColumn(
        "distance", distance("lat", "lon", "city_lat", "city_lon")
    )
    nearest_first = Window.partitionBy("number").orderBy("distance", "city_id")
    return (
        distances.withColumn("rank", F.row_number().over(nearest_first))
        .where("rank = 1")
        .select(*events.columns, "city_id")
    )

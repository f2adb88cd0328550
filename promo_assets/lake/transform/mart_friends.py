"""Mart `friend_recomendation`: pairs of users who are near, share a channel and never wrote.

Nearness is tested first: few pairs are near, while a popular channel has too many pairs to make.
"""

from datetime import date, datetime
from itertools import product
from math import sin

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from promo_assets.lake.tables import FRIENDS, SUBSCRIPTION
from promo_assets.lake.transform.calendar_days import date_literal
from promo_assets.lake.transform.cities import (
    EARTH_RADIUS_KM,
    City,
    city_value,
    distance_km,
    unit_vector,
)

NEAR_KM = 1.0
# Cells are cubes in space instead of squares on a map, so they work at every latitude, at the poles
# and across the 180th meridian. Their edge is slightly longer than NEAR_KM, and a chord is never
# longer than its arc: users who are near are in the same cell or in adjacent ones.
CELL_KM = 1.001
POPULAR = 63  # channels that are stored as the bits of a long, whose last bit is its sign
_AXIS = 2**14  # cells along an axis, more than twice the Earth's radius
# Steps to half of a cell's neighbours and to the cell itself, so that any two cells meet once.
_STEPS = [
    dx * _AXIS * _AXIS + dy * _AXIS + dz
    for dx, dy, dz in product((-1, 0, 1), repeat=3)
    if (dx, dy, dz) >= (0, 0, 0)
]


def friend_recomendation(
    last_positions: DataFrame,
    events: DataFrame,
    correspondents: DataFrame,
    cities: list[City],
    processed_at: datetime,
    as_of: date,
) -> DataFrame:
    """Return the table `friend_recomendation`.

    `last_positions` and `events` are those tables in the window, `correspondents` is that table in
    all days up to `as_of`.
    """
    channels, partners = _channels(events, as_of), _partners(correspondents)
    processed = F.lit(processed_at)
    local_time = F.from_utc_timestamp(processed, city_value(F.col("city_id"), cities, "timezone"))
    # Local times are computed per person and not per pair, because there are far fewer persons.
    people = _people(last_positions, channels, partners).withColumn("local_time", local_time)
    pairs = _pairs(people).withColumn("processed_dttm", processed)
    return pairs.select(*FRIENDS.column_names)


def _channels(events: DataFrame, as_of: date) -> DataFrame:
    """Return a row per user with subscriptions: popular channels as bits, the others as an array.

    Most pairs with a common channel share a popular one, and comparing two longs is much faster
    than comparing two arrays. Which channels are popular affects only the time, never the result,
    so the counts of the last day are used for the whole window.
    """
    is_subscription = F.col("event_type") == SUBSCRIPTION
    subscribed = events.where(is_subscription & F.col("channel_id").isNotNull())
    on_last_day = subscribed.where(F.col("date") == date_literal(as_of))
    counts = on_last_day.groupBy("channel_id").agg(F.count("*").alias("number"))
    by_popularity = F.desc("number"), "channel_id"
    rank = F.row_number().over(Window.orderBy(*by_popularity)) - 1
    popular = counts.orderBy(*by_popularity).limit(POPULAR)
    ranks = F.broadcast(popular.select("channel_id", rank.alias("rank")))
    ranked = subscribed.select("user_id", "channel_id").join(ranks, on="channel_id", how="left")
    bit = F.call_function("shiftleft", F.lit(1).cast("long"), F.col("rank"))
    unpopular_id = F.when(F.col("rank").isNull(), F.col("channel_id"))
    return ranked.groupBy("user_id").agg(
        F.coalesce(F.bit_or(bit), F.lit(0).cast("long")).alias("popular"),
        F.collect_set(unpopular_id).alias("channels"),
    )


def _partners(correspondents: DataFrame) -> DataFrame:
    """Return a row per user with the users whom they wrote with.

    Each pair is listed only at its smaller id.
    """
    partners = F.collect_set("user_right").alias("partners")
    return correspondents.groupBy(F.col("user_left").alias("user_id")).agg(partners)


def _people(last_positions: DataFrame, channels: DataFrame, partners: DataFrame) -> DataFrame:
    """Return a row per user of the window who has a position and a channel.

    It has the last position, in degrees, in km and as a cell, the channels and the partners.
    """
    latest = (F.max_by(name, "date").alias(name) for name in ("lat", "lon", "city_id"))
    seen = last_positions.groupBy("user_id").agg(*latest)
    subscribed = seen.join(channels.hint("shuffle_hash"), on="user_id", how="inner")
    known = subscribed.join(partners.hint("shuffle_hash"), on="user_id", how="left")
    x, y, z = (axis * EARTH_RADIUS_KM for axis in unit_vector(F.col("lat"), F.col("lon")))
    return known.withColumns({"x": x, "y": y, "z": z}).withColumn("cell", _cell())


def _cell() -> Column:
    """Return the number of the cube in which the position x, y, z (km) lies."""
    i, j, k = (F.floor(F.col(axis) / CELL_KM) + _AXIS // 2 for axis in ("x", "y", "z"))
    return (i * _AXIS + j) * _AXIS + k


def _pairs(people: DataFrame) -> DataFrame:
    """Return a row per unordered pair of people who are near, share a channel and never wrote.

    `zone_id` and `local_time` are those of the left user.
    All conditions are part of one join, so that no row is made for a pair that fails. People are
    first shuffled by cell: Spark then computes them once for both sides, although it shuffles one
    side again, by the cell that each of its rows is compared with.
    """
    by_cell = people.repartition("cell")
    step = F.explode(F.array(*map(F.lit, _STEPS))).alias("step")
    one = by_cell.select(*(F.col(name).alias(f"{name}_1") for name in people.columns), step)
    other = by_cell.select(*(F.col(name).alias(f"{name}_2") for name in people.columns))
    is_left = F.col("user_id_1") < F.col("user_id_2")
    is_same_or_adjacent_cell = F.col("cell_1") + F.col("step") == F.col("cell_2")
    meets = is_same_or_adjacent_cell & ((F.col("step") != 0) | is_left)
    shares_popular = F.col("popular_1").bitwiseAND(F.col("popular_2")) != 0
    shares_channel = shares_popular | F.arrays_overlap("channels_1", "channels_2")
    right_of_1 = F.array_contains("partners_1", F.col("user_id_2"))
    right_of_2 = F.array_contains("partners_2", F.col("user_id_1"))
    wrote = F.coalesce(F.when(is_left, right_of_1).otherwise(right_of_2), F.lit(False))
    is_friend = meets & _is_near() & shares_channel & ~wrote
    pairs = one.join(other.hint("shuffle_hash"), on=is_friend, how="inner")
    return pairs.select(
        F.least("user_id_1", "user_id_2").alias("user_left"),
        F.greatest("user_id_1", "user_id_2").alias("user_right"),
        F.when(is_left, F.col("city_id_1")).otherwise(F.col("city_id_2")).alias("zone_id"),
        F.when(is_left, F.col("local_time_1")).otherwise(F.col("local_time_2")).alias("local_time"),
    )


def _is_near() -> Column:
    """Return whether two people are at most NEAR_KM apart.

    The chord decides, because it needs no trigonometry. The distance itself is computed only where
    rounding could decide.
    """
    squares = [
        (F.col(f"{axis}_1") - F.col(f"{axis}_2")) * (F.col(f"{axis}_1") - F.col(f"{axis}_2"))
        for axis in ("x", "y", "z")
    ]
    chord_squared = squares[0] + squares[1] + squares[2]
    limit = (2 * EARTH_RADIUS_KM * sin(NEAR_KM / (2 * EARTH_RADIUS_KM))) ** 2
    distance = distance_km(F.col("lat_1"), F.col("lon_1"), F.col("lat_2"), F.col("lon_2"))
    is_surely_near = chord_squared < limit * (1 - 1e-6)
    is_maybe_near = chord_squared < limit * (1 + 1e-6)
    return is_surely_near | (is_maybe_near & (distance <= NEAR_KM))

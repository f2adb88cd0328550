"""Mart `friend_recomendation`: pairs of users who are near each other and have a channel in common, and never wrote.

Near comes first: few pairs are near, and all pairs of a popular channel would be too many.
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
# Cells are cubes in space, not squares on a map: true at each latitude, at the poles and across the 180th meridian. Their
# edge is a little more than NEAR_KM, and a chord is no longer than its arc: who is near is in the same cell or next to it.
CELL_KM = 1.001
POPULAR = 63  # channels that are told by the bits of a long; the last bit is its sign
_AXIS = 2**14  # cells along an axis, more than twice the Earth's radius
# Half of a cell's neighbours, and the cell itself: each two cells meet once.
_MEETING = [
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
    """Table `friend_recomendation`, from the tables `last_positions` and `events` of the window and `correspondents` of all days."""
    people = _people(last_positions, _channels(events, as_of), _partners(correspondents))
    processed = F.lit(processed_at)
    local_time = F.from_utc_timestamp(processed, city_value(F.col("city_id"), cities, "timezone"))
    return (
        _pairs(
            people.withColumn("local_time", local_time)
        )  # of each person, not of each pair: they are far fewer
        .withColumn("processed_dttm", processed)
        .select(*FRIENDS.column_names)
    )


def _channels(events: DataFrame, as_of: date) -> DataFrame:
    """A row is a user with subscriptions: the popular channels among them as bits, the others as a list.

    Most pairs with a common channel have a popular one, and two longs are compared far sooner than two lists. Which channels are
    popular decides about time only: the last day's count stands for the window's.
    """
    subscribed = events.where(
        (F.col("event_type") == SUBSCRIPTION) & F.col("channel_id").isNotNull()
    )
    of_day = (
        subscribed.where(F.col("date") == date_literal(as_of))
        .groupBy("channel_id")
        .agg(F.count("*").alias("number"))
    )
    first = F.desc("number"), "channel_id"
    ranks = (
        of_day.orderBy(*first)
        .limit(POPULAR)
        .select("channel_id", (F.row_number().over(Window.orderBy(*first)) - 1).alias("rank"))
    )
    ranked = subscribed.select("user_id", "channel_id").join(
        F.broadcast(ranks), "channel_id", "left"
    )
    bit = F.call_function("shiftleft", F.lit(1).cast("long"), F.col("rank"))
    return ranked.groupBy("user_id").agg(
        F.coalesce(F.bit_or(bit), F.lit(0).cast("long")).alias("popular"),
        F.collect_set(F.when(F.col("rank").isNull(), F.col("channel_id"))).alias("channels"),
    )


def _partners(correspondents: DataFrame) -> DataFrame:
    """A row is a user who wrote or was written to: with whom. Each pair stands with its smaller id alone."""
    return correspondents.groupBy(F.col("user_left").alias("user_id")).agg(
        F.collect_set("user_right").alias("partners")
    )


def _people(last_positions: DataFrame, channels: DataFrame, partners: DataFrame) -> DataFrame:
    """A row is a user of the window with a position and a channel: where last seen, what subscribed to, whom written with."""
    seen = last_positions.groupBy("user_id").agg(
        *(F.max_by(name, "date").alias(name) for name in ("lat", "lon", "city_id"))
    )
    known = seen.join(channels.hint("shuffle_hash"), "user_id").join(
        partners.hint("shuffle_hash"), "user_id", "left"
    )
    x, y, z = (axis * EARTH_RADIUS_KM for axis in unit_vector(F.col("lat"), F.col("lon")))
    return known.withColumns({"x": x, "y": y, "z": z}).withColumn("cell", _cell())


def _cell() -> Column:
    """The number of the cube that x, y and z, km, lie in."""
    i, j, k = (F.floor(F.col(axis) / CELL_KM) + _AXIS // 2 for axis in ("x", "y", "z"))
    return (i * _AXIS + j) * _AXIS + k


def _pairs(people: DataFrame) -> DataFrame:
    """A row is an unordered pair of people who are near, have a common channel and never wrote, with the left one's zone and time.

    All is asked within one join, so that no row is made for a pair that fails. The people are shuffled by cell first: Spark then
    computes them once for both sides, though it shuffles one side again, by the cell that each of its rows is to meet.
    """
    by_cell = people.repartition("cell")
    one = by_cell.select(
        *(F.col(name).alias(f"{name}_1") for name in people.columns),
        F.explode(F.array(*map(F.lit, _MEETING))).alias("step"),
    )
    other = by_cell.select(*(F.col(name).alias(f"{name}_2") for name in people.columns)).hint(
        "shuffle_hash"
    )
    is_left = F.col("user_id_1") < F.col("user_id_2")
    meets = (F.col("cell_1") + F.col("step") == F.col("cell_2")) & ((F.col("step") != 0) | is_left)
    shares = (F.col("popular_1").bitwiseAND(F.col("popular_2")) != 0) | F.arrays_overlap(
        "channels_1", "channels_2"
    )
    wrote = F.when(is_left, F.array_contains("partners_1", F.col("user_id_2"))).otherwise(
        F.array_contains("partners_2", F.col("user_id_1"))
    )
    pairs = one.join(other, meets & _is_near() & shares & ~F.coalesce(wrote, F.lit(False)))
    return pairs.select(
        F.least("user_id_1", "user_id_2").alias("user_left"),
        F.greatest("user_id_1", "user_id_2").alias("user_right"),
        F.when(is_left, F.col("city_id_1")).otherwise(F.col("city_id_2")).alias("zone_id"),
        F.when(is_left, F.col("local_time_1")).otherwise(F.col("local_time_2")).alias("local_time"),
    )


def _is_near() -> Column:
    """By the chord, which costs no trigonometry; only where rounding could decide, by the distance itself."""
    squares = [
        (F.col(f"{axis}_1") - F.col(f"{axis}_2")) * (F.col(f"{axis}_1") - F.col(f"{axis}_2"))
        for axis in ("x", "y", "z")
    ]
    chord_squared = squares[0] + squares[1] + squares[2]
    limit = (2 * EARTH_RADIUS_KM * sin(NEAR_KM / (2 * EARTH_RADIUS_KM))) ** 2
    distance = distance_km(F.col("lat_1"), F.col("lon_1"), F.col("lat_2"), F.col("lon_2"))
    return (chord_squared < limit * (1 - 1e-6)) | (
        (chord_squared < limit * (1 + 1e-6)) & (distance <= NEAR_KM)
    )

"""Mart `friend_recomendation`: pairs of users who are near each other and have a channel in common, and never wrote.

Near comes first: few pairs are near, and all pairs of a popular channel would be too many.
"""

from datetime import datetime
from itertools import product
from math import sin

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from promo_assets.lake.cities import EARTH_RADIUS_KM, City, city_value, distance_km, unit_vector
from promo_assets.lake.tables import FRIENDS, SUBSCRIPTION

NEAR_KM = 1.0
# Cells are cubes in space, not squares on a map: true at each latitude, at the poles and across the 180th meridian. Their
# edge is a little more than NEAR_KM, and a chord is no longer than its arc: who is near is in the same cell or next to it.
CELL_KM = 1.001
_AXIS = 2**14  # cells along an axis, more than twice the Earth's radius
# Half of a cell's neighbours, and the cell itself: each two cells meet once.
_MEETING = [dx * _AXIS * _AXIS + dy * _AXIS + dz for dx, dy, dz in product((-1, 0, 1), repeat=3) if (dx, dy, dz) >= (0, 0, 0)]


def friend_recomendation(
    last_positions: DataFrame, events: DataFrame, correspondents: DataFrame, cities: list[City], processed_at: datetime
) -> DataFrame:
    """Table `friend_recomendation`, from the tables `last_positions` and `events` of the window and `correspondents` of all days."""
    people = _people(last_positions, events)
    pairs = _near_pairs(people).where(F.arrays_overlap("channels_1", "channels_2"))
    strangers = pairs.join(correspondents.select("user_left", "user_right"), ["user_left", "user_right"], "left_anti")
    processed = F.lit(processed_at)
    return strangers.select(
        "user_left",
        "user_right",
        "zone_id",
        processed.alias("processed_dttm"),
        F.from_utc_timestamp(processed, city_value(F.col("zone_id"), cities, "timezone")).alias("local_time"),
    ).select(*FRIENDS.column_names)


def _people(last_positions: DataFrame, events: DataFrame) -> DataFrame:
    """A row is a user of the window with a position and a channel: where last seen, and the channels subscribed to."""
    seen = last_positions.groupBy("user_id").agg(*(F.max_by(name, "date").alias(name) for name in ("lat", "lon", "city_id")))
    subscribed = events.where((F.col("event_type") == SUBSCRIPTION) & F.col("channel_id").isNotNull())
    channels = subscribed.groupBy("user_id").agg(F.collect_set("channel_id").alias("channels"))
    x, y, z = (axis * EARTH_RADIUS_KM for axis in unit_vector(F.col("lat"), F.col("lon")))
    return seen.join(channels, "user_id").withColumns({"x": x, "y": y, "z": z}).withColumn("cell", _cell())


def _cell() -> Column:
    """The number of the cube that x, y and z, km, lie in."""
    i, j, k = (F.floor(F.col(axis) / CELL_KM) + _AXIS // 2 for axis in ("x", "y", "z"))
    return (i * _AXIS + j) * _AXIS + k


def _near_pairs(people: DataFrame) -> DataFrame:
    """A row is an unordered pair of people within NEAR_KM."""
    columns = ("user_id", "lat", "lon", "x", "y", "z", "city_id", "channels", "cell")
    one = people.select(*(F.col(name).alias(f"{name}_1") for name in columns), F.explode(F.array(*map(F.lit, _MEETING))).alias("step"))
    other = people.select(*(F.col(name).alias(f"{name}_2") for name in columns)).hint("shuffle_hash")
    meets = (F.col("cell_1") + F.col("step") == F.col("cell_2")) & ((F.col("step") != 0) | (F.col("user_id_1") < F.col("user_id_2")))
    pairs = one.join(other, meets & _is_near())
    first_is_left = F.col("user_id_1") < F.col("user_id_2")
    return pairs.select(
        F.least("user_id_1", "user_id_2").alias("user_left"),
        F.greatest("user_id_1", "user_id_2").alias("user_right"),
        F.when(first_is_left, F.col("city_id_1")).otherwise(F.col("city_id_2")).alias("zone_id"),
        F.col("channels_1"),
        F.col("channels_2"),
    )


def _is_near() -> Column:
    """By the chord, which costs no trigonometry; only where rounding could decide, by the distance itself."""
    squares = [(F.col(f"{axis}_1") - F.col(f"{axis}_2")) * (F.col(f"{axis}_1") - F.col(f"{axis}_2")) for axis in ("x", "y", "z")]
    chord_squared = squares[0] + squares[1] + squares[2]
    limit = (2 * EARTH_RADIUS_KM * sin(NEAR_KM / (2 * EARTH_RADIUS_KM))) ** 2
    distance = distance_km(F.col("lat_1"), F.col("lon_1"), F.col("lat_2"), F.col("lon_2"))
    return (chord_squared < limit * (1 - 1e-6)) | ((chord_squared < limit * (1 + 1e-6)) & (distance <= NEAR_KM))

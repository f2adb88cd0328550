"""Literal rows of the lake's tables, with their `date` first, and the rows of a frame.

Times are text in UTC, so that neither the time zone of the tests nor Python's clock matters.
"""

from collections.abc import Iterable

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, StringType, StructField, StructType, TimestampType

from promo_assets.lake.tables import EVENTS, MESSAGE, RAW_EVENTS, REACTION, SUBSCRIPTION, Table
from promo_assets.lake.transform.cities import City

Row = tuple
Place = tuple[float | None, float | None, int | None]  # latitude, longitude, city_id

CITIES = [
    City(1, "Sydney", -33.865, 151.2094, "Australia/Sydney"),
    City(2, "Perth", -31.9522, 115.8589, "Australia/Perth"),
    City(3, "Adelaide", -34.9289, 138.6011, "Australia/Adelaide"),
]
SYDNEY, PERTH, ADELAIDE = ((city.lat, city.lon, city.city_id) for city in CITIES)
NOWHERE = (None, None, None)

_EVENT_FIELDS = RAW_EVENTS.schema["event"].dataType.names


def raw_row(
    event_type: str | None,
    lat: float | None = None,
    lon: float | None = None,
    date: str = "2022-05-28",
    **event: object,
) -> Row:
    """Return a row of RAW or STG; fields of the event that are not given are null."""
    return date, tuple((dict.fromkeys(_EVENT_FIELDS) | event).values()), event_type, lat, lon


def message(
    user: int,
    at: str,
    place: Place,
    message_id: int | None = None,
    to: int | None = None,
    channel: int | None = None,
) -> Row:
    return at[:10], user, message_id, to, channel, at, *place, MESSAGE


def reaction(
    user: int, at: str, place: Place, message_id: int | None = None, channel: int | None = None
) -> Row:
    return at[:10], user, message_id, None, channel, at, *place, REACTION


def subscription(user: int, at: str, channel: int | None, place: Place = NOWHERE) -> Row:
    return at[:10], user, None, None, channel, at, *place, SUBSCRIPTION


def frame(spark: SparkSession, table: Table, rows: Iterable[Row]) -> DataFrame:
    """Return rows of a table with `date` as a frame of the table's types."""
    fields = [StructField("date", DateType()), *table.schema.fields]
    types = [StringType() if _is_time(field.dataType) else field.dataType for field in fields]
    texts = StructType(
        [StructField(field.name, type_) for field, type_ in zip(fields, types, strict=True)]
    )
    columns = (F.col(field.name).cast(field.dataType) for field in fields)
    return spark.createDataFrame(list(rows), texts).select(*columns)


def events_frame(spark: SparkSession, rows: Iterable[Row]) -> DataFrame:
    return frame(spark, EVENTS, rows)


def sorted_rows(frame: DataFrame) -> list[Row]:
    """Return all rows of a frame, sorted by their `repr`, with times as text."""
    columns = [
        F.col(field.name).cast("string") if _is_time(field.dataType) else F.col(field.name)
        for field in frame.schema
    ]
    return sorted((tuple(row) for row in frame.select(*columns).collect()), key=repr)


def _is_time(data_type: DataType) -> bool:
    return isinstance(data_type, DateType | TimestampType)

"""DDS: what STG says, typed and judged. An event is usable, or it is rejected with a reason; none is lost."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from promo_assets.lake.tables import (
    EVENT_TYPES,
    EVENTS,
    MESSAGE,
    REACTION,
    REJECTED_EVENTS,
    SUBSCRIPTION,
)
from promo_assets.lake.transform.cities import City, add_nearest_city

READABLE_TIME = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d+)?\z"


def usable_events(stg_events: DataFrame, cities: list[City]) -> DataFrame:
    """Table `events`, with the partition's `date`."""
    typed = stg_events.select("date", *_typed()).where(_is_usable())
    return add_nearest_city(typed, cities).select("date", *EVENTS.column_names)


def rejected_events(stg_events: DataFrame) -> DataFrame:
    """Table `rejected_events`, with the partition's `date`."""
    typed = stg_events.withColumns({"user_id": _user_id(), "event_at": _event_at()})
    return (
        typed.where(~_is_usable())
        .withColumn("reason", _reason())
        .select("date", *REJECTED_EVENTS.column_names)
    )


def _typed() -> list[Column]:
    return [
        _user_id().alias("user_id"),
        F.col("event.message_id").alias("message_id"),
        F.col("event.message_to").alias("message_to"),
        _by_type(
            "event.message_channel_to", "event.channel_id", "event.subscription_channel"
        ).alias("channel_id"),
        _event_at().alias("event_at"),
        F.col("lat"),
        F.col("lon"),
        F.col("event_type"),
    ]


def _is_usable() -> Column:
    """Never null. Not asked by way of the reason: Spark pushes it below the typed columns, where each mention computes them again."""
    of_day = F.coalesce(F.to_date("event_at") == F.col("date"), F.lit(False))
    return (
        F.col("user_id").isNotNull() & of_day & ~_is_outside("lat", 90) & ~_is_outside("lon", 180)
    )


def _reason() -> Column:
    """Why an event cannot be used: the first that applies; null for a usable one."""
    return F.coalesce(
        F.when(
            F.col("event_type").isNull() | ~F.col("event_type").isin(*EVENT_TYPES),
            "unknown event type",
        ),
        F.when(F.col("user_id").isNull(), "no user: digits are needed"),
        F.when(F.col("event_at").isNull(), "no readable time"),
        F.when(F.to_date("event_at") != F.col("date"), "time outside of the partition's day"),
        F.when(_is_outside("lat", 90), "lat outside of ±90"),
        F.when(_is_outside("lon", 180), "lon outside of ±180"),
    )


def _by_type(message: str, reaction: str, subscription: str) -> Column:
    """The column that holds it in an event of that type."""
    event_type = F.col("event_type")
    return (
        F.when(event_type == MESSAGE, F.col(message))
        .when(event_type == REACTION, F.col(reaction))
        .when(event_type == SUBSCRIPTION, F.col(subscription))
    )


def _user_id() -> Column:
    event = F.col("event")
    written = F.coalesce(event["user"], event["subscription_user"])
    text = (
        F.when(F.col("event_type") == MESSAGE, event["message_from"].cast("string"))
        .when(F.col("event_type") == REACTION, event["reaction_from"])
        .when(F.col("event_type") == SUBSCRIPTION, written)
    )
    return F.when(text.rlike(r"^\d+\z"), text.try_cast("long"))


def _event_at() -> Column:
    text = F.coalesce(F.col("event.datetime"), F.col("event.message_ts"))
    return F.when(text.rlike(READABLE_TIME), text.try_cast("timestamp"))


def _is_outside(name: str, limit: int) -> Column:
    """NaN is outside, null is not."""
    return F.coalesce(~F.col(name).between(-limit, limit), F.lit(False))

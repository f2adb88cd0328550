"""DDS `events` and `rejected_events`: an event of STG is usable, or rejected with a reason."""

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
    """Return the table `events` with the partition's `date`."""
    typed = stg_events.select("date", *_typed_columns()).where(_is_usable())
    return add_nearest_city(typed, cities).select("date", *EVENTS.column_names)


def rejected_events(stg_events: DataFrame) -> DataFrame:
    """Return the table `rejected_events` with the partition's `date`."""
    typed = stg_events.withColumns({"user_id": _user_id(), "event_at": _event_at()})
    rejected = typed.where(~_is_usable()).withColumn("reason", _reason())
    return rejected.select("date", *REJECTED_EVENTS.column_names)


def _typed_columns() -> list[Column]:
    channel_id = _by_event_type(
        message="event.message_channel_to",
        reaction="event.channel_id",
        subscription="event.subscription_channel",
    )
    return [
        _user_id().alias("user_id"),
        F.col("event.message_id").alias("message_id"),
        F.col("event.message_to").alias("message_to"),
        channel_id.alias("channel_id"),
        _event_at().alias("event_at"),
        F.col("lat"),
        F.col("lon"),
        F.col("event_type"),
    ]


def _is_usable() -> Column:
    """Return whether an event can be used; never null.

    It does not ask whether `_reason` is null: Spark pushes this filter below the typed columns,
    where each mention of one computes it again.
    """
    is_in_day = F.coalesce(F.to_date("event_at") == F.col("date"), F.lit(False))
    has_user = F.col("user_id").isNotNull()
    return has_user & is_in_day & ~_is_outside("lat", 90) & ~_is_outside("lon", 180)


def _reason() -> Column:
    """Return the first reason why an event cannot be used; null for a usable event."""
    is_known_type = F.col("event_type").isin(*EVENT_TYPES)
    return F.coalesce(
        F.when(F.col("event_type").isNull() | ~is_known_type, "unknown event type"),
        F.when(F.col("user_id").isNull(), "no user: digits are needed"),
        F.when(F.col("event_at").isNull(), "no readable time"),
        F.when(F.to_date("event_at") != F.col("date"), "time outside of the partition's day"),
        F.when(_is_outside("lat", 90), "lat outside of ±90"),
        F.when(_is_outside("lon", 180), "lon outside of ±180"),
    )


def _by_event_type(message: str, reaction: str, subscription: str) -> Column:
    """Return the one of three columns that applies to the event's type, null for other types."""
    event_type = F.col("event_type")
    return (
        F.when(event_type == MESSAGE, F.col(message))
        .when(event_type == REACTION, F.col(reaction))
        .when(event_type == SUBSCRIPTION, F.col(subscription))
    )


def _user_id() -> Column:
    """Return the event's user; null unless it is written in digits only and fits into a long."""
    event = F.col("event")
    subscriber = F.coalesce(event["user"], event["subscription_user"])
    text = (
        F.when(F.col("event_type") == MESSAGE, event["message_from"].cast("string"))
        .when(F.col("event_type") == REACTION, event["reaction_from"])
        .when(F.col("event_type") == SUBSCRIPTION, subscriber)
    )
    return F.when(text.rlike(r"^\d+\z"), text.try_cast("long"))


def _event_at() -> Column:
    """Return the event's time, UTC; null if it is unreadable."""
    text = F.coalesce(F.col("event.datetime"), F.col("event.message_ts"))
    return F.when(text.rlike(READABLE_TIME), text.try_cast("timestamp"))


def _is_outside(name: str, limit: int) -> Column:
    """Return whether a coordinate is outside ±limit degrees: true for NaN, false for null."""
    return F.coalesce(~F.col(name).between(-limit, limit), F.lit(False))

"""DDS: what STG says, typed and judged. An event is usable, or it is rejected with a reason; none is lost."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from promo_assets.lake.cities import City, add_nearest_city
from promo_assets.lake.tables import EVENT_TYPES, EVENTS, MESSAGE, REACTION, REJECTED_EVENTS, SUBSCRIPTION

READABLE_TIME = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d+)?\z"


def usable_events(stg_events: DataFrame, cities: list[City]) -> DataFrame:
    """Table `events`, with the partition's `date`."""
    typed = stg_events.select("date", *_typed(), _reason().alias("reason")).where(F.col("reason").isNull())
    return add_nearest_city(typed, cities).select("date", *EVENTS.column_names)


def rejected_events(stg_events: DataFrame) -> DataFrame:
    """Table `rejected_events`, with the partition's `date`."""
    return stg_events.withColumn("reason", _reason()).where(F.col("reason").isNotNull()).select("date", *REJECTED_EVENTS.column_names)


def _typed() -> list[Column]:
    return [
        _user_id().alias("user_id"),
        F.col("event.message_id").alias("message_id"),
        F.col("event.message_to").alias("message_to"),
        _by_type("event.message_channel_to", "event.channel_id", "event.subscription_channel").alias("channel_id"),
        _event_at().alias("event_at"),
        F.col("lat"),
        F.col("lon"),
        F.col("event_type"),
    ]


def _reason() -> Column:
    """Why an event cannot be used: the first that applies; null for a usable one."""
    no_user = F.when(_user_id().isNull(), "no user: digits are needed")
    return F.coalesce(
        F.when(F.col("event_type").isNull() | ~F.col("event_type").isin(*EVENT_TYPES), "unknown event type"),
        no_user,
        F.when(_event_at().isNull(), "no readable time"),
        F.when(F.to_date(_event_at()) != F.col("date"), "time outside of the partition's day"),
        F.when(_outside("lat", 90), "lat outside of ±90"),
        F.when(_outside("lon", 180), "lon outside of ±180"),
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


def _outside(name: str, limit: int) -> Column:
    """NaN is outside, null is not."""
    return ~F.col(name).between(-limit, limit)

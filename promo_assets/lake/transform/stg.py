"""STG `events`: RAW as it is, split by event type."""

from pyspark.sql import DataFrame

from promo_assets.lake.tables import STG_EVENTS


def split_by_type(raw_events: DataFrame) -> DataFrame:
    """Return the table `events` of STG with `date`; the writer splits it by `event_type`."""
    return raw_events.select("date", *STG_EVENTS.column_names)

"""STG `events`: RAW as it is."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from promo_assets.lake.tables import RAW_EVENTS
from promo_assets.lake.transform.stg import split_by_type
from promo_assets_tests.support.lake.rows import frame, raw_row

LONGS = (
    "channel_id",
    "message_channel_to",
    "message_from",
    "message_group",
    "message_id",
    "message_to",
)
STRINGS = (
    "datetime",
    "message",
    "message_ts",
    "reaction_from",
    "reaction_type",
    "subscription_user",
    "user",
)


def test_stg_has_the_rows_of_raw_unchanged(spark: SparkSession):
    """Unusable and repeated events are kept; a new column of RAW is left out."""
    longs, strings = dict.fromkeys(LONGS, -1), dict.fromkeys(STRINGS, "x\n")
    others = {
        "admins": [1, None],
        "media": ("image", None),
        "subscription_channel": 2**63 - 1,
        "tags": [],
    }
    full = raw_row("story", 1000.0, -0.5, **longs, **strings, **others)
    rows = [
        full,
        full,
        raw_row(None),
        ("2022-05-28", None, None, None, None),
        raw_row("Message", None, 0.0, date="2022-05-29"),
    ]
    raw_events = frame(spark, RAW_EVENTS, rows)
    wider = raw_events.withColumn("new_column", F.lit(1)).select(
        "new_column", "lon", "event", "lat", "event_type", "date"
    )
    assertDataFrameEqual(split_by_type(wider), raw_events)

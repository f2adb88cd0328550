"""Pure: who is to be notified of which campaign."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def match_subscribers(campaigns: DataFrame, followers: DataFrame) -> DataFrame:
    """Return one row per campaign and client that favourited the campaign's restaurant.

    campaigns: dispatch_position int, restaurant_id string.
    followers: restaurant_id, client_id, each pair once.
    Result: dispatch_position int, client_id string.

    The few campaigns are broadcast, so the followers stay in their partitions.
    """
    return followers.join(F.broadcast(campaigns), on="restaurant_id", how="inner").select(
        "dispatch_position", "client_id"
    )

"""Pure: campaigns and followers in, who is to be notified of what out."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def match_subscribers(campaigns: DataFrame, followers: DataFrame) -> DataFrame:
    """One row per (campaign, client that favourited its restaurant).

    campaigns: dispatch_position int, restaurant_id string. followers: restaurant_id, client_id, once each.
    The few campaigns are broadcast, so the followers stay in their partitions.
    """
    return followers.join(F.broadcast(campaigns), on="restaurant_id", how="inner").select(
        "dispatch_position", "client_id"
    )

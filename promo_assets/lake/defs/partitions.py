"""Which days the lake's assets have as partitions, and which days of its inputs a mart reads."""

from datetime import date

import dagster as dg

WHOLE_HISTORY_DAYS = 36_500  # a mapping must have a first day: it cannot say "from the beginning"


def define_past_days(first_day: date) -> dg.DailyPartitionsDefinition:
    """Defines the days from `first_day` to yesterday, UTC."""
    return dg.DailyPartitionsDefinition(start_date=str(first_day))


def define_days_to_today(first_day: date) -> dg.DailyPartitionsDefinition:
    """Defines the days from `first_day` to today, UTC; today is incomplete."""
    return dg.DailyPartitionsDefinition(start_date=str(first_day), end_offset=1)


def map_to_window(depth: int) -> dg.TimeWindowPartitionMapping:
    """Maps a mart's day to the `depth` days that end with it."""
    return _map_to_days_before(depth - 1)


def map_to_history() -> dg.TimeWindowPartitionMapping:
    """Maps a mart's day to all days up to it."""
    return _map_to_days_before(WHOLE_HISTORY_DAYS)


def _map_to_days_before(days: int) -> dg.TimeWindowPartitionMapping:
    return dg.TimeWindowPartitionMapping(
        start_offset=-days, allow_nonexistent_upstream_partitions=True
    )

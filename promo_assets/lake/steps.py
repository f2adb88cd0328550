"""The steps that a day goes through, table by table: each reads, transforms and replaces.

Assets and the initial load call these steps.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from math import ceil

from pyspark.sql import DataFrame

from promo_assets.lake import tables
from promo_assets.lake.storage.feedback import FeedbackSource, read_feedback
from promo_assets.lake.storage.files import LakeError
from promo_assets.lake.storage.lake import Lake, PartitionStats
from promo_assets.lake.tables import Table
from promo_assets.lake.transform import history
from promo_assets.lake.transform.calendar_days import window_start
from promo_assets.lake.transform.cities import SHIPPED, CitiesError, City, parse_cities
from promo_assets.lake.transform.dds import rejected_events, usable_events
from promo_assets.lake.transform.mart_campaigns import (
    campaign_results,
    restaurant_results,
    staged_feedback,
)
from promo_assets.lake.transform.mart_friends import friend_recomendation
from promo_assets.lake.transform.mart_geo import geo
from promo_assets.lake.transform.mart_users import users
from promo_assets.lake.transform.stg import split_by_type

StatsByDay = dict[date, PartitionStats]
ErrorsByDay = dict[date, str]  # one line each
BYTES_PER_TASK = 32 * 2**20  # of input; a task writes a file per day and event type that it reads


def ensure_cities(lake: Lake) -> list[City]:
    """Install the shipped geo.csv if the lake has none, and return the lake's cities.

    Raises `LakeError` if the lake's geo.csv cannot be used.
    """
    if lake.read_file(tables.GEO) is None:
        lake.replace_file(SHIPPED.read_bytes(), tables.GEO)
    return load_cities(lake)


def load_cities(lake: Lake) -> list[City]:
    """Return the lake's cities. Raises `LakeError` if geo.csv is missing or cannot be used."""
    content = lake.read_file(tables.GEO)
    if content is None:
        raise LakeError(f"{lake.path(tables.GEO)} is missing. Materialize dds/geo to install it.")
    try:
        return parse_cities(content)
    except CitiesError as error:
        raise LakeError(f"{lake.path(tables.GEO)}: {error}") from None


def check_raw(lake: Lake, day: date) -> PartitionStats:
    """Return the size of a RAW day. Raises `LakeError` if it is missing or a file is unreadable.

    Spark alone would read a file of zero bytes as a file without rows, and a folder in which
    nothing has been written yet as an empty day.
    """
    path = lake.day_path(tables.RAW_EVENTS, day)
    if not lake.has(tables.RAW_EVENTS, day):
        raise LakeError(f"RAW has no {day}: {path} is missing")
    stats = lake.measure(tables.RAW_EVENTS, day)
    if not stats.files and not lake.is_marked_complete(tables.RAW_EVENTS, day):
        raise LakeError(f"RAW has no file of {day} yet: {path} is empty")
    return stats


def stage_events(lake: Lake, days: Sequence[date]) -> tuple[StatsByDay, ErrorsByDay]:
    """Stage all days in one job, or one by one if that fails: a broken day stops no other day."""
    errors: ErrorsByDay = {}
    for day in days:
        try:
            check_raw(lake, day)
        except LakeError as error:
            errors[day] = str(error)
    readable = [day for day in days if day not in errors]
    try:
        return _stage_together(lake, readable), errors
    except LakeError as error:
        if len(readable) == 1:
            return {}, errors | {readable[0]: str(error)}
    stats: StatsByDay = {}
    for day in readable:
        try:
            stats |= _stage_together(lake, [day])
        except LakeError as error:
            errors[day] = str(error)
    return stats, errors


def _stage_together(lake: Lake, days: Sequence[date]) -> StatsByDay:
    if not days:
        return {}
    staged = split_by_type(lake.read(tables.RAW_EVENTS, days))
    staged = _coalesce_to_few_files(lake, staged, tables.RAW_EVENTS, days)
    return lake.replace_days(staged, tables.STG_EVENTS, days)


def clean_events(lake: Lake, cities: list[City], days: Sequence[date]) -> StatsByDay:
    usable = usable_events(lake.read(tables.STG_EVENTS, days), cities)
    usable = _coalesce_to_few_files(lake, usable, tables.STG_EVENTS, days)
    return lake.replace_days(usable, tables.EVENTS, days)


def reject_events(lake: Lake, days: Sequence[date]) -> StatsByDay:
    rejected = rejected_events(lake.read(tables.STG_EVENTS, days))
    return lake.replace_days(_rebalance_by_day(rejected, days), tables.REJECTED_EVENTS, days)


HISTORY_BUILDERS: dict[str, Callable[[DataFrame], DataFrame]] = {
    tables.VISITS.name: history.visits,
    tables.FIRST_MESSAGES.name: history.first_messages,
    tables.CORRESPONDENTS.name: history.correspondents,
    tables.LAST_POSITIONS.name: history.last_positions,
}


def build_history(lake: Lake, table: Table, days: Sequence[date]) -> StatsByDay:
    """Build one of the tables of `tables.HISTORY`."""
    rows = HISTORY_BUILDERS[table.name](lake.read(tables.EVENTS, days))
    return lake.replace_days(_rebalance_by_day(rows, days), table, days)


def build_users(lake: Lake, cities: list[City], as_of: date, depth: int) -> PartitionStats:
    mart = users(lake.read_up_to(tables.VISITS, as_of), cities, as_of, depth)
    return lake.replace_day(mart, tables.USERS, as_of)


def build_geo(lake: Lake, as_of: date, depth: int) -> PartitionStats:
    mart = geo(
        _window(lake, tables.EVENTS, as_of, depth),
        lake.read_up_to(tables.FIRST_MESSAGES, as_of),
        as_of,
        depth,
    )
    return lake.replace_day(mart, tables.GEO_MART, as_of)


def build_friends(
    lake: Lake, cities: list[City], as_of: date, depth: int, processed_at: datetime
) -> PartitionStats:
    mart = friend_recomendation(
        _window(lake, tables.LAST_POSITIONS, as_of, depth),
        _window(lake, tables.EVENTS, as_of, depth),
        lake.read_up_to(tables.CORRESPONDENTS, as_of),
        cities,
        processed_at,
        as_of,
    )
    return lake.replace_day(mart, tables.FRIENDS, as_of)


def stage_feedback(lake: Lake, source: FeedbackSource, days: Sequence[date]) -> StatsByDay:
    """Stage the feedback of these days from Postgres.

    Raises `LakeError` if Postgres is unavailable; then nothing is replaced.
    """
    rows = staged_feedback(read_feedback(lake.session, source, days, at_once=lake.cores))
    return lake.replace_days(rows, tables.SUBSCRIBERS_FEEDBACK, days)


def build_campaigns(lake: Lake, days: Sequence[date]) -> StatsByDay:
    mart = campaign_results(lake.read(tables.SUBSCRIBERS_FEEDBACK, days))
    return lake.replace_days(_rebalance_by_day(mart, days), tables.CAMPAIGN_RESULTS, days)


def build_restaurants(lake: Lake, days: Sequence[date]) -> StatsByDay:
    mart = restaurant_results(lake.read(tables.SUBSCRIBERS_FEEDBACK, days))
    return lake.replace_days(_rebalance_by_day(mart, days), tables.RESTAURANT_RESULTS, days)


def _window(lake: Lake, table: Table, as_of: date, depth: int) -> DataFrame:
    return lake.read_between(table, window_start(as_of, depth), as_of)


def _coalesce_to_few_files(
    lake: Lake, frame: DataFrame, source: Table, days: Sequence[date]
) -> DataFrame:
    """Merge partitions by the size of the source's days, so that the days get few files."""
    size = sum(length for day in days for _, length, _ in lake.files(source, day))
    return frame.coalesce(max(ceil(size / BYTES_PER_TASK), min(len(days), lake.cores)))


def _rebalance_by_day(frame: DataFrame, days: Sequence[date]) -> DataFrame:
    """Make each of several days one file, unless it is large: Spark decides when it knows sizes."""
    return frame.hint("rebalance", "date") if len(days) > 1 else frame

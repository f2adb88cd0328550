"""What a day goes through, table by table: each step reads, transforms and replaces. Assets and the initial load take these steps."""

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

Done = dict[date, PartitionStats]
Failed = dict[date, str]  # why, in one line
BYTES_OF_A_TASK = 32 * 2**20  # of input: a task writes a file per day and type that it meets


def load_cities(lake: Lake) -> list[City]:
    """The lake's cities; a lake without gets the shipped ones. Raises `LakeError` where the file cannot be used."""
    content = lake.read_file(tables.GEO)
    if content is None:
        content = SHIPPED.read_bytes()
        lake.replace_file(content, tables.GEO)
    try:
        return parse_cities(content)
    except CitiesError as error:
        raise LakeError(f"{lake.path(tables.GEO)}: {error}") from None


def check_raw(lake: Lake, day: date) -> PartitionStats:
    """What RAW has of a day. Raises `LakeError` where it is missing or a file of it cannot be read.

    Spark alone would take a file of zero bytes for one without rows, and a folder where nothing was written yet for an empty day.
    """
    if not lake.has(tables.RAW_EVENTS, day):
        raise LakeError(f"RAW has no {day}: {lake.day_path(tables.RAW_EVENTS, day)} is missing")
    found = lake.measure(tables.RAW_EVENTS, day)
    if not found.files and not lake.is_marked_complete(tables.RAW_EVENTS, day):
        raise LakeError(
            f"RAW has no file of {day} yet: {lake.day_path(tables.RAW_EVENTS, day)} is empty"
        )
    return found


def stage(lake: Lake, days: Sequence[date]) -> tuple[Done, Failed]:
    """All days in one go; where that fails, one by one: a broken day does not stop the others."""
    failed: Failed = {}
    for day in days:
        try:
            check_raw(lake, day)
        except LakeError as error:
            failed[day] = str(error)
    sound = [day for day in days if day not in failed]
    try:
        return _stage(lake, sound), failed
    except LakeError as error:
        if len(sound) == 1:
            return {}, failed | {sound[0]: str(error)}
    done: Done = {}
    for day in sound:
        try:
            done |= _stage(lake, [day])
        except LakeError as error:
            failed[day] = str(error)
    return done, failed


def _stage(lake: Lake, days: Sequence[date]) -> Done:
    if not days:
        return {}
    raw_events = lake.read(tables.RAW_EVENTS, days)
    return lake.replace_days(
        _few_files(lake, split_by_type(raw_events), tables.RAW_EVENTS, days),
        tables.STG_EVENTS,
        days,
    )


def clean(lake: Lake, cities: list[City], days: Sequence[date]) -> Done:
    usable = usable_events(lake.read(tables.STG_EVENTS, days), cities)
    return lake.replace_days(_few_files(lake, usable, tables.STG_EVENTS, days), tables.EVENTS, days)


def reject(lake: Lake, days: Sequence[date]) -> Done:
    return lake.replace_days(
        _file_a_day(rejected_events(lake.read(tables.STG_EVENTS, days)), days),
        tables.REJECTED_EVENTS,
        days,
    )


HISTORY_BUILDERS: dict[str, Callable[[DataFrame], DataFrame]] = {
    tables.VISITS.name: history.visits,
    tables.FIRST_MESSAGES.name: history.first_messages,
    tables.CORRESPONDENTS.name: history.correspondents,
    tables.LAST_POSITIONS.name: history.last_positions,
}


def build_history(lake: Lake, table: Table, days: Sequence[date]) -> Done:
    """One of the tables of `history`."""
    return lake.replace_days(
        _file_a_day(HISTORY_BUILDERS[table.name](lake.read(tables.EVENTS, days)), days), table, days
    )


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


def take_feedback(lake: Lake, source: FeedbackSource, days: Sequence[date]) -> Done:
    """Raises `LakeError` where Postgres is not to be had; then nothing is replaced."""
    rows = staged_feedback(read_feedback(lake.session, source, days, at_once=lake.cores))
    return lake.replace_days(rows, tables.SUBSCRIBERS_FEEDBACK, days)


def build_campaigns(lake: Lake, days: Sequence[date]) -> Done:
    mart = campaign_results(lake.read(tables.SUBSCRIBERS_FEEDBACK, days))
    return lake.replace_days(_file_a_day(mart, days), tables.CAMPAIGN_RESULTS, days)


def build_restaurants(lake: Lake, days: Sequence[date]) -> Done:
    mart = restaurant_results(lake.read(tables.SUBSCRIBERS_FEEDBACK, days))
    return lake.replace_days(_file_a_day(mart, days), tables.RESTAURANT_RESULTS, days)


def _window(lake: Lake, table: Table, as_of: date, depth: int) -> DataFrame:
    return lake.read_between(table, window_start(as_of, depth), as_of)


def _few_files(lake: Lake, frame: DataFrame, read_from: Table, days: Sequence[date]) -> DataFrame:
    size = sum(length for day in days for _, length, _ in lake.files(read_from, day))
    return frame.coalesce(max(ceil(size / BYTES_OF_A_TASK), min(len(days), lake.cores)))


def _file_a_day(frame: DataFrame, days: Sequence[date]) -> DataFrame:
    """Of many days each in one file, unless it is large: Spark sees to both once it knows the sizes."""
    return frame.hint("rebalance", "date") if len(days) > 1 else frame

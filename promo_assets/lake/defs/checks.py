"""What must be true of a table's day: the checks as specs for Dagster, and their results.

Which checks a table has follows from `tables.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
from pyspark.sql import Column
from pyspark.sql import functions as F

from promo_assets.lake import tables
from promo_assets.lake.defs.specs import asset_key
from promo_assets.lake.storage.lake import Lake, PartitionStats
from promo_assets.lake.tables import Table
from promo_assets.lake.transform.cities import City

SCHEMA = "schema"
KEY = "key_is_unique"
NOT_NULL = "not_null"
CITIES = "cities_are_known"
COUNTS = "counts_are_not_negative"
NO_EVENT_LOST = "kept_and_rejected_are_all"
FEW_REJECTED = "few_are_rejected"
ROW_COUNT = "as_many_rows_as_before"
ALL_COUNTED = "all_notifications_are_counted"

MAX_REJECTED_SHARE = 0.02
MAX_ROW_COUNT_CHANGE = 0.5  # up or down, as a share of the mean of the days before
DAYS_BEFORE = 7
CITY_COLUMNS = ("city_id", "zone_id")

DESCRIPTIONS = {
    SCHEMA: "The files have the table's columns, with the table's types.",
    KEY: "No two rows of a day have the same key.",
    NOT_NULL: "Columns that must have a value have one in every row.",
    CITIES: "Every city's id is in dds/geo.",
    COUNTS: "No column with a count has a value below 0.",
    ALL_COUNTED: "The clients notified add up to the rows of stg/subscribers_feedback.",
    NO_EVENT_LOST: "The kept and the rejected events add up to the events of STG.",
    FEW_REJECTED: f"At most {MAX_REJECTED_SHARE:.0%} of the events are rejected.",
    ROW_COUNT: f"The number of rows is within {MAX_ROW_COUNT_CHANGE:.0%} of the mean of the "
    f"{DAYS_BEFORE} days before.",
}
ROW_CHECKS = (NOT_NULL, KEY, CITIES, COUNTS)
WARNINGS = (FEW_REJECTED, ROW_COUNT)  # the other checks block the assets downstream


def list_checks(table: Table) -> list[str]:
    """Returns the names of a table's checks."""
    names = [SCHEMA, NOT_NULL] if any(not column.nullable for column in table.columns) else [SCHEMA]
    if table.key:
        names.append(KEY)
    if any(name in CITY_COLUMNS for name in table.column_names):
        names.append(CITIES)
    if any(column.is_count for column in table.columns):
        names.append(COUNTS)
    if table is tables.CAMPAIGN_RESULTS:
        names.append(ALL_COUNTED)
    if table is tables.EVENTS:
        names += [NO_EVENT_LOST, FEW_REJECTED]
    if table is tables.STG_EVENTS or table in tables.MARTS:
        names.append(ROW_COUNT)
    return names


def build_specs(table: Table) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            name,
            asset=asset_key(table),
            description=DESCRIPTIONS[name],
            blocking=name not in WARNINGS,
        )
        for name in list_checks(table)
    ]


def check_days(
    lake: Lake, table: Table, done: Mapping[date, PartitionStats], cities: Sequence[City]
) -> Iterator[dg.AssetCheckResult]:
    """Checks the days that were written.

    One Spark job answers all checks of rows; the files answer the others. Rows are not looked at if
    the schema is wrong, and their checks fail then.
    """
    days, names = sorted(done), list_checks(table)
    wrong_columns = lake.wrong_columns(table, days)
    yield _build_result(table, SCHEMA, not wrong_columns, wrong_columns=wrong_columns)
    violations = (
        {name: {"not_looked": SCHEMA} for name in ROW_CHECKS}
        if wrong_columns
        else _count_violations(lake, table, days, cities)
    )
    for name in (name for name in ROW_CHECKS if name in names):
        yield _build_result(table, name, not any(violations[name].values()), **violations[name])
    if ROW_COUNT in names:
        yield _check_row_count(lake, table, done)


def check_rejections(
    lake: Lake, kept: Mapping[date, PartitionStats], rejected: Mapping[date, PartitionStats]
) -> Iterator[dg.AssetCheckResult]:
    """Checks that every event of STG was either kept or rejected, and that few were rejected."""
    staged = {day: lake.measure(tables.STG_EVENTS, day).rows for day in kept}
    missing = {str(day): staged[day] - kept[day].rows - rejected[day].rows for day in kept}
    missing = {day: number for day, number in missing.items() if number}
    read = sum(staged.values())
    yield _build_result(
        tables.EVENTS, NO_EVENT_LOST, not missing, read=read, missing_by_day=missing
    )
    number = sum(stats.rows for stats in rejected.values())
    share = number / read if read else 0.0
    yield _build_result(
        tables.EVENTS, FEW_REJECTED, share <= MAX_REJECTED_SHARE, rejected=number, share=share
    )


def check_notifications_counted(
    lake: Lake, done: Mapping[date, PartitionStats]
) -> Iterator[dg.AssetCheckResult]:
    """Checks that the campaigns count each notification of their days exactly once."""
    campaigns = lake.read(tables.CAMPAIGN_RESULTS, sorted(done))
    by_day = campaigns.groupBy("date").agg(F.sum("clients_notified")).collect()
    counted = dict.fromkeys(done, 0) | dict(map(tuple, by_day))
    staged = {day: lake.measure(tables.SUBSCRIBERS_FEEDBACK, day).rows for day in done}
    missing = {str(day): staged[day] - counted[day] for day in sorted(done)}
    missing = {day: number for day, number in missing.items() if number}
    read = sum(staged.values())
    yield _build_result(
        tables.CAMPAIGN_RESULTS, ALL_COUNTED, not missing, read=read, missing_by_day=missing
    )


def _count_violations(
    lake: Lake, table: Table, days: Sequence[date], cities: Sequence[City]
) -> dict[str, dict[str, int]]:
    """Returns how many rows break each check, by what breaks it: mostly a column."""
    by_check = _list_violation_counts(table, cities)
    counts = [
        (check, name, count)
        for check, by_name in by_check.items()
        for name, count in by_name.items()
    ]
    row = lake.read(table, days).agg(*(count for _, _, count in counts)).first() if counts else ()
    assert row is not None, "an aggregate has one row"
    violations: dict[str, dict[str, int]] = {check: {} for check in by_check}
    for (check, name, _), number in zip(counts, row, strict=True):
        violations[check][name] = number
    return violations


def _list_violation_counts(table: Table, cities: Sequence[City]) -> dict[str, dict[str, Column]]:
    """Returns the aggregates that count violations, by check and by what they count."""
    required = [column.name for column in table.columns if not column.nullable]
    city_columns = [name for name in table.column_names if name in CITY_COLUMNS]
    count_columns = [column.name for column in table.columns if column.is_count]
    known = [city.city_id for city in cities]
    repeated = F.count("*") - F.count_distinct("date", *table.key)
    return {
        NOT_NULL: {name: F.count_if(F.col(name).isNull()) for name in required},
        CITIES: {name: F.count_if(~F.col(name).isin(known)) for name in city_columns},
        COUNTS: {name: F.count_if(F.col(name) < 0) for name in count_columns},
        KEY: {"repeated": repeated} if table.key else {},
    }


def _check_row_count(
    lake: Lake, table: Table, done: Mapping[date, PartitionStats]
) -> dg.AssetCheckResult:
    """Compares the last of the days with the days before it; passes if there are none."""
    last = max(done)
    before = [day for day in lake.days(table) if 0 < (last - day).days <= DAYS_BEFORE]
    rows, rows_before = done[last].rows, [lake.measure(table, day).rows for day in before]
    mean = sum(rows_before) / len(rows_before) if rows_before else 0
    passed = not mean or abs(rows - mean) <= MAX_ROW_COUNT_CHANGE * mean
    return _build_result(
        table, ROW_COUNT, passed, rows=rows, mean_before=mean, days_before=len(before)
    )


def _build_result(table: Table, name: str, passed: bool, **metadata: Any) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.WARN if name in WARNINGS else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        asset_key=asset_key(table),
        check_name=name,
        passed=passed,
        severity=severity,
        metadata=metadata,
    )

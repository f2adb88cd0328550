"""What must hold of a table's day, made from `tables.py`: as specs for Dagster, and as what one look at the day finds."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
from pyspark.sql import functions as F

from promo_assets.lake import tables
from promo_assets.lake.storage.lake import Lake, PartitionStats
from promo_assets.lake.tables import Table
from promo_assets.lake.transform.cities import City

SCHEMA, KEY, NOT_NULL, CITIES, COUNTS = (
    "schema",
    "key_is_unique",
    "not_null",
    "cities_are_known",
    "counts_are_not_negative",
)
NO_EVENT_LOST, FEW_REJECTED, DRIFT = (
    "kept_and_rejected_are_all",
    "few_are_rejected",
    "as_many_rows_as_before",
)
ALL_COUNTED = "all_notifications_are_counted"
REJECTED_AT_MOST = 0.02
DRIFT_AT_MOST = 0.5  # more or less than the mean of the days before
DAYS_BEFORE = 7
CITY_COLUMNS = ("city_id", "zone_id")

_DESCRIPTIONS = {
    SCHEMA: "The files have the table's columns, with its types.",
    KEY: "No two rows of a day have the same key.",
    NOT_NULL: "Columns that must have a value have one.",
    CITIES: "Each city's id is in dds/geo.",
    COUNTS: "No column that counts has a value below 0.",
    ALL_COUNTED: "Clients notified are as many as rows in stg/subscribers_feedback.",
    NO_EVENT_LOST: "Kept and rejected events together are as many as in STG.",
    FEW_REJECTED: f"At most {REJECTED_AT_MOST:.0%} of the events are rejected.",
    DRIFT: f"Rows are within {DRIFT_AT_MOST:.0%} of the mean of the {DAYS_BEFORE} days before.",
}
ROW_CHECKS = (NOT_NULL, KEY, CITIES, COUNTS)
WARNINGS = (FEW_REJECTED, DRIFT)  # the others keep what depends on the table from being built


def check_names(table: Table) -> list[str]:
    """Which checks a table gets."""
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
        names.append(DRIFT)
    return names


def specs(table: Table) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            name,
            asset=[table.layer, table.name],
            description=_DESCRIPTIONS[name],
            blocking=name not in WARNINGS,
        )
        for name in check_names(table)
    ]


def check_days(
    lake: Lake, table: Table, done: Mapping[date, PartitionStats], cities: Sequence[City]
) -> Iterator[dg.AssetCheckResult]:
    """Looks at what was written: one job for all that concerns rows; the rest is known from the files."""
    days, names = sorted(done), check_names(table)
    wrong_columns = lake.wrong_columns(table, days)
    yield _result(table, SCHEMA, not wrong_columns, wrong_columns=wrong_columns)
    found = (
        _count_violations(lake, table, days, cities)
        if not wrong_columns
        else {name: {"not_looked": SCHEMA} for name in ROW_CHECKS}
    )
    for name in (name for name in ROW_CHECKS if name in names):
        yield _result(table, name, not any(found[name].values()), **found[name])
    if DRIFT in names:
        yield _drift(lake, table, done)


def check_rejections(
    lake: Lake, kept: Mapping[date, PartitionStats], rejected: Mapping[date, PartitionStats]
) -> Iterator[dg.AssetCheckResult]:
    """That no event of STG is lost between what is kept and what is rejected."""
    staged = {day: lake.measure(tables.STG_EVENTS, day).rows for day in kept}
    lost = {str(day): staged[day] - kept[day].rows - rejected[day].rows for day in kept}
    wrong = {day: number for day, number in lost.items() if number}
    yield _result(
        tables.EVENTS,
        NO_EVENT_LOST,
        not wrong,
        read=sum(staged[day] for day in kept),
        missing_by_day=wrong,
    )
    number, total = (
        sum(written.rows for written in rejected.values()),
        sum(staged[day] for day in kept),
    )
    share = number / total if total else 0.0
    yield _result(
        tables.EVENTS, FEW_REJECTED, share <= REJECTED_AT_MOST, rejected=number, share=share
    )


def check_notifications_counted(
    lake: Lake, done: Mapping[date, PartitionStats]
) -> Iterator[dg.AssetCheckResult]:
    """That no notification is lost between the campaigns, and none is counted twice."""
    counted = (
        lake.read(tables.CAMPAIGN_RESULTS, sorted(done))
        .groupBy("date")
        .agg(F.sum("clients_notified"))
        .collect()
    )
    found = dict.fromkeys(done, 0) | dict(map(tuple, counted))
    taken = {day: lake.measure(tables.SUBSCRIBERS_FEEDBACK, day).rows for day in done}
    wrong = {str(day): taken[day] - found[day] for day in sorted(done) if taken[day] != found[day]}
    yield _result(
        tables.CAMPAIGN_RESULTS,
        ALL_COUNTED,
        not wrong,
        read=sum(taken.values()),
        missing_by_day=wrong,
    )


def _count_violations(
    lake: Lake, table: Table, days: Sequence[date], cities: Sequence[City]
) -> dict[str, dict[str, int]]:
    """How many rows break each rule."""
    required = [column.name for column in table.columns if not column.nullable]
    of_city = [name for name in table.column_names if name in CITY_COLUMNS]
    known = [city.city_id for city in cities]
    counts = {NOT_NULL: {name: F.count_if(F.col(name).isNull()) for name in required}}
    counts[CITIES] = {name: F.count_if(~F.col(name).isin(known)) for name in of_city}
    counts[COUNTS] = {
        column.name: F.count_if(F.col(column.name) < 0)
        for column in table.columns
        if column.is_count
    }
    counts[KEY] = (
        {"repeated": F.count("*") - F.count_distinct("date", *table.key)} if table.key else {}
    )
    asked = [
        (rule, name, count) for rule, by_name in counts.items() for name, count in by_name.items()
    ]
    row = lake.read(table, days).agg(*(count for _, _, count in asked)).first() if asked else ()
    assert row is not None, "an aggregate has one row"
    found: dict[str, dict[str, int]] = {rule: {} for rule in counts}
    for (rule, name, _), number in zip(asked, row, strict=True):
        found[rule][name] = number
    return found


def _drift(lake: Lake, table: Table, done: Mapping[date, PartitionStats]) -> dg.AssetCheckResult:
    """The last of the days against those before it; too few to compare with is no drift."""
    last = max(done)
    before = [day for day in lake.days(table) if 0 < (last - day).days <= DAYS_BEFORE]
    rows = [lake.measure(table, day).rows for day in before]
    mean = sum(rows) / len(rows) if rows else 0
    passed = not mean or abs(done[last].rows - mean) <= DRIFT_AT_MOST * mean
    return _result(
        table, DRIFT, passed, rows=done[last].rows, mean_before=mean, days_before=len(before)
    )


def _result(table: Table, name: str, passed: bool, **metadata: Any) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.WARN if name in WARNINGS else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        asset_key=[table.layer, table.name],
        check_name=name,
        passed=passed,
        severity=severity,
        metadata=metadata,
    )

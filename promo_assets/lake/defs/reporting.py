"""What a run reports to Dagster: for each day the rows, bytes, files, a preview and plots; and the
results of the checks."""

from collections.abc import Iterable, Mapping
from datetime import date
from hashlib import sha256
from typing import Any

import dagster as dg

from promo_assets.lake import tables
from promo_assets.lake.defs import checks, previews
from promo_assets.lake.defs.specs import asset_key, column_lineage
from promo_assets.lake.steps import ensure_cities
from promo_assets.lake.storage.files import LakeError
from promo_assets.lake.storage.lake import Lake, PartitionStats
from promo_assets.lake.tables import Table
from promo_assets.lake.transform.cities import City


def report_days(
    context: dg.AssetExecutionContext,
    lake: Lake,
    table: Table,
    done: Mapping[date, PartitionStats],
    failed: Mapping[date, str] | None = None,
    more_checks: Iterable[dg.AssetCheckResult] = (),
    **metadata: Any,
) -> dg.MaterializeResult:
    """Reports the days of a table that a step has written, and checks them.

    If days failed, records the materializations of the others and raises `dg.Failure`.
    """
    if failed:
        for day, stats in done.items():
            context.log_event(materialize_day(table, day, stats))
        raise build_failure(failed, total=len(done) + len(failed))
    cities = ensure_cities(lake) if checks.CITIES in checks.list_checks(table) else []
    for day, stats in done.items():
        page = describe_stats(stats) | previews.preview_day(lake, table, day, cities)
        context.add_asset_metadata(page, asset_key=asset_key(table), partition_key=str(day))
    return dg.MaterializeResult(
        asset_key(table),
        metadata={"dagster/column_lineage": column_lineage(table), **metadata},
        check_results=[*checks.check_days(lake, table, done, cities), *more_checks],
    )


def report_cities(cities: list[City]) -> dg.MaterializeResult:
    rows = [(city.city_id, city.city, city.lat, city.lon, city.timezone) for city in cities]
    return dg.MaterializeResult(
        asset_key(tables.GEO),
        metadata={
            "dagster/row_count": len(cities),
            "cities": previews.render_table(tables.GEO.column_names, rows),
        },
    )


def observe_raw_days(
    context: dg.OpExecutionContext, lake: Lake, past_days: dg.DailyPartitionsDefinition
) -> dg.DataVersionsByPartition:
    """Logs an observation of each RAW day and returns the days' data versions.

    A day's version is a hash of its files' names, sizes and times, so that it changes if the day is
    written again.
    """
    versions = {}
    for day in lake.days(tables.RAW_EVENTS):
        if not past_days.has_partition_key(str(day)):
            continue
        files = lake.files(tables.RAW_EVENTS, day)
        versions[str(day)] = sha256(repr(files).encode()).hexdigest()[:16]
        metadata = _describe_raw_day(lake, day)
        observation = dg.AssetObservation(
            asset_key(tables.RAW_EVENTS), partition=str(day), metadata=metadata
        )
        context.log_event(observation)
    context.log.info(f"RAW has {len(versions)} days.")
    return dg.DataVersionsByPartition(versions)


def materialize_day(table: Table, day: date, stats: PartitionStats) -> dg.AssetMaterialization:
    """Returns the event that records one written day."""
    return dg.AssetMaterialization(
        asset_key(table), partition=str(day), metadata=describe_stats(stats)
    )


def build_failure(failed: Mapping[date, str], total: int) -> dg.Failure:
    """Returns the failure of a run that names each failed day with its reason."""
    reasons = " · ".join(failed[day] for day in sorted(failed))
    return dg.Failure(f"{len(failed)} of {total} days failed. {reasons}")


def describe_stats(stats: PartitionStats) -> dict[str, Any]:
    return {"dagster/row_count": stats.rows, "bytes": stats.bytes, "files": stats.files}


def _describe_raw_day(lake: Lake, day: date) -> dict[str, Any]:
    try:
        metadata = describe_stats(lake.measure(tables.RAW_EVENTS, day))
        metadata["extra_columns"] = ", ".join(lake.extra_columns(tables.RAW_EVENTS, day))
    except LakeError as error:
        return {"unreadable": str(error)}
    return metadata

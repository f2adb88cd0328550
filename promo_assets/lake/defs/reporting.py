"""What an asset's page shows: what the table is, and of each run how much was written, a preview and plots."""

from collections.abc import Iterable, Mapping
from datetime import date
from hashlib import sha256
from typing import Any

import dagster as dg

from promo_assets.lake import tables
from promo_assets.lake.defs import checks, previews
from promo_assets.lake.steps import load_cities
from promo_assets.lake.storage.files import LakeError
from promo_assets.lake.storage.lake import Lake, PartitionStats
from promo_assets.lake.tables import Table
from promo_assets.lake.transform.cities import City

OWNERS = ["team:data-engineering"]
Context = dg.AssetExecutionContext


def key_of(table: Table) -> dg.AssetKey:
    return dg.AssetKey([table.layer, table.name])


def asset_args(table: Table) -> dict[str, Any]:
    """What Dagster is told of a table: arguments of an asset's decorator."""
    return {
        "key": key_of(table),
        "group_name": table.layer,
        "description": f"A row is {table.row}. Lies in `{table.path}/`; {_split(table)}.",
        "metadata": {"dagster/column_schema": _schema(table)},
    } | ({} if table is tables.RAW_EVENTS else {"kinds": _kinds(table), "owners": OWNERS})


def spec_of(table: Table, deps: Iterable[dg.AssetDep]) -> dg.AssetSpec:
    return dg.AssetSpec(**asset_args(table), deps=deps)


def report(
    context: Context,
    lake: Lake,
    table: Table,
    done: Mapping[date, PartitionStats],
    failed: Mapping[date, str] | None = None,
    more_checks: Iterable[dg.AssetCheckResult] = (),
    **metadata: Any,
) -> dg.MaterializeResult:
    """The result of a step; where days failed, raises after the others are recorded."""
    if failed:
        for day, written in done.items():
            context.log_event(
                dg.AssetMaterialization(
                    key_of(table), partition=str(day), metadata=stats_metadata(written)
                )
            )
        raise dg.Failure(
            f"{len(failed)} of {len(done) + len(failed)} days failed. "
            + " · ".join(failed[day] for day in sorted(failed))
        )
    cities = load_cities(lake) if checks.CITIES in checks.check_names(table) else []
    for day, written in done.items():
        shown = stats_metadata(written) | previews.preview_day(lake, table, day, cities)
        context.add_asset_metadata(shown, asset_key=key_of(table), partition_key=str(day))
    results = [*checks.check_days(lake, table, done, cities), *more_checks]
    return dg.MaterializeResult(
        key_of(table),
        metadata={"dagster/column_lineage": _lineage(table), **metadata},
        check_results=results,
    )


def report_cities(cities: list[City]) -> dg.MaterializeResult:
    rows = [(city.city_id, city.city, city.lat, city.lon, city.timezone) for city in cities]
    return dg.MaterializeResult(
        key_of(tables.GEO),
        metadata={
            "dagster/row_count": len(cities),
            "cities": previews.table(tables.GEO.column_names, rows),
        },
    )


def observe_raw(
    context: dg.OpExecutionContext, lake: Lake, daily: dg.DailyPartitionsDefinition
) -> dg.DataVersionsByPartition:
    """A day's version is made from the names, sizes and times of its files, so that a day written anew shows as such."""
    versions = {}
    for day in lake.days(tables.RAW_EVENTS):
        if not daily.has_partition_key(str(day)):
            continue
        files = lake.files(tables.RAW_EVENTS, day)
        versions[str(day)] = sha256(repr(files).encode()).hexdigest()[:16]
        try:
            found = stats_metadata(lake.measure(tables.RAW_EVENTS, day))
            found["extra_columns"] = ", ".join(lake.extra_columns(tables.RAW_EVENTS, day))
        except LakeError as error:
            found = {"unreadable": str(error)}
        context.log_event(
            dg.AssetObservation(key_of(tables.RAW_EVENTS), partition=str(day), metadata=found)
        )
    context.log.info(f"RAW has {len(versions)} days")
    return dg.DataVersionsByPartition(versions)


def stats_metadata(written: PartitionStats) -> dict[str, Any]:
    return {"dagster/row_count": written.rows, "bytes": written.bytes, "files": written.files}


def _split(table: Table) -> str:
    if table is tables.GEO:
        return "`;` between the fields, decimal comma or point"
    folders = "".join(f"{name}=…/" for name in ("date", *table.split))
    return f"a day in `{folders}`, parquet"


def _kinds(table: Table) -> set[str]:
    return {"csv"} if table is tables.GEO else {"spark", "parquet"}


def _schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema([
        dg.TableColumn(
            column.name,
            column.type.simpleString(),
            column.description,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in table.columns
    ])  # fmt: skip


def _lineage(table: Table) -> dg.TableColumnLineage:
    def source(name: str) -> dg.TableColumnDep:
        asset, _, column = name.rpartition(".")
        return dg.TableColumnDep(dg.AssetKey(asset.split("/")), column)

    return dg.TableColumnLineage(
        {
            column.name: [source(name) for name in column.made_from.split()]
            for column in table.columns
            if column.made_from
        }
    )

"""What Dagster knows of a table before any run: its asset's key, description, columns and lineage.

All of it is derived from `tables.py`.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from promo_assets.lake import tables
from promo_assets.lake.tables import Table

OWNERS = ["team:data-engineering"]


def asset_key(table: Table) -> dg.AssetKey:
    return dg.AssetKey([table.layer, table.name])


def asset_spec(table: Table, deps: Iterable[dg.AssetDep]) -> dg.AssetSpec:
    return dg.AssetSpec(**describe_asset(table), deps=deps)


def describe_asset(table: Table) -> dict[str, Any]:
    """Returns the arguments of an asset's decorator that describe its table.

    RAW gets neither kinds nor owners: `observable_source_asset` has no such arguments.
    """
    arguments = {
        "key": asset_key(table),
        "group_name": table.layer,
        "description": f"Each row is {table.row}. {_describe_files(table)}",
        "metadata": {"dagster/column_schema": _column_schema(table)},
    }
    if table is tables.RAW_EVENTS:
        return arguments
    kinds = {"csv"} if table is tables.GEO else {"spark", "parquet"}
    return arguments | {"kinds": kinds, "owners": OWNERS}


def column_lineage(table: Table) -> dg.TableColumnLineage:
    """Returns the columns that each column is made from."""
    return dg.TableColumnLineage(
        {
            column.name: [_column_dep(source) for source in column.made_from.split()]
            for column in table.columns
            if column.made_from
        }
    )


def _describe_files(table: Table) -> str:
    if table is tables.GEO:
        return (
            f"The file is `{table.path}`; its fields are separated by `;`, and its numbers have a "
            "decimal comma or point."
        )
    folders = "".join(f"{name}=…/" for name in ("date", *table.split))
    return f"The files of a day are in `{table.path}/{folders}`, as Parquet."


def _column_schema(table: Table) -> dg.TableSchema:
    columns = [
        dg.TableColumn(
            column.name,
            column.type.simpleString(),
            column.description,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in table.columns
    ]
    return dg.TableSchema(columns)


def _column_dep(source: str) -> dg.TableColumnDep:
    """Reads `layer/table.column`."""
    asset, _, column = source.rpartition(".")
    return dg.TableColumnDep(dg.AssetKey(asset.split("/")), column)

"""Compares a contestant's tables with ours."""

import sys
from pathlib import Path

from lake_race.process import console
from lake_race.steps import DDS, FRIENDS, connect_duckdb, our_path
from promo_assets.lake import tables

TABLES = {DDS: tables.EVENTS, **{table.name: table for table in tables.MARTS}}
# These columns of the friends depend on when the mart was computed.
NOT_COMPARED = ("processed_dttm", "local_time")


def compare_tables(root: Path, name: str, steps: list[str]) -> None:
    """End the benchmark if the contestant `name` wrote other rows than ours."""
    database = connect_duckdb(root)
    for step in steps:
        ours, theirs = _select_ours(root, step), _select_theirs(root, name, step)
        sums = [
            database.execute(
                f"select count(*), sum(hash(row))::varchar from ({query}) row"
            ).fetchone()
            for query in (ours, theirs)
        ]
        if sums[0] != sums[1]:
            for title, one, other in (("ours only", ours, theirs), (f"{name} only", theirs, ours)):
                difference = f"{one} except all {other} order by all limit 5"
                console.print(title, database.execute(difference).fetchall())
            sys.exit(f"{step}: ours has (rows, checksum) {sums[0]}, {name} has {sums[1]}")
        console.log(f"{step}: {sums[0][0]:,} rows, the same as {name}'s")


def _select_ours(root: Path, step: str) -> str:
    return _select(step, f"{our_path(root, TABLES[step])}/**/*.parquet")


def _select_theirs(root: Path, name: str, step: str) -> str:
    folder = root / name / step
    return _select(step, f"{folder}/**/*.parquet" if folder.is_dir() else f"{folder}.parquet")


def _select(step: str, files: str) -> str:
    columns = ", ".join(
        column
        for column in TABLES[step].column_names
        if step != FRIENDS or column not in NOT_COMPARED
    )
    options = "hive_partitioning = true, hive_types_autocast = false"
    return f"select {columns} from read_parquet('{files}', {options})"

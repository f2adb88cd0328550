"""The steps that every contestant takes, and where their tables lie."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import duckdb

from promo_assets.lake import tables

DEPTH = 28
AS_OF = date(2022, 6, 28)
START = AS_OF - timedelta(days=DEPTH - 1)
THREADS = 2
OWNER = "bench"
HISTORY = [table.name for table in tables.HISTORY]
MARTS = USERS, GEO, FRIENDS = [tables.USERS.name, tables.GEO_MART.name, tables.FRIENDS.name]
STG, DDS, REJECTED = "STG", "DDS events", "rejected_events"
OUR_STEPS = [STG, DDS, REJECTED, *HISTORY, *MARTS]
DUCKDB_STEPS = [DDS, *MARTS]
# A contestant's steps, by name; a step writes one table.
Steps = dict[str, Callable[[], object]]


def our_path(root: Path, table: tables.Table) -> Path:
    """Return the folder of one of the lake's own tables."""
    return root / table.path.format(owner=OWNER).lstrip("/")


def connect_duckdb(root: Path) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(config={"threads": THREADS, "temp_directory": str(root / "spill")})
    database.execute("set TimeZone = 'UTC'")
    return database

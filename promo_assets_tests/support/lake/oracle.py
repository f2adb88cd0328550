"""The oracle: the lake implemented a second time, in plain SQL on DuckDB, from the contract alone.

So the two implementations are not wrong together. Nothing here uses the lake's code, its helper
tables or its files other than RAW; every answer is computed from all of RAW.
"""

import csv
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import duckdb

from promo_assets_tests.support.lake import oracle_sql

Row = tuple
City = tuple[int, str, float, float, str]

# The reasons of rule 2.3 for which an event is rejected.
REASONS = (
    "no user",
    "no readable time",
    "time outside the partition's day",
    "position out of range",
    "unknown type",
)


def read_cities(path: Path) -> list[City]:
    """Return city_id, city, lat, lon and timezone of each city; the file must have time zones."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return [
            (
                int(row["id"]),
                row["city"],
                _degrees(row["lat"]),
                _degrees(row.get("lng") or row["lon"]),
                row["timezone"],
            )
            for row in csv.DictReader(lines, delimiter=";")
        ]


def _degrees(text: str) -> float:
    return float(text.replace(",", "."))


def comparable(rows: Iterable[Row]) -> list[str]:
    """Return rows as sorted texts: order does not matter, NaN equals NaN, diffs are readable."""
    return sorted(map(repr, rows))


class Oracle:
    """What DDS and the marts must contain, given RAW.

    Rows are tuples in the order of the tables' columns; the rows themselves have no order.
    Timestamps are naive and UTC, except for local_time.
    """

    def __init__(self, raw_folder: Path, cities: Path) -> None:
        files = [
            str(file)
            for file in sorted(raw_folder.glob("date=*/*.parquet"))
            if file.name[0] not in "._"
        ]
        self._database = duckdb.connect()
        self._database.execute(oracle_sql.DISTANCE)
        self._database.execute(
            "create table cities"
            " (city_id bigint, city varchar, lat double, lon double, timezone varchar)"
        )
        self._database.executemany("insert into cities values (?, ?, ?, ?, ?)", read_cities(cities))
        self._database.execute(oracle_sql.RAW, {"files": files})
        for statement in (oracle_sql.TYPED, oracle_sql.EVENTS, oracle_sql.VISITS):
            self._database.execute(statement)

    def events(self) -> list[Row]:
        """Return DDS events: the table's columns and the day of the partition."""
        return self._rows("from events")

    def rejected(self) -> list[Row]:
        """Return rejected events: RAW's columns, all reasons that apply, the partition's day."""
        return self._rows(
            "select event, event_type, lat, lon, reasons, day from typed where len(reasons) > 0"
        )

    def users(self, as_of: date, depth: int) -> list[Row]:
        return self._mart(oracle_sql.USERS, as_of, depth)

    def geo(self, as_of: date, depth: int) -> list[Row]:
        return self._mart(oracle_sql.GEO, as_of, depth)

    def friends(self, as_of: date, depth: int) -> list[Row]:
        """Return user_left, user_right and zone_id: what does not depend on the time of the run."""
        return self._mart(oracle_sql.FRIENDS, as_of, depth)

    def _mart(self, query: str, as_of: date, depth: int) -> list[Row]:
        return self._rows(query, {"as_of": as_of, "first_day": as_of - timedelta(days=depth - 1)})

    def _rows(self, query: str, values: dict[str, date] | None = None) -> list[Row]:
        return self._database.execute(query, values).fetchall()

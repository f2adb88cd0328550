"""The contestant *duckdb*: each table by the fastest SQL found for it, reading and writing parquet.

It reads our STG and DDS. It keeps no tables per day, and promises nothing to concurrent readers.
"""

import math
import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from lake_race.steps import AS_OF, DDS, FRIENDS, GEO, START, USERS, Steps, connect_duckdb, our_path
from promo_assets.lake import tables
from promo_assets.lake.transform.cities import (
    EARTH_RADIUS_KM,
    NEARLY_EQUAL,
    SHIPPED,
    City,
    parse_cities,
)

SQL = Path(__file__).with_name("sql")
# The square of the chord, in km, between two points at a distance of 1 km.
LIMIT = (2 * EARTH_RADIUS_KM * math.sin(1 / (2 * EARTH_RADIUS_KM))) ** 2


def open_duckdb(root: Path) -> Steps:
    cities = parse_cities(SHIPPED.read_bytes())
    database = connect_duckdb(root)
    database.execute("create table cities (city_id bigint, city varchar, timezone varchar)")
    database.executemany(
        "insert into cities values (?, ?, ?)",
        [(city.city_id, city.city, city.timezone) for city in cities],
    )
    database.execute((SQL / "macros.sql").read_text())
    database.execute("set preserve_insertion_order = false")
    (root / "duckdb").mkdir()
    race = DuckDb(database, root)
    window = {"start": START, "as_of": AS_OF}
    return {
        DDS: lambda: race.write_days(DDS, _events_query(cities)),
        USERS: lambda: race.write_file(USERS, (SQL / "users.sql").read_text(), window),
        GEO: lambda: race.write_file(GEO, _geo_query(), window),
        FRIENDS: lambda: race.write_file(
            FRIENDS, _friends_query(), {**window, "now": datetime.now(UTC)}
        ),
    }


class DuckDb:
    def __init__(self, database: duckdb.DuckDBPyConnection, root: Path):
        self._database = database
        self._root = root

    def write_days(self, name: str, query: str) -> None:
        """Replace a table's folder, partitioned by day and event type."""
        folder = self._root / "duckdb" / name
        shutil.rmtree(folder, ignore_errors=True)
        self._write(folder, query, {}, ", partition_by (date, event_type)")

    def write_file(self, name: str, statements: str, values: dict[str, object]) -> None:
        """Replace a table's file by the result of the last statement."""
        file = self._root / "duckdb" / f"{name}.parquet"
        file.unlink(missing_ok=True)
        self._write(file, statements, values)

    def _write(
        self, path: Path, statements: str, values: dict[str, object], options: str = ""
    ) -> None:
        self._create_view("events", tables.EVENTS)
        self._create_view("staged", tables.STG_EVENTS)
        *steps, query = statements.split(";")
        for statement in (*steps, f"copy ({query}) to '{path}' (format parquet{options})"):
            used = {name: value for name, value in values.items() if f"${name}" in statement}
            self._database.execute(statement, used)

    def _create_view(self, name: str, table: tables.Table) -> None:
        files = our_path(self._root, table) / "*" / "*" / "*.parquet"
        types = "{'date': date, 'event_type': varchar}"
        self._database.execute(
            f"create or replace view {name} as from read_parquet("
            f"'{files}', hive_partitioning = true, hive_types = {types})"
        )


def _events_query(cities: list[City]) -> str:
    dots = [
        f"x * {x!r} + y * {y!r} + z * {z!r} as dot_{city.city_id}"
        for city, (x, y, z) in zip(cities, map(_unit_vector, cities), strict=True)
    ]
    cases = [f"when dot_{city.city_id} >= nearly_best then {city.city_id}" for city in cities]
    return (SQL / "events.sql").read_text().format(
        dots=", ".join(dots),
        names=", ".join(f"dot_{city.city_id}" for city in cities),
        nearly=NEARLY_EQUAL,
        cases=" ".join(cases),
    )  # fmt: skip


def _geo_query() -> str:
    counts = [
        f"coalesce(sum({kind}) over in_{period}, 0)::bigint as {period}_{column}"
        for period in ("week", "month")
        for kind, column in (
            *((kind, kind) for kind in tables.EVENT_TYPES),
            ("registration", "user"),
        )
    ]
    return (SQL / "geo.sql").read_text().format(counts=", ".join(counts))


def _friends_query() -> str:
    return (SQL / "friends.sql").read_text().format(limit=repr(LIMIT))


def _unit_vector(city: City) -> tuple[float, float, float]:
    lat, lon = math.radians(city.lat), math.radians(city.lon)
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)

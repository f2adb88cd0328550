"""Cities: parsing geo.csv, their time zones, and the city nearest to a position."""

import csv
import io
import re
import zoneinfo
from dataclasses import dataclass
from functools import cache
from math import cos, radians, sin
from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

EARTH_RADIUS_KM = 6371.0
# Files that lie next to the time zones on some machines.
NO_TIMEZONES = {"localtime", "Factory", "posixrules"}
SHIPPED = Path(__file__).with_name("geo.csv")
# Cities whose dot products differ by less are compared by their exact distance: 1e-9 km is at most
# 1.6e-13 of a dot product.
NEARLY_EQUAL = 1e-12

Line = tuple[int, list[str]]  # its number in the file, and its fields without surrounding blanks


class CitiesError(ValueError):
    """geo.csv cannot be used; the message names the lines and what is wrong with them."""


@dataclass(frozen=True)
class City:
    city_id: int
    city: str
    lat: float  # degrees
    lon: float  # degrees
    timezone: str  # IANA name


def parse_cities(content: bytes) -> list[City]:
    """Parse a geo.csv and return its cities in the order of their ids.

    Raises `CitiesError` if any line is wrong: the events of a city that is left out would silently
    be assigned to its neighbours.
    """
    (_, names), *lines = _split_lines(content)
    header = _parse_header(names)
    cities: dict[int, City] = {}
    problems = []
    for number, fields in lines:
        try:
            if len(fields) != len(header):
                raise ValueError(f"it has {len(fields)} fields instead of {len(header)}")
            city = _parse_city(dict(zip(header, fields, strict=True)))
            if city.city_id in cities:
                raise ValueError(f"id {city.city_id} is used twice")
            cities[city.city_id] = city
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise CitiesError("; ".join(problems))
    if not cities:
        raise CitiesError("the file has no cities")
    return [cities[city_id] for city_id in sorted(cities)]


def _split_lines(content: bytes) -> list[Line]:
    """Return the lines that are not blank, at least one."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CitiesError("the file is not UTF-8 text") from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";", strict=True)
    try:
        lines = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except csv.Error as error:
        raise CitiesError(f"line {reader.line_num}: {error}") from None
    filled = [(number, fields) for number, fields in lines if any(fields)]
    if not filled:
        raise CitiesError("the file is empty")
    return filled


def _parse_header(names: list[str]) -> list[str]:
    header = ["lon" if name.lower() == "lng" else name.lower() for name in names]
    if wrong := [name for name in ("id", "city", "lat", "lon") if header.count(name) != 1]:
        raise CitiesError(
            f"the header must name {', '.join(wrong)} exactly once, but it is {';'.join(names)}"
        )
    return header


def _parse_city(field: dict[str, str]) -> City:
    if not (field["id"].isascii() and field["id"].isdigit() and int(field["id"]) < 2**63):
        raise ValueError(f"id {field['id']!r} is not a whole number")
    if not field["city"]:
        raise ValueError("the city has no name")
    timezone = field.get("timezone") or _shipped_timezones().get(field["city"], "")
    if not timezone:
        raise ValueError(
            f"the time zone of {field['city']} is unknown: add it in the column timezone"
        )
    if timezone not in _timezones():
        raise ValueError(f"{timezone!r} is not an IANA time zone")
    lat, lon = _parse_degrees(field, "lat", 90), _parse_degrees(field, "lon", 180)
    return City(int(field["id"]), field["city"], lat, lon, timezone)


def _parse_degrees(field: dict[str, str], name: str, limit: int) -> float:
    if not re.fullmatch(r"[+-]?[0-9]+([.,][0-9]+)?", field[name]):
        raise ValueError(f"{name} {field[name]!r} is not a number")
    value = float(field[name].replace(",", "."))
    if not -limit <= value <= limit:
        raise ValueError(f"{name} {field[name]} is outside of ±{limit}")
    return value


@cache
def _timezones() -> set[str]:
    """Return the IANA time zones that this machine knows; listing them is slow."""
    return zoneinfo.available_timezones() - NO_TIMEZONES


@cache
def _shipped_timezones() -> dict[str, str]:
    """Return the time zones of the shipped cities by the city's name."""
    (_, names), *lines = _split_lines(SHIPPED.read_bytes())
    header = _parse_header(names)
    rows = [dict(zip(header, fields, strict=True)) for _, fields in lines]
    return {row["city"]: row["timezone"] for row in rows}


def distance_km(lat: Column, lon: Column, other_lat: Column, other_lon: Column) -> Column:
    """Return the great-circle distance of two positions, in km, by the haversine formula.

    Positions are in degrees on a sphere with a radius of 6371 km (rule 2.3).
    """
    half_lat = F.sin((F.radians(other_lat) - F.radians(lat)) / 2)
    half_lon = F.sin((F.radians(other_lon) - F.radians(lon)) / 2)
    cosines = F.cos(F.radians(lat)) * F.cos(F.radians(other_lat))
    haversine = half_lat * half_lat + cosines * half_lon * half_lon
    return 2 * EARTH_RADIUS_KM * F.asin(F.sqrt(F.least(haversine, F.lit(1.0))))


def unit_vector(lat: Column, lon: Column) -> tuple[Column, Column, Column]:
    """Return a position in degrees as x, y and z on a sphere of radius 1."""
    phi, lam = F.radians(lat), F.radians(lon)
    return F.cos(phi) * F.cos(lam), F.cos(phi) * F.sin(lam), F.sin(phi)


def add_nearest_city(events: DataFrame, cities: list[City]) -> DataFrame:
    """Add `city_id`, the city nearest to `lat` and `lon`; null if either of them is null.

    The nearest city has the greatest dot product with the position's unit vector. Distances are
    computed only where several cities come so close that rounding decides: of equal distances,
    rounded to 1e-9 km, the smaller id wins.
    Each step is a column of its own and is never null, because Spark's generated code is then small
    enough to be compiled (5 M events: 2 s instead of 40 s).
    """
    x, y, z = unit_vector(F.coalesce("lat", F.lit(0.0)), F.coalesce("lon", F.lit(0.0)))
    dots = {f"_dot_{city.city_id}": _dot_product(city) for city in cities}
    ids = [F.lit(city.city_id).cast("long") for city in cities]
    nearly_best = F.greatest(*dots, F.lit(-2.0)) - NEARLY_EQUAL
    candidates = [
        F.when(F.col(dot) >= F.col("_nearly_best"), city_id)
        for dot, city_id in zip(dots, ids, strict=True)
    ]
    first, last = F.coalesce(*candidates), F.coalesce(*reversed(candidates))
    is_located = F.col("lat").isNotNull() & F.col("lon").isNotNull()
    is_only_candidate = F.col("_first") == F.col("_last")
    nearest = F.when(is_only_candidate, F.col("_first")).otherwise(_nearest_by_distance(cities))
    return (
        events.withColumns({"_x": x, "_y": y, "_z": z})
        .withColumns(dots)
        .withColumn("_nearly_best", nearly_best)
        .withColumns({"_first": first, "_last": last})
        .withColumn("city_id", F.when(is_located, nearest))
        .select(*events.columns, "city_id")
    )


def _dot_product(city: City) -> Column:
    lat, lon = radians(city.lat), radians(city.lon)
    x, y = F.col("_x") * (cos(lat) * cos(lon)), F.col("_y") * (cos(lat) * sin(lon))
    return x + y + F.col("_z") * sin(lat)


def _nearest_by_distance(cities: list[City]) -> Column:
    """Return the id of the city with the least distance to `lat` and `lon`, then the least id."""
    places = [
        F.struct(
            F.lit(city.lat).alias("lat"),
            F.lit(city.lon).alias("lon"),
            F.lit(city.city_id).cast("long").alias("city_id"),
        )
        for city in cities
    ]

    def distance_and_id(city: Column) -> Column:
        distance = distance_km(F.col("lat"), F.col("lon"), city["lat"], city["lon"])
        return F.struct(F.round(distance, 9).alias("distance"), city["city_id"].alias("city_id"))

    return F.array_min(F.transform(F.array(*places), distance_and_id))["city_id"]


def city_value(city_id: Column, cities: list[City], attribute: str) -> Column:
    """Return a text attribute (`city` or `timezone`) of the city with this id; null for null."""
    pairs = ((city.city_id, getattr(city, attribute)) for city in cities)
    values = F.create_map(*(F.lit(part) for pair in pairs for part in pair))
    return F.element_at(values, city_id)

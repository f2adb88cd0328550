"""Of a mart's day: ten rows and a plot, small enough to be stored with the run."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_assets.lake import plots, tables
from promo_assets.lake.cities import City
from promo_assets.lake.storage import Lake
from promo_assets.lake.tables import Table

ROWS = 10


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(plots.preview(columns, rows))


def of_day(lake: Lake, table_: Table, day: date, cities: Sequence[City]) -> dict[str, Any]:
    """Nothing for a table that is no mart."""
    if table_ not in tables.MARTS:
        return {}
    mart = lake.read(table_, [day])
    rows = mart.select(table_.column_names).orderBy(*table_.key).limit(ROWS).collect()
    return {"preview": table(table_.column_names, rows)} | _PLOTS[table_.name](mart, {city.city_id: city for city in cities})


def _of_users(mart: DataFrame, _: dict[int, City]) -> dict[str, Any]:
    rows = mart.groupBy("travel_count").agg(F.count("*").alias("users")).orderBy("travel_count").collect()
    return {"travels": _plot(plots.travel_counts([tuple(row) for row in rows]), "users by number of visits")}


def _of_geo(mart: DataFrame, cities: dict[int, City]) -> dict[str, Any]:
    counted = ("week_message", "week_reaction", "week_subscription", "week_user")
    weeks = mart.select("week", "zone_id", *counted).distinct().orderBy("week", "zone_id").collect()
    happened: Counter[int] = Counter()
    registered: Counter[int] = Counter()
    for row in weeks:
        happened[row.zone_id] += row.week_message
        registered[row.zone_id] += row.week_user
    zones = [(cities[zone].city, cities[zone].lat, cities[zone].lon, happened[zone], registered[zone]) for zone in happened]
    by_week = [(row.week.date(), cities[row.zone_id].city, *row[2:]) for row in weeks]
    return {
        "zones": _plot(plots.zones_map(zones), "messages and registrations of the window by zone"),
        "weeks": _plot(plots.weekly_counts(by_week), "events by week and zone"),
    }


def _of_friends(mart: DataFrame, cities: dict[int, City]) -> dict[str, Any]:
    rows = mart.groupBy("zone_id").agg(F.count("*").alias("pairs")).collect()
    return {"zones": _plot(plots.pairs_by_zone([(cities[row.zone_id].city, row.pairs) for row in rows]), "pairs by zone")}


def _plot(png: bytes, what: str) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(plots.markdown(png, what))


_PLOTS: dict[str, Callable[[DataFrame, dict[int, City]], dict[str, Any]]] = {
    tables.USERS.name: _of_users,
    tables.GEO_MART.name: _of_geo,
    tables.FRIENDS.name: _of_friends,
}

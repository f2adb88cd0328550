"""Of a mart's day: ten rows and a plot, small enough to be stored with the run."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import TimestampType

from promo_assets import markdown
from promo_assets.lake import tables
from promo_assets.lake.defs import plots
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.tables import Table
from promo_assets.lake.transform.cities import City

ROWS = 10
DayPreview = Callable[[Table], DataFrame]


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(markdown.table(columns, rows))


def preview_day(lake: Lake, table_: Table, day: date, cities: Sequence[City]) -> dict[str, Any]:
    """Nothing for a table that is no mart."""
    if table_.layer != "mart":
        return {}

    def of(read: Table) -> DataFrame:
        return lake.read(read, [day])

    # As text: Python's datetimes would be in the zone of this process, and not UTC.
    times = {field.name for field in table_.schema if isinstance(field.dataType, TimestampType)}
    shown = [
        F.col(name).cast("string").alias(name) if name in times else F.col(name)
        for name in table_.column_names
    ]
    rows = of(table_).orderBy(*table_.key).limit(ROWS).select(shown).collect()
    draw = _PLOTS.get(table_.name, lambda *_: {})
    return {"preview": table(table_.column_names, rows)} | draw(
        of, {city.city_id: city for city in cities}
    )


def _preview_users(of: DayPreview, _: dict[int, City]) -> dict[str, Any]:
    rows = (
        of(tables.USERS)
        .groupBy("travel_count")
        .agg(F.count("*").alias("users"))
        .orderBy("travel_count")
        .collect()
    )
    return {
        "travels": _plot(
            plots.travel_counts([tuple(row) for row in rows]), "users by number of visits"
        )
    }


def _preview_geo(of: DayPreview, cities: dict[int, City]) -> dict[str, Any]:
    counted = ("week_message", "week_reaction", "week_subscription", "week_user")
    week = F.to_date("week").alias("week")
    weeks = (
        of(tables.GEO_MART)
        .select(week, "zone_id", *counted)
        .distinct()
        .orderBy("week", "zone_id")
        .collect()
    )
    happened: Counter[int] = Counter()
    registered: Counter[int] = Counter()
    for row in weeks:
        happened[row.zone_id] += row.week_message
        registered[row.zone_id] += row.week_user
    placed = [
        (zone, cities[zone]) for zone in happened if zone in cities
    ]  # a city that geo.csv has no more has no place on a map
    zones = [
        (city.city, city.lat, city.lon, happened[zone], registered[zone]) for zone, city in placed
    ]
    by_week = [(row.week, _name(cities, row.zone_id), *row[2:]) for row in weeks]
    return {
        "zones": _plot(plots.zones_map(zones), "messages and registrations of the window by zone"),
        "weeks": _plot(plots.weekly_counts(by_week), "events by week and zone"),
    }


def _preview_friends(of: DayPreview, cities: dict[int, City]) -> dict[str, Any]:
    rows = of(tables.FRIENDS).groupBy("zone_id").agg(F.count("*").alias("pairs")).collect()
    return {
        "zones": _plot(
            plots.pairs_by_zone([(_name(cities, row.zone_id), row.pairs) for row in rows]),
            "pairs by zone",
        )
    }


def _preview_campaigns(of: DayPreview, _: dict[int, City]) -> dict[str, Any]:
    hour = F.hour(F.timestamp_seconds("trigger_datetime_created")).alias("hour")
    hours = of(tables.SUBSCRIBERS_FEEDBACK).groupBy(hour).count().orderBy("hour").collect()
    seconds = F.col("seconds_to_first_notification")
    least_of_bin = F.coalesce(
        *(F.when(seconds >= least, F.lit(least)) for least in sorted(plots.DELAYS, reverse=True)),
        F.lit(-1),
    )
    bins = (
        of(tables.CAMPAIGN_RESULTS)
        .where(seconds.isNotNull())
        .groupBy(least_of_bin.alias("seconds"))
        .count()
        .orderBy("seconds")
        .collect()
    )
    return {
        "hours": _plot(
            plots.notifications_by_hour([tuple(row) for row in hours]), "notifications by hour"
        ),
        "delays": _plot(
            plots.delays([tuple(row) for row in bins]),
            "campaigns by seconds to the first notification",
        ),
    }


def _preview_restaurants(of: DayPreview, _: dict[int, City]) -> dict[str, Any]:
    greatest = (
        of(tables.RESTAURANT_RESULTS)
        .orderBy(F.col("clients_notified").desc(), "restaurant_id")
        .limit(plots.RESTAURANTS)
    )
    rates = [
        tuple(row)
        for row in greatest.select("restaurant_id", "feedback_rate", "clients_notified").collect()
    ]
    return {
        "rates": _plot(
            plots.feedback_rates(rates), "feedback rate by restaurant, the greatest first"
        )
    }


def _name(cities: dict[int, City], city_id: int) -> str:
    """Of a city that geo.csv has no more: its id. A page must not fail a run whose mart is written."""
    return cities[city_id].city if city_id in cities else f"zone {city_id}"


def _plot(png: bytes, what: str) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(markdown.image(png, what))


_PLOTS: dict[str, Callable[[DayPreview, dict[int, City]], dict[str, Any]]] = {
    tables.USERS.name: _preview_users,
    tables.GEO_MART.name: _preview_geo,
    tables.FRIENDS.name: _preview_friends,
    tables.CAMPAIGN_RESULTS.name: _preview_campaigns,
    tables.RESTAURANT_RESULTS.name: _preview_restaurants,
}

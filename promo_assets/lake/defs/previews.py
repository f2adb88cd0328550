"""The preview of a mart's day: ten rows and plots, small enough to be stored with the run."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import TimestampType

from promo_assets import markdown
from promo_assets.lake import tables
from promo_assets.lake.defs.plots import bars, heat, zone_map
from promo_assets.lake.defs.plots.figure import render_png
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.tables import Table
from promo_assets.lake.transform.cities import City

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 10
ReadDay = Callable[[Table], DataFrame]
"""Reads the preview's day of a table."""
Cities = Mapping[int, City]
"""The lake's cities by id."""


def preview_day(lake: Lake, table: Table, day: date, cities: Sequence[City]) -> dict[str, Any]:
    """Returns metadata with ten rows and the plots of a mart's day; nothing for other tables."""
    if table.layer != "mart":
        return {}

    def read_day(source: Table) -> DataFrame:
        return lake.read(source, [day])

    # Times are cast to text in Spark, because Python's datetimes would be in this process's zone
    # instead of UTC.
    times = {field.name for field in table.schema if isinstance(field.dataType, TimestampType)}
    columns = [
        F.col(name).cast("string").alias(name) if name in times else F.col(name)
        for name in table.column_names
    ]
    rows = read_day(table).orderBy(*table.key).limit(ROWS).select(columns).collect()
    preview = {"preview": render_table(table.column_names, rows)}
    if table.name not in PLOTS:
        return preview
    return preview | PLOTS[table.name](read_day, {city.city_id: city for city in cities})


def render_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(markdown.render_table(columns, rows))


def _plot_users(read_day: ReadDay, _: Cities) -> dict[str, Any]:
    by_visits = read_day(tables.USERS).groupBy("travel_count").agg(F.count("*").alias("users"))
    rows = [tuple(row) for row in by_visits.orderBy("travel_count").collect()]
    figure = bars.draw_travel_counts(rows)
    return {"travels": _render_plot(figure, "users by number of visits")}


def _plot_geo(read_day: ReadDay, cities: Cities) -> dict[str, Any]:
    counts = ("week_message", "week_reaction", "week_subscription", "week_user")
    week = F.to_date("week").alias("week")
    weeks = read_day(tables.GEO_MART).select(week, "zone_id", *counts).distinct()
    rows = weeks.orderBy("week", "zone_id").collect()
    messages: Counter[int] = Counter()
    registrations: Counter[int] = Counter()
    for row in rows:
        messages[row.zone_id] += row.week_message
        registrations[row.zone_id] += row.week_user
    zones = [
        (cities[zone].city, cities[zone].lat, cities[zone].lon, messages[zone], registrations[zone])
        for zone in messages
        if zone in cities  # the position of a city that geo.csv no longer has is unknown
    ]
    by_week = [(row.week, _name_city(cities, row.zone_id), *row[2:]) for row in rows]
    title = "messages and registrations of the window by zone"
    return {
        "zones": _render_plot(zone_map.draw_zone_map(zones), title),
        "weeks": _render_plot(heat.draw_weekly_counts(by_week), "events by week and zone"),
    }


def _plot_friends(read_day: ReadDay, cities: Cities) -> dict[str, Any]:
    by_zone = read_day(tables.FRIENDS).groupBy("zone_id").agg(F.count("*").alias("pairs"))
    pairs = [(_name_city(cities, row.zone_id), row.pairs) for row in by_zone.collect()]
    return {"zones": _render_plot(bars.draw_pairs_by_zone(pairs), "pairs by zone")}


def _plot_campaigns(read_day: ReadDay, _: Cities) -> dict[str, Any]:
    hour = F.hour(F.timestamp_seconds("trigger_datetime_created")).alias("hour")
    hours = read_day(tables.SUBSCRIBERS_FEEDBACK).groupBy(hour).count().orderBy("hour").collect()
    seconds = F.col("seconds_to_first_notification")
    first_seconds = sorted(bars.DELAYS, reverse=True)
    bin_starts = [F.when(seconds >= first, F.lit(first)) for first in first_seconds]
    bin_start = F.coalesce(*bin_starts, F.lit(-1)).alias("seconds")
    known = read_day(tables.CAMPAIGN_RESULTS).where(seconds.isNotNull())
    delays = known.groupBy(bin_start).count().orderBy("seconds").collect()
    hours_figure = bars.draw_notifications_by_hour([tuple(row) for row in hours])
    delays_figure = bars.draw_delays([tuple(row) for row in delays])
    title = "campaigns by seconds to the first notification"
    return {
        "hours": _render_plot(hours_figure, "notifications by hour"),
        "delays": _render_plot(delays_figure, title),
    }


def _plot_restaurants(read_day: ReadDay, _: Cities) -> dict[str, Any]:
    largest_first = (F.col("clients_notified").desc(), "restaurant_id")
    restaurants = read_day(tables.RESTAURANT_RESULTS).orderBy(*largest_first)
    largest = restaurants.limit(bars.MAX_RESTAURANTS)
    rates = largest.select("restaurant_id", "feedback_rate", "clients_notified").collect()
    figure = bars.draw_feedback_rates([tuple(row) for row in rates])
    return {"rates": _render_plot(figure, "feedback rate by restaurant, the largest first")}


def _name_city(cities: Cities, city_id: int) -> str:
    """Returns the city's name, or its id if geo.csv no longer has it: a preview must not fail a run
    whose mart is already written."""
    return cities[city_id].city if city_id in cities else f"zone {city_id}"


def _render_plot(figure: "Figure", title: str) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(markdown.render_image(render_png(figure), title))


PLOTS: dict[str, Callable[[ReadDay, Cities], dict[str, Any]]] = {
    tables.USERS.name: _plot_users,
    tables.GEO_MART.name: _plot_geo,
    tables.FRIENDS.name: _plot_friends,
    tables.CAMPAIGN_RESULTS.name: _plot_campaigns,
    tables.RESTAURANT_RESULTS.name: _plot_restaurants,
}

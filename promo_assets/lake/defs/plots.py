"""What a mart's page shows: pictures of aggregated rows, as PNG.

Rows are plain Python tuples, already aggregated; a city without a name is None. No rows give a small picture that says so.
matplotlib is imported where it is used, because Dagster loads this module whenever it loads the definitions; and it is used without
pyplot, whose state is global.
"""

import csv
import io
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import accumulate, count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from promo_assets.markdown import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Natural Earth 4.1.0, Admin 0 countries at 1:110 million (public domain), less the points within 0.09 degrees of the line.
AUSTRALIA = Path(__file__).with_name("australia.csv")
KINDS = ("messages", "reactions", "subscriptions", "registrations")
ZONES, WEEKS, BINS = (
    24,
    6,
    20,
)  # the most that a picture shows: further zones and long tails are summed up, earlier weeks left out
NAME_LENGTH, ID_LENGTH = 18, 30
RESTAURANTS = 20
# Seconds from which on a campaign is counted with the slower ones.
DELAYS = {
    0: "0 s", 1: "1 s", 2: "2–4 s", 5: "5–9 s", 10: "10–19 s", 20: "20–59 s", 60: "1 min", 120: "2–4 min", 300: "5–9 min",
    600: "10–59 min", 3_600: "1–5 h", 21_600: "6–23 h", 86_400: "≥ 1 day",
}  # fmt: skip
POINTS, SMALL, DPI, COLOURS = 9, 8, 100, 128
LARGEST_CIRCLE = 600  # its diameter squared, points
INK, LAND, COAST, BAR = "#222222", "#ececec", "#b0b0b0", "#2a6f97"

Zone = tuple[str | None, float, float, int, int]
WeekOfZone = tuple[date, str | None, int, int, int, int]


def zones_map(zones: Sequence[Zone]) -> bytes:
    """A row is (city, lat, lon, messages, registrations), each city once. A circle's area shows messages, its colour registrations."""
    return _png(_zones_figure(zones) if zones else _no_rows())


def weekly_counts(rows: Sequence[WeekOfZone]) -> bytes:
    """A row is (week, city, messages, reactions, subscriptions, registrations), each week and city once: the mart `geo` repeats a week
    that lies in two months."""
    return _png(_weekly_figure(rows) if rows else _no_rows())


def travel_counts(rows: Sequence[tuple[int, int]]) -> bytes:
    """A row is (travel_count, number of users with it)."""
    return _png(_travel_figure(rows) if rows else _no_rows())


def pairs_by_zone(rows: Sequence[tuple[str | None, int]]) -> bytes:
    """A row is (city, pairs)."""
    return _png(_pairs_figure(rows) if rows else _no_rows())


def notifications_by_hour(rows: Sequence[tuple[int, int]]) -> bytes:
    """A row is (hour of the day, notifications), each hour once."""
    return _png(_hours_figure(rows) if rows else _no_rows())


def feedback_rates(rows: Sequence[tuple[str, float, int]]) -> bytes:
    """A row is (restaurant, share of its clients who answered, its clients), in the order in which they are shown."""
    return _png(_rates_figure(rows) if rows else _no_rows())


def delays(rows: Sequence[tuple[int, int]]) -> bytes:
    """A row is (seconds, campaigns)."""
    return _png(_delays_figure(rows) if rows else _no_rows())


def _zones_figure(zones: Sequence[Zone]) -> "Figure":
    from matplotlib.colors import Normalize
    from matplotlib.patches import Polygon

    figure = _figure(7.4, 5.0, layout=None)
    axes, bar = (
        figure.add_axes((0.075, 0.09, 0.76, 0.89)),
        figure.add_axes((0.865, 0.09, 0.025, 0.52)),
    )
    for outline in _australia():
        axes.add_patch(Polygon(outline, facecolor=LAND, edgecolor=COAST, linewidth=0.8))
    zones = sorted(
        zones, key=lambda zone: (-zone[3], str(zone[0]))
    )  # the small ones are drawn last, and so on top
    lats, lons, largest = (
        [zone[1] for zone in zones],
        [zone[2] for zone in zones],
        max(zones[0][3], 1),
    )
    axes.plot(lons, lats, ".", color=INK, markersize=2)  # where a zone without messages is
    sizes, registrations = (
        [LARGEST_CIRCLE * zone[3] / largest for zone in zones],
        [float(zone[4]) for zone in zones],
    )
    scale = Normalize(0, max(1, *registrations))
    circles = axes.scatter(
        lons,
        lats,
        sizes,
        registrations,
        norm=scale,
        cmap="viridis_r",
        alpha=0.85,
        edgecolors=INK,
        linewidths=0.6,
        zorder=3,
    )
    _frame_map(axes)
    _name_zones(axes, zones, [math.sqrt(size) / 2 for size in sizes])
    figure.colorbar(circles, cax=bar)
    _label(bar, "", "registrations (colour)", counted="y")
    _explain_sizes(figure, largest)
    return figure


def _australia() -> list[list[tuple[float, float]]]:
    points = list(csv.DictReader(AUSTRALIA.read_text("utf-8").splitlines(), delimiter=";"))
    lands = dict.fromkeys(point["land"] for point in points)
    return [
        [(float(point["lon"]), float(point["lat"])) for point in points if point["land"] == land]
        for land in lands
    ]


def _frame_map(axes: "Axes") -> None:
    """All of Australia and all zones; a degree of longitude is as long as it is at the middle latitude."""
    box, room = axes.dataLim, axes.bbox
    x, y, width, height = (
        (box.x0 + box.x1) / 2,
        (box.y0 + box.y1) / 2,
        1.15 * box.width,
        1.1 * box.height,
    )
    lon_per_lat = room.width / room.height / max(math.cos(math.radians(y)), 0.3)
    width, height = max(width, height * lon_per_lat), max(height, width / lon_per_lat)
    axes.set(xlim=(x - width / 2, x + width / 2), ylim=(y - height / 2, y + height / 2))
    _label(axes, "longitude, degrees east", "latitude, degrees north")


def _name_zones(axes: "Axes", zones: Sequence[Zone], radii: Sequence[float]) -> None:
    """The greatest first, beside, above or below its circle, where the name covers no circle and no other name; else it is left out."""
    from matplotlib.transforms import Bbox

    centres, pixels = axes.transData.transform([(zone[2], zone[1]) for zone in zones]), DPI / 72
    taken = [
        Bbox.from_extents(x - r, y - r, x + r, y + r)
        for (x, y), r in zip(centres, (r * pixels for r in radii), strict=True)
    ]
    for zone, radius in list(zip(zones, radii, strict=True))[:ZONES]:
        for x, y, ha, va in (
            (1, 0, "left", "center"),
            (-1, 0, "right", "center"),
            (0, 1, "center", "bottom"),
            (0, -1, "center", "top"),
        ):
            offset = (x * (radius + 2), y * (radius + 2))
            name = axes.annotate(
                _name(zone[0]),
                (zone[2], zone[1]),
                offset,
                textcoords="offset points",
                ha=ha,
                va=va,
                size=SMALL,
            )
            box = name.get_window_extent()
            if (
                axes.bbox.containsx(box.x0)
                and axes.bbox.containsx(box.x1)
                and not box.count_overlaps(taken)
            ):
                taken.append(box)
                break
            name.remove()


def _explain_sizes(figure: "Figure", largest: int) -> None:
    from matplotlib.lines import Line2D

    numbers = list(takewhile(lambda number: number <= largest, _round_numbers()))[::-2][:3]
    diameters = [math.sqrt(LARGEST_CIRCLE * number / largest) for number in numbers]
    circles = [
        Line2D([], [], linestyle="", marker="o", color="none", markeredgecolor=INK, markersize=size)
        for size in diameters
    ]
    look = {
        "frameon": False,
        "fontsize": SMALL,
        "title_fontsize": POINTS,
        "labelspacing": 1.5,
        "handletextpad": 1.2,
    }
    figure.legend(
        circles,
        [_short(number) for number in numbers],
        title="messages (area)",
        loc="upper right",
        **look,
    )


def _weekly_figure(rows: Sequence[WeekOfZone]) -> "Figure":
    """A heat map per kind, each with colours of its own, on a logarithmic scale since cities are of very different sizes."""
    weeks = sorted({_day(row[0]) for row in rows})[-WEEKS:]
    rows = [row for row in rows if _day(row[0]) in weeks]
    line_of, names = _ranking((row[1], sum(row[2:])) for row in rows)
    tables = [[[0] * len(weeks) for _ in names] for _ in KINDS]
    for week, city, *numbers in rows:
        for table, number in zip(tables, numbers, strict=True):
            table[line_of[city]][weeks.index(_day(week))] += number
    figure = _figure(
        1.5 + len(KINDS) * max(0.25 * len(weeks), 1.1), 1.9 + 0.17 * max(len(names), 9)
    )
    panels = figure.subplots(1, len(KINDS), sharey=True, squeeze=False)[0]
    for axes, kind, table in zip(panels, KINDS, tables, strict=True):
        _draw_heat(axes, kind, table)
        axes.set_xticks(range(len(weeks)), weeks, rotation=90)
        axes.tick_params(length=0, labelsize=SMALL)
    panels[0].set_yticks(range(len(names)), names)
    figure.supxlabel("week, from its Monday (grey: none)", size=POINTS)
    return figure


def _draw_heat(axes: "Axes", kind: str, table: list[list[int]]) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import NullLocator
    from numpy import array
    from numpy.ma import masked_equal

    numbers = [number for line in table for number in line if number] or [1]
    least, greatest = min(numbers), max(numbers)
    axes.set_facecolor(LAND)
    cells = axes.imshow(
        masked_equal(array(table, float), 0),
        cmap="YlGnBu",
        norm=LogNorm(least, max(greatest, least + 1)),
        aspect="auto",
    )
    bar = axes.figure.colorbar(cells, ax=axes, location="top", fraction=0.04, pad=0.02)
    bar.set_label(kind, size=POINTS)
    ticks = [least, math.sqrt(least * greatest), greatest] if greatest >= 10 * least else [least]
    bar.set_ticks(ticks, labels=[_short(tick) for tick in ticks])
    bar.ax.tick_params(labelsize=SMALL)
    bar.ax.get_xticklabels()[-1].set_horizontalalignment(
        "right"
    )  # within the bar, clear of the next one's
    bar.ax.get_xticklabels()[0].set_horizontalalignment("left")
    bar.ax.xaxis.set_minor_locator(NullLocator())


def _travel_figure(rows: Sequence[tuple[int, int]]) -> "Figure":
    """Bins of equal width: for all users if few bins do, else for 99 % of them, with one more bin for the others."""
    low, high = min(rows)[0], max(rows)[0]
    if high - low >= BINS:
        high = _quantile(rows, 0.99)
    width = next(width for width in _round_numbers() if (high - low) // width < BINS)
    starts = range(low, high + 1, width)
    names = [str(start) if width == 1 else f"{start}–{start + width - 1}" for start in starts] + [
        f"≥ {starts[-1] + width}"
    ]
    users = [0] * len(names)
    for travel_count, number in rows:
        users[min((travel_count - low) // width, len(starts))] += number
    if not users[-1]:
        del names[-1], users[-1]
    figure = _figure(7.4, 3.2)
    axes = figure.subplots()
    bars = axes.bar(range(len(users)), [float(number) for number in users], color=BAR)
    axes.bar_label(
        bars, [_short(number) for number in users], padding=2, size=SMALL
    )  # shows the ones too few to be seen
    axes.set_xticks(range(len(users)), names, rotation=0 if width == 1 else 90)
    axes.set_xlim(-0.7, max(len(users), 6) - 0.3)
    axes.spines[["top", "right"]].set_visible(False)
    _label(axes, "travel_count, visits in the window", "users", counted="y")
    return figure


def _quantile(rows: Sequence[tuple[int, int]], share: float) -> int:
    values, seen = (
        [value for value, _ in sorted(rows)],
        list(accumulate(number for _, number in sorted(rows))),
    )
    return next(
        value for value, number in zip(values, seen, strict=True) if number >= share * seen[-1]
    )


def _pairs_figure(rows: Sequence[tuple[str | None, int]]) -> "Figure":
    line_of, names = _ranking(rows)
    pairs = [0] * len(names)
    for city, number in rows:
        pairs[line_of[city]] += number
    figure = _figure(6.4, 0.9 + 0.2 * len(names))
    axes = figure.subplots()
    bars = axes.barh(range(len(names)), [float(number) for number in pairs], color=BAR)
    axes.bar_label(bars, [f"{number:,}" for number in pairs], padding=3, size=SMALL)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    _label(axes, "pairs", "", counted="x")
    return figure


def _hours_figure(rows: Sequence[tuple[int, int]]) -> "Figure":
    numbers = dict(rows)
    return _bars_figure(
        {str(hour): numbers.get(hour, 0) for hour in range(24)},
        "hour of the day, UTC",
        "notifications",
    )


def _delays_figure(rows: Sequence[tuple[int, int]]) -> "Figure":
    """Bins that grow: most campaigns go out within seconds, one that waited for its start after days."""
    names, numbers = ["< 0 s", *DELAYS.values()], [0] * (len(DELAYS) + 1)
    for seconds, campaigns in rows:
        numbers[bisect_right(list(DELAYS), seconds)] += campaigns
    bins = dict(zip(names, numbers, strict=True))
    if not numbers[0]:
        del bins[names[0]]
    return _bars_figure(
        bins, "from the campaign's creation to its first notification", "campaigns", rotation=90
    )


def _bars_figure(bars: dict[str, int], x: str, y: str, rotation: int = 0) -> "Figure":
    figure = _figure(7.4, 3.2)
    axes = figure.subplots()
    drawn = axes.bar(range(len(bars)), [float(number) for number in bars.values()], color=BAR)
    axes.bar_label(
        drawn, [_short(number) if number else "" for number in bars.values()], padding=2, size=SMALL
    )
    axes.set_xticks(range(len(bars)), list(bars), rotation=rotation)
    axes.spines[["top", "right"]].set_visible(False)
    _label(axes, x, y, counted="y")
    return figure


def _rates_figure(rows: Sequence[tuple[str, float, int]]) -> "Figure":
    figure = _figure(6.4, 0.9 + 0.2 * len(rows))
    axes = figure.subplots()
    bars = axes.barh(range(len(rows)), [100 * rate for _, rate, _ in rows], color=BAR)
    axes.bar_label(
        bars,
        [f"{rate:.1%} of {_short(clients)}" for _, rate, clients in rows],
        padding=3,
        size=SMALL,
    )
    axes.set_yticks(range(len(rows)), [_name(restaurant, ID_LENGTH) for restaurant, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(
        0, max(1.25 * max(100 * rate for _, rate, _ in rows), 1)
    )  # room for what is written beside the longest bar
    axes.spines[["top", "right"]].set_visible(False)
    _label(axes, "clients who answered, %", "")
    return figure


def _ranking(numbers: Iterable[tuple[str | None, int]]) -> tuple[dict[str | None, int], list[str]]:
    """The line that a city is shown in, and the lines' names: the greatest sum first; where cities are too many, the last line is for all
    the small ones."""
    totals = Counter[str | None]()
    for city, number in numbers:
        totals[city] += number
    cities = sorted(totals, key=lambda city: (-totals[city], str(city)))
    names = [_name(city) for city in cities]
    if len(cities) > ZONES:
        names[ZONES - 1 :] = [f"{len(cities) - ZONES + 1} other zones"]
    return {city: min(place, ZONES - 1) for place, city in enumerate(cities)}, names


def _name(name: str | None, length: int = NAME_LENGTH) -> str:
    """As matplotlib shows it: what is between two dollar signs would be a formula."""
    if name is None:
        return "(no name)"
    printable = "".join(sign if sign.isprintable() else " " for sign in name)
    return shortened(" ".join(printable.split()), length).replace("$", r"\$")


def _day(week: date) -> str:
    return week.isoformat()[:10]


def _short(number: float, _position: object = None) -> str:
    """Two digits, or all before the point: 999, 1.2k, 12k, 123k, 1.2M."""
    for size, unit in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            return (
                f"{number / size:.{0 if number >= 9.95 * size else 1}f}".removesuffix(".0") + unit
            )
    return f"{number:.0f}"


def _round_numbers() -> Iterator[int]:
    return (digit * 10**power for power in count() for digit in (1, 2, 5))


def _label(axes: "Axes", x: str, y: str, counted: Literal["x", "y"] | None = None) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlabel(x, size=POINTS)
    axes.set_ylabel(y, size=POINTS)
    axes.tick_params(labelsize=SMALL)
    if counted:
        axis = axes.xaxis if counted == "x" else axes.yaxis
        axis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(FuncFormatter(_short))


def _figure(
    width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _no_rows() -> "Figure":
    figure = _figure(2.4, 0.6)
    figure.text(0.5, 0.5, "no rows", ha="center", va="center", size=POINTS)
    return figure


def _png(figure: "Figure") -> bytes:
    """With few colours: Dagster stores the picture with its event, and this is a third of the bytes."""
    from PIL import Image

    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    few = (
        Image.open(drawn)
        .convert("RGB")
        .quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    few.save(packed, "png", optimize=True)
    return packed.getvalue()

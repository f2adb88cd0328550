"""The map of the mart `geo`: Australia, with a circle for each zone."""

import csv
import math
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from promo_assets.lake.defs.plots.figure import (
    DPI,
    GREY,
    INK,
    LABEL_POINTS,
    MAX_ZONES,
    SMALL_POINTS,
    create_figure,
    draw_no_rows,
    format_name,
    format_number,
    iterate_round_numbers,
    label_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Natural Earth 4.1.0, Admin 0 countries at 1:110 million (public domain), without the points within
# 0.09 degrees of the line.
AUSTRALIA = Path(__file__).with_name("australia.csv")
LARGEST_CIRCLE = 600  # its diameter squared, points
MAP_AREA = (0.075, 0.09, 0.76, 0.89)  # left, bottom, width, height in shares of the figure
COLOUR_BAR_AREA = (0.865, 0.09, 0.025, 0.52)
COAST = "#b0b0b0"
NAME_SIDES = (
    (1, 0, "left", "center"),
    (-1, 0, "right", "center"),
    (0, 1, "center", "bottom"),
    (0, -1, "center", "top"),
)
"""Where a name may stand next to its circle: direction x and y, horizontal and vertical
alignment."""

Zone = tuple[str | None, float, float, int, int]
"""(city, latitude, longitude, messages, registrations)"""


def draw_zone_map(zones: Sequence[Zone]) -> "Figure":
    """Draws the zones on a map: the area of a circle shows a zone's messages, its colour the
    registrations. Each city must come once."""
    if not zones:
        return draw_no_rows()
    figure = create_figure(7.4, 5.0, layout=None)
    axes = figure.add_axes(MAP_AREA)
    _draw_coast(axes)
    # The small circles are drawn last, so that they lie on top of the large ones.
    zones = sorted(zones, key=lambda zone: (-zone[3], str(zone[0])))
    largest = max(zones[0][3], 1)
    sizes = [LARGEST_CIRCLE * zone[3] / largest for zone in zones]
    _draw_circles(axes, figure.add_axes(COLOUR_BAR_AREA), zones, sizes)
    _frame_map(axes)
    _draw_names(axes, zones, radii=[math.sqrt(size) / 2 for size in sizes])
    _draw_size_legend(figure, largest)
    return figure


def _draw_coast(axes: "Axes") -> None:
    from matplotlib.patches import Polygon

    points = list(csv.DictReader(AUSTRALIA.read_text("utf-8").splitlines(), delimiter=";"))
    for land in dict.fromkeys(point["land"] for point in points):
        outline = [
            (float(point["lon"]), float(point["lat"])) for point in points if point["land"] == land
        ]
        axes.add_patch(Polygon(outline, facecolor=GREY, edgecolor=COAST, linewidth=0.8))


def _draw_circles(
    axes: "Axes", colour_bar_axes: "Axes", zones: Sequence[Zone], sizes: Sequence[float]
) -> None:
    from matplotlib.colors import Normalize

    lats, lons = [zone[1] for zone in zones], [zone[2] for zone in zones]
    axes.plot(lons, lats, ".", color=INK, markersize=2)  # marks zones without messages, too
    registrations = [float(zone[4]) for zone in zones]
    circles = axes.scatter(
        lons,
        lats,
        sizes,
        registrations,
        norm=Normalize(0, max(1, *registrations)),
        cmap="viridis_r",
        alpha=0.85,
        edgecolors=INK,
        linewidths=0.6,
        zorder=3,
    )
    axes.figure.colorbar(circles, cax=colour_bar_axes)
    label_axes(colour_bar_axes, "", "registrations (colour)", counts="y")


def _frame_map(axes: "Axes") -> None:
    """Sets the limits so that all of Australia and all zones are shown, undistorted at the middle
    latitude."""
    data, space = axes.dataLim, axes.bbox
    x, y = (data.x0 + data.x1) / 2, (data.y0 + data.y1) / 2
    width, height = 1.15 * data.width, 1.1 * data.height
    lon_per_lat = space.width / space.height / max(math.cos(math.radians(y)), 0.3)
    width, height = max(width, height * lon_per_lat), max(height, width / lon_per_lat)
    axes.set(xlim=(x - width / 2, x + width / 2), ylim=(y - height / 2, y + height / 2))
    label_axes(axes, "longitude, degrees east", "latitude, degrees north")


def _draw_names(axes: "Axes", zones: Sequence[Zone], radii: Sequence[float]) -> None:
    """Draws the names of the MAX_ZONES largest zones, the largest first; `radii` are in points.

    A name stands to the right or left of its circle, above it or below it, where it covers neither
    a circle nor another name. A name without such a place is left out.
    """
    from matplotlib.transforms import Bbox

    centres = axes.transData.transform([(zone[2], zone[1]) for zone in zones])
    occupied = []
    for (x, y), radius in zip(centres, radii, strict=True):
        pixels = radius * DPI / 72
        occupied.append(Bbox.from_extents(x - pixels, y - pixels, x + pixels, y + pixels))
    for zone, radius in list(zip(zones, radii, strict=True))[:MAX_ZONES]:
        _draw_name(axes, zone, radius, occupied)


def _draw_name(axes: "Axes", zone: Zone, radius: float, occupied: list) -> None:
    """Draws one name in the first free place and adds its box to the occupied ones."""
    for x, y, horizontal, vertical in NAME_SIDES:
        name = axes.annotate(
            format_name(zone[0]),
            (zone[2], zone[1]),
            (x * (radius + 2), y * (radius + 2)),
            textcoords="offset points",
            ha=horizontal,
            va=vertical,
            size=SMALL_POINTS,
        )
        box = name.get_window_extent()
        is_inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
        if is_inside and not box.count_overlaps(occupied):
            occupied.append(box)
            return
        name.remove()


def _draw_size_legend(figure: "Figure", largest: int) -> None:
    """Explains the areas by up to three circles of round numbers of messages."""
    from matplotlib.lines import Line2D

    round_numbers = list(takewhile(lambda number: number <= largest, iterate_round_numbers()))
    numbers = round_numbers[::-2][:3]
    diameters = [math.sqrt(LARGEST_CIRCLE * number / largest) for number in numbers]
    circles = [
        Line2D([], [], linestyle="", marker="o", color="none", markeredgecolor=INK, markersize=size)
        for size in diameters
    ]
    figure.legend(
        circles,
        [format_number(number) for number in numbers],
        title="messages (area)",
        loc="upper right",
        frameon=False,
        fontsize=SMALL_POINTS,
        title_fontsize=LABEL_POINTS,
        labelspacing=1.5,
        handletextpad=1.2,
    )

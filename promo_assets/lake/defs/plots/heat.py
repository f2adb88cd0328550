"""Heat maps of the mart `geo`: events by week and zone."""

import math
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from promo_assets.lake.defs.plots.figure import (
    GREY,
    LABEL_POINTS,
    SMALL_POINTS,
    create_figure,
    draw_no_rows,
    format_number,
    rank_zones,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy import ndarray

KINDS = ("messages", "reactions", "subscriptions", "registrations")
MAX_WEEKS = 6  # earlier weeks are left out

WeekOfZone = tuple[date, str | None, int, int, int, int]
"""(week, city, messages, reactions, subscriptions, registrations)"""


def draw_weekly_counts(rows: Sequence[WeekOfZone]) -> "Figure":
    """Draws a heat map per kind of event, with weeks as columns and zones as lines.

    Each week of a city must come once: the mart `geo` has two rows for a week in two months.
    """
    import numpy as np

    if not rows:
        return draw_no_rows()
    weeks = sorted({_format_day(row[0]) for row in rows})[-MAX_WEEKS:]
    rows = [row for row in rows if _format_day(row[0]) in weeks]
    line_of_city, names = rank_zones((row[1], sum(row[2:])) for row in rows)
    counts = np.zeros((len(KINDS), len(names), len(weeks)))
    for week, city, *numbers in rows:
        counts[:, line_of_city[city], weeks.index(_format_day(week))] += numbers
    width = 1.5 + len(KINDS) * max(0.25 * len(weeks), 1.1)
    figure = create_figure(width, 1.9 + 0.17 * max(len(names), 9))
    panels = figure.subplots(1, len(KINDS), sharey=True, squeeze=False)[0]
    for axes, kind, counts_of_kind in zip(panels, KINDS, counts, strict=True):
        _draw_panel(axes, kind, counts_of_kind)
        axes.set_xticks(range(len(weeks)), weeks, rotation=90)
        axes.tick_params(length=0, labelsize=SMALL_POINTS)
    panels[0].set_yticks(range(len(names)), names)
    figure.supxlabel("week, from its Monday (grey: none)", size=LABEL_POINTS)
    return figure


def _draw_panel(axes: "Axes", kind: str, counts: "ndarray") -> None:
    """Draws the heat map of one kind. Its colour scale is its own, and logarithmic because cities
    differ widely in size."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import NullLocator
    from numpy.ma import masked_equal

    present = counts[counts > 0].tolist() or [1]
    least, greatest = min(present), max(present)
    axes.set_facecolor(GREY)
    norm = LogNorm(least, max(greatest, least + 1))
    cells = axes.imshow(masked_equal(counts, 0), cmap="YlGnBu", norm=norm, aspect="auto")
    bar = axes.figure.colorbar(cells, ax=axes, location="top", fraction=0.04, pad=0.02)
    bar.set_label(kind, size=LABEL_POINTS)
    middle = round(math.sqrt(least * greatest))
    ticks = [least, middle, greatest] if greatest >= 10 * least else [least]
    bar.set_ticks(ticks, labels=[format_number(tick) for tick in ticks])
    bar.ax.tick_params(labelsize=SMALL_POINTS)
    # The outer labels stay within the bar, so that they do not touch those of the next bar.
    bar.ax.get_xticklabels()[-1].set_horizontalalignment("right")
    bar.ax.get_xticklabels()[0].set_horizontalalignment("left")
    bar.ax.xaxis.set_minor_locator(NullLocator())


def _format_day(week: date) -> str:
    """Returns YYYY-MM-DD, also for a datetime."""
    return week.isoformat()[:10]

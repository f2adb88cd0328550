"""Bar charts: visits per user, pairs by zone, notifications by hour, delays and feedback rates."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

from promo_assets.lake.defs.plots.figure import (
    BAR,
    SMALL_POINTS,
    create_figure,
    draw_no_rows,
    format_name,
    format_number,
    iterate_round_numbers,
    label_axes,
    rank_zones,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_TRAVEL_BINS = 20
MAX_RESTAURANTS = 20
RESTAURANT_LENGTH = 30
# The first second of each bin of delays, and the bin's name. The bins grow: most campaigns are sent
# within seconds, and one that waited for its start is sent after days.
DELAYS = {
    0: "0 s", 1: "1 s", 2: "2–4 s", 5: "5–9 s", 10: "10–19 s", 20: "20–59 s", 60: "1 min",
    120: "2–4 min", 300: "5–9 min", 600: "10–59 min", 3_600: "1–5 h", 21_600: "6–23 h",
    86_400: "≥ 1 day",
}  # fmt: skip
NEGATIVE_DELAY = "< 0 s"


def draw_travel_counts(rows: Sequence[tuple[int, int]]) -> "Figure":
    """Draws the users by their number of visits. A row is (travel_count, users).

    The bins have equal widths. They hold all users if MAX_TRAVEL_BINS bins are enough for that, and
    99 % of the users otherwise; one more bin holds the rest.
    """
    if not rows:
        return draw_no_rows()
    bins = _count_users_in_bins(rows)
    figure = create_figure(7.4, 3.2)
    axes = figure.subplots()
    # Zeros have a label too: it distinguishes them from bars that are too small to be seen.
    labels = [format_number(users) for users in bins.values()]
    is_range = any("–" in name for name in bins)
    _draw_columns(axes, bins, labels, rotation=90 if is_range else 0)
    axes.set_xlim(-0.7, max(len(bins), 6) - 0.3)
    label_axes(axes, "travel_count, visits in the window", "users", counts="y")
    return figure


def draw_notifications_by_hour(rows: Sequence[tuple[int, int]]) -> "Figure":
    """Draws the day's notifications by hour. A row is (hour in UTC, notifications), each hour
    once."""
    if not rows:
        return draw_no_rows()
    notifications = dict(rows)
    bars = {str(hour): notifications.get(hour, 0) for hour in range(24)}
    figure = create_figure(7.4, 3.2)
    axes = figure.subplots()
    _draw_columns(axes, bars, _label_all_but_zeros(bars))
    label_axes(axes, "hour of the day, UTC", "notifications", counts="y")
    return figure


def draw_delays(rows: Sequence[tuple[int, int]]) -> "Figure":
    """Draws the campaigns by the time to their first notification.

    A row is (seconds, campaigns).
    """
    import numpy as np

    if not rows:
        return draw_no_rows()
    seconds, campaigns = np.array(rows, float).T
    counts, _ = np.histogram(seconds, [-inf, *DELAYS, inf], weights=campaigns)
    bars = dict(zip([NEGATIVE_DELAY, *DELAYS.values()], counts.tolist(), strict=True))
    if not bars[NEGATIVE_DELAY]:
        del bars[NEGATIVE_DELAY]
    figure = create_figure(7.4, 3.2)
    axes = figure.subplots()
    _draw_columns(axes, bars, _label_all_but_zeros(bars), rotation=90)
    x_label = "from the campaign's creation to its first notification"
    label_axes(axes, x_label, "campaigns", counts="y")
    return figure


def draw_pairs_by_zone(rows: Sequence[tuple[str | None, int]]) -> "Figure":
    """Draws the recommended pairs by zone, the largest zone first. A row is (city, pairs)."""
    if not rows:
        return draw_no_rows()
    line_of_city, names = rank_zones(rows)
    pairs = [0] * len(names)
    for city, number in rows:
        pairs[line_of_city[city]] += number
    figure = create_figure(6.4, 0.9 + 0.2 * len(names))
    axes = figure.subplots()
    _draw_lines(axes, names, pairs, [f"{number:,}" for number in pairs])
    label_axes(axes, "pairs", "", counts="x")
    return figure


def draw_feedback_rates(rows: Sequence[tuple[str, float, int]]) -> "Figure":
    """Draws the share of clients who answered, by restaurant, in the order of the rows.

    A row is (restaurant, share from 0 to 1, clients notified).
    """
    from matplotlib.ticker import PercentFormatter

    if not rows:
        return draw_no_rows()
    figure = create_figure(6.4, 0.9 + 0.2 * len(rows))
    axes = figure.subplots()
    names = [format_name(restaurant, RESTAURANT_LENGTH) for restaurant, _, _ in rows]
    rates = [rate for _, rate, _ in rows]
    labels = [f"{rate:.1%} of {format_number(clients)}" for _, rate, clients in rows]
    _draw_lines(axes, names, rates, labels)
    axes.set_xlim(0, max(1.25 * max(rates), 0.01))  # the longest bar's label needs space
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    label_axes(axes, "clients who answered", "")
    return figure


def _count_users_in_bins(rows: Sequence[tuple[int, int]]) -> dict[str, float]:
    import numpy as np

    visits, users = np.array(rows, float).T
    low, high = int(visits.min()), int(visits.max())
    if high - low >= MAX_TRAVEL_BINS:
        # A quantile needs at least one user.
        quantile = {"weights": users, "method": "inverted_cdf"}
        high = int(np.quantile(visits, 0.99, **quantile)) if users.any() else low
    width = next(n for n in iterate_round_numbers() if (high - low) // n < MAX_TRAVEL_BINS)
    starts = range(low, high + 1, width)
    names = [str(start) if width == 1 else f"{start}–{start + width - 1}" for start in starts]
    first_of_rest = starts[-1] + width
    counts, _ = np.histogram(visits, [*starts, first_of_rest, inf], weights=users)
    bins = dict(zip([*names, f"≥ {first_of_rest}"], counts.tolist(), strict=True))
    if not counts[-1]:
        del bins[f"≥ {first_of_rest}"]
    return bins


def _label_all_but_zeros(bars: Mapping[str, float]) -> list[str]:
    return [format_number(number) if number else "" for number in bars.values()]


def _draw_columns(
    axes: "Axes", bars: Mapping[str, float], labels: Sequence[str], rotation: int = 0
) -> None:
    """Draws vertical bars by name, each with its label above it."""
    drawn = axes.bar(range(len(bars)), [float(number) for number in bars.values()], color=BAR)
    axes.bar_label(drawn, labels, padding=2, size=SMALL_POINTS)
    axes.set_xticks(range(len(bars)), list(bars), rotation=rotation)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_lines(
    axes: "Axes", names: Sequence[str], lengths: Sequence[float], labels: Sequence[str]
) -> None:
    """Draws horizontal bars from top to bottom, each with its name to the left and its label to the
    right."""
    drawn = axes.barh(range(len(names)), [float(length) for length in lengths], color=BAR)
    axes.bar_label(drawn, labels, padding=3, size=SMALL_POINTS)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)

"""What all plots share: the figure, its texts and axis labels, and the PNG made from it."""

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Literal

from promo_assets.markdown import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_ZONES = 24  # named in a plot; smaller zones are summed up or stay without a name
NAME_LENGTH = 18
LABEL_POINTS, SMALL_POINTS = 9, 8
DPI, PNG_COLOURS = 100, 128
INK, GREY, BAR = "#222222", "#ececec", "#2a6f97"


def create_figure(
    width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> "Figure":
    """Creates an empty white figure of `width` by `height` inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def draw_no_rows() -> "Figure":
    """Draws the small figure that is shown where there are no rows."""
    figure = create_figure(2.4, 0.6)
    figure.text(0.5, 0.5, "no rows", ha="center", va="center", size=LABEL_POINTS)
    return figure


def label_axes(
    axes: "Axes", x_label: str, y_label: str, counts: Literal["x", "y"] | None = None
) -> None:
    """Labels both axes. The axis named by `counts` gets whole numbers such as 50k as its ticks."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.set_xlabel(x_label, size=LABEL_POINTS)
    axes.set_ylabel(y_label, size=LABEL_POINTS)
    axes.tick_params(labelsize=SMALL_POINTS)
    if counts:
        axis = axes.xaxis if counts == "x" else axes.yaxis
        axis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(EngFormatter(sep=""))


def format_number(number: float) -> str:
    """Returns a number from 0 up in at most three digits: 999, 1.2k, 12k, 123k, 1.2M."""
    from matplotlib.ticker import EngFormatter

    digits_before_unit = (len(str(int(number))) - 1) % 3 + 1
    return EngFormatter(sep="")(float(f"{number:.{max(digits_before_unit, 2)}g}"))


def format_name(name: str | None, length: int = NAME_LENGTH) -> str:
    """Returns a name on one line, cut to `length`. Dollar signs are escaped: matplotlib would take
    the text between two of them for a formula."""
    if name is None:
        return "(no name)"
    printable = "".join(char if char.isprintable() else " " for char in name)
    return shorten(" ".join(printable.split()), length).replace("$", r"\$")


def rank_zones(
    counts: Iterable[tuple[str | None, int]],
) -> tuple[dict[str | None, int], list[str]]:
    """Returns each city's line in a plot, and the lines' names; the largest sum comes first.

    With more than MAX_ZONES cities, the last line holds all the small ones.
    """
    totals = Counter[str | None]()
    for city, number in counts:
        totals[city] += number
    cities = sorted(totals, key=lambda city: (-totals[city], str(city)))
    names = [format_name(city) for city in cities]
    if len(cities) > MAX_ZONES:
        names[MAX_ZONES - 1 :] = [f"{len(cities) - MAX_ZONES + 1} other zones"]
    return {city: min(place, MAX_ZONES - 1) for place, city in enumerate(cities)}, names


def iterate_round_numbers() -> Iterator[int]:
    """Yields 1, 2, 5, 10, 20, 50, and so on without end."""
    return (digit * 10**power for power in count() for digit in (1, 2, 5))


def render_png(figure: "Figure") -> bytes:
    """Renders a figure as a PNG with few colours, which takes a third of the bytes: Dagster stores
    the picture with its event."""
    from PIL import Image

    full, reduced = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=DPI)
    picture = Image.open(full).convert("RGB")
    picture = picture.quantize(PNG_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(reduced, "png", optimize=True)
    return reduced.getvalue()

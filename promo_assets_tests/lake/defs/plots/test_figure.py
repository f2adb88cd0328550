"""What all plots have in common: the picture's size, legible texts, short names and numbers."""

import io
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from promo_assets.lake.defs.plots.bars import (
    DELAYS,
    draw_delays,
    draw_feedback_rates,
    draw_notifications_by_hour,
    draw_pairs_by_zone,
    draw_travel_counts,
)
from promo_assets.lake.defs.plots.figure import (
    SMALL_POINTS,
    draw_no_rows,
    format_name,
    format_number,
    render_png,
)
from promo_assets.lake.defs.plots.heat import draw_weekly_counts
from promo_assets.lake.defs.plots.zone_map import draw_zone_map
from promo_assets_tests.support.lake.plot_rows import (
    CITIES,
    FAR_ZONES,
    HUGE,
    MANY_WEEKS,
    MONDAY,
    ODD_NAMES,
    ODD_PAIRS,
    ODD_RATES,
    ODD_WEEKS,
    ODD_ZONES,
    PAIRS,
    RATES,
    WEEKS,
    ZONES,
)

FIGURES: dict[str, Callable[[], Figure]] = {
    "zones": lambda: draw_zone_map(ZONES),
    "one zone": lambda: draw_zone_map(ZONES[:1]),
    "odd zones": lambda: draw_zone_map(ODD_ZONES),
    "zones elsewhere": lambda: draw_zone_map(FAR_ZONES),
    "zones without messages": lambda: draw_zone_map([(*city, 0, 0) for city in CITIES]),
    "weeks": lambda: draw_weekly_counts(WEEKS),
    "one week": lambda: draw_weekly_counts(WEEKS[:1]),
    "odd weeks": lambda: draw_weekly_counts(ODD_WEEKS),
    "many weeks": lambda: draw_weekly_counts(MANY_WEEKS),
    "weeks without events": lambda: draw_weekly_counts([(MONDAY, "Sydney", 0, 0, 0, 0)]),
    "travels": lambda: draw_travel_counts([(n, 100_000 // n**3) for n in range(1, 40)]),
    "one travel": lambda: draw_travel_counts([(7, 1)]),
    "many travels": lambda: draw_travel_counts([(n, HUGE) for n in range(0, 5000, 7)]),
    "travels of nobody": lambda: draw_travel_counts([(1, 0), (100, 0)]),
    "pairs": lambda: draw_pairs_by_zone(PAIRS),
    "one pair": lambda: draw_pairs_by_zone([("Sydney", 1)]),
    "odd pairs": lambda: draw_pairs_by_zone(ODD_PAIRS),
    "no pairs": lambda: draw_pairs_by_zone([("Sydney", 0)]),
    "hours": lambda: draw_notifications_by_hour([(hour, 1_000 * hour) for hour in range(24)]),
    "one hour": lambda: draw_notifications_by_hour([(7, 1)]),
    "hours of very many": lambda: draw_notifications_by_hour([(hour, HUGE) for hour in range(24)]),
    "delays": lambda: draw_delays([(seconds, 10 + n) for n, seconds in enumerate(DELAYS)]),
    "one delay": lambda: draw_delays([(0, 1)]),
    "odd delays": lambda: draw_delays([(-HUGE, HUGE), (-1, 1), (HUGE, HUGE)]),
    "rates": lambda: draw_feedback_rates(RATES),
    "one rate": lambda: draw_feedback_rates([("r", 0.0, 1)]),
    "odd rates": lambda: draw_feedback_rates(ODD_RATES),
}
FULL_FIGURES: dict[str, Callable[[], Figure]] = {
    "zones": lambda: draw_zone_map(ZONES),
    "odd zones": lambda: draw_zone_map(ODD_ZONES),
    "weeks": lambda: draw_weekly_counts(WEEKS),
    "travels": lambda: draw_travel_counts([(n, 5 * n) for n in range(1, 40)]),
    "pairs": lambda: draw_pairs_by_zone([("Sydney", 3)]),
    "hours": lambda: draw_notifications_by_hour([(hour, 10**hour) for hour in range(19)]),
    "delays": lambda: draw_delays([(-1, 5), *((seconds, 5) for seconds in DELAYS)]),
    "rates": lambda: draw_feedback_rates(RATES),
    "odd rates": lambda: draw_feedback_rates(ODD_RATES),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_picture_is_small_and_has_a_white_background(draw: Callable[[], Figure]) -> None:
    png = render_png(draw())
    assert png.startswith(b"\x89PNG") and len(png) < 30_000
    image = Image.open(io.BytesIO(png))
    assert 300 <= image.width <= 960 and 100 <= image.height <= 700
    assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    assert not image.has_transparency_data


def test_the_same_rows_give_the_same_picture_even_when_drawn_in_several_threads() -> None:
    names = ("odd zones", "one week", "travels", "pairs", "hours", "delays", "rates")
    draw_some = [FIGURES[name] for name in names]
    in_turn = [render_png(draw()) for draw in draw_some]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda draw: render_png(draw()), draw_some * 2))
    assert at_once == in_turn * 2
    assert len(set(in_turn)) == len(draw_some)


@pytest.mark.parametrize(
    "draw",
    [
        draw_zone_map, draw_weekly_counts, draw_travel_counts, draw_pairs_by_zone,
        draw_notifications_by_hour, draw_delays, draw_feedback_rates,
    ],
)  # fmt: skip
def test_without_rows_the_picture_is_small_and_says_so(draw: Callable[[list], Figure]) -> None:
    figure = draw([])
    assert Image.open(io.BytesIO(render_png(figure))).size == (240, 60)
    assert [text.get_text() for text in figure.texts] == ["no rows"]
    assert [text.get_text() for text in draw_no_rows().texts] == ["no rows"]


@pytest.mark.parametrize("draw", FULL_FIGURES.values(), ids=FULL_FIGURES)
def test_no_text_is_smaller_than_8_points_or_cut_off(draw: Callable[[], Figure]) -> None:
    figure = draw()
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert len(texts) > 5
    assert min(text.get_fontsize() for text in texts) >= 8
    box = figure.get_tightbbox()
    assert box.x0 >= 0 and box.x1 <= figure.get_figwidth()
    assert box.y0 >= 0 and box.y1 <= figure.get_figheight()


def test_matplotlib_is_imported_with_the_first_picture_and_pyplot_never() -> None:
    code = """
import sys
from promo_assets.lake.defs import previews
assert not any(name.split(".")[0] in ("matplotlib", "PIL") for name in sys.modules)
previews.render_png(previews.zone_map.draw_zone_map([("Sydney", -33.9, 151.2, 1, 1)]))
assert "matplotlib.figure" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if name is not None and "$" in name])
def test_a_name_with_dollar_signs_is_shown_as_it_is(name: str) -> None:
    for figure in (
        draw_pairs_by_zone([(name, 1)]),
        draw_weekly_counts([(MONDAY, name, 1, 0, 0, 0)]),
    ):
        width = plain_width(figure, name)
        figure.draw_without_rendering()
        (label,) = figure.axes[0].get_yticklabels()
        assert label.get_window_extent().width == pytest.approx(width)
    figure = draw_zone_map([(name, -25.0, 133.0, 1, 0)])
    (label,) = figure.axes[0].texts
    assert label.get_window_extent().width == pytest.approx(plain_width(figure, name))


def plain_width(figure: Figure, name: str) -> float:
    text = figure.text(0, 0, name, size=SMALL_POINTS, parse_math=False)
    return text.get_window_extent().width


@pytest.mark.parametrize(
    ("city", "name"),
    [
        (None, "(no name)"),
        ("x\ny\0z", "x y z"),
        ("a" * 60, "a" * 17 + "…"),
        ("a" * 18, "a" * 18),
        ("_b", "_b"),
        ("Zürich", "Zürich"),
    ],
)
def test_names_are_short_and_on_one_line(city: str | None, name: str) -> None:
    assert format_name(city) == name


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (1249, "1.2k"),
        (9949, "9.9k"),
        (9960, "10k"),
        (123_456, "123k"),
        (999_499, "999k"),
        (999_500, "1M"),
        (HUGE, "9.2E"),
    ],
)
def test_numbers_are_short(number: int, text: str) -> None:
    assert format_number(number) == text

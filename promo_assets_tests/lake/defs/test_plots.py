"""The pictures and previews of the marts' pages."""

import io
import math
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from itertools import combinations

import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.path import Path as Outline
from matplotlib.text import Annotation, Text
from PIL import Image

from promo_assets.lake.defs import plots
from promo_assets.lake.transform.cities import SHIPPED, parse_cities

CITIES = [(city.city, city.lat, city.lon) for city in parse_cities(SHIPPED.read_bytes())]
MONDAY = date(2022, 5, 2)
ODD_NAMES = [
    r"$\frac{a}$ _x_ $",
    "_hidden",
    "Zürich Ωmega",
    "x\ny\0z",
    "a" * 60,
    "| $ $ |",
    r"\$5\$",
    "",
    None,
]
HUGE = 2**63 - 1

ZONES = [(*city, 500_000 // rank, 9_000 // rank) for rank, city in enumerate(CITIES, 1)]
ODD_ZONES = [
    (name, -35.0 + 2 * n, 118.0 + 4 * n, HUGE // (n + 1), HUGE if n == 3 else n)
    for n, name in enumerate(ODD_NAMES)
]
FAR_ZONES = [
    *ZONES,
    ("London", 51.5, -0.1, 300_000, 900),
    ("South Pole", -90.0, 0.0, 10, 1),
    ("Fiji", -18.1, 178.4, 99_999, 3),
]
WEEKS = [
    (
        MONDAY + timedelta(weeks=week),
        city,
        20_000 // rank,
        9_000 // rank + week,
        300 // rank,
        40 // rank,
    )
    for week in range(6)
    for rank, (city, _, _) in enumerate(CITIES, 1)
]
ODD_WEEKS = [(datetime(2022, 5, 2), name, HUGE, 0, 1, 0) for name in ODD_NAMES]
MANY_WEEKS = [
    (MONDAY + timedelta(weeks=n % 20), f"city {n % 200}", n, 0, 0, 1) for n in range(1000)
]

RATES = [(f"restaurant-{n:02}", n / plots.RESTAURANTS, 10**n) for n in range(plots.RESTAURANTS)]

PICTURES: dict[str, Callable[[], bytes]] = {
    "zones": lambda: plots.zones_map(ZONES),
    "one zone": lambda: plots.zones_map(ZONES[:1]),
    "odd zones": lambda: plots.zones_map(ODD_ZONES),
    "zones elsewhere": lambda: plots.zones_map(FAR_ZONES),
    "zones without messages": lambda: plots.zones_map([(*city, 0, 0) for city in CITIES]),
    "weeks": lambda: plots.weekly_counts(WEEKS),
    "one week": lambda: plots.weekly_counts(WEEKS[:1]),
    "odd weeks": lambda: plots.weekly_counts(ODD_WEEKS),
    "many weeks": lambda: plots.weekly_counts(MANY_WEEKS),
    "weeks without events": lambda: plots.weekly_counts([(MONDAY, "Sydney", 0, 0, 0, 0)]),
    "travels": lambda: plots.travel_counts([(n, 100_000 // n**3) for n in range(1, 40)]),
    "one travel": lambda: plots.travel_counts([(7, 1)]),
    "many travels": lambda: plots.travel_counts([(n, HUGE) for n in range(0, 5000, 7)]),
    "travels of nobody": lambda: plots.travel_counts([(1, 0), (100, 0)]),
    "pairs": lambda: plots.pairs_by_zone(
        [(city, 25_000 // rank**2) for rank, (city, _, _) in enumerate(CITIES, 1)]
    ),
    "one pair": lambda: plots.pairs_by_zone([("Sydney", 1)]),
    "odd pairs": lambda: plots.pairs_by_zone(
        [(name, HUGE - n) for n, name in enumerate(ODD_NAMES)] * 2
    ),
    "no pairs": lambda: plots.pairs_by_zone([("Sydney", 0)]),
    "hours": lambda: plots.notifications_by_hour([(hour, 1_000 * hour) for hour in range(24)]),
    "one hour": lambda: plots.notifications_by_hour([(7, 1)]),
    "hours of very many": lambda: plots.notifications_by_hour([(hour, HUGE) for hour in range(24)]),
    "delays": lambda: plots.delays([(seconds, 10 + n) for n, seconds in enumerate(plots.DELAYS)]),
    "one delay": lambda: plots.delays([(0, 1)]),
    "odd delays": lambda: plots.delays([(-HUGE, HUGE), (-1, 1), (HUGE, HUGE)]),
    "rates": lambda: plots.feedback_rates(RATES),
    "one rate": lambda: plots.feedback_rates([("r", 0.0, 1)]),
    "odd rates": lambda: plots.feedback_rates([(name or "", 1.0, HUGE) for name in ODD_NAMES]),
}
FIGURES: dict[str, Callable[[], Figure]] = {
    "zones": lambda: plots._zones_figure(ZONES),
    "odd zones": lambda: plots._zones_figure(ODD_ZONES),
    "weeks": lambda: plots._weekly_figure(WEEKS),
    "travels": lambda: plots._travel_figure([(n, 5 * n) for n in range(1, 40)]),
    "pairs": lambda: plots._pairs_figure([("Sydney", 3)]),
    "hours": lambda: plots._hours_figure([(hour, 10**hour) for hour in range(19)]),
    "delays": lambda: plots._delays_figure([(-1, 5), *((seconds, 5) for seconds in plots.DELAYS)]),
    "rates": lambda: plots._rates_figure(RATES),
    "odd rates": lambda: plots._rates_figure([(name or "", 1.0, HUGE) for name in ODD_NAMES]),
}


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_a_picture_is_small_and_white_behind(picture: Callable[[], bytes]) -> None:
    png = picture()
    assert png.startswith(b"\x89PNG") and len(png) < 30_000
    image = Image.open(io.BytesIO(png))
    assert 300 <= image.width <= 960 and 100 <= image.height <= 700
    assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    assert not image.has_transparency_data


def test_pictures_are_the_same_each_time_also_when_drawn_at_once() -> None:
    some = [
        PICTURES[name]
        for name in ("odd zones", "one week", "travels", "pairs", "hours", "delays", "rates")
    ]
    in_turn = [picture() for picture in some]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda picture: picture(), some * 2))
    assert at_once == in_turn * 2
    assert len(set(in_turn)) == len(some)


@pytest.mark.parametrize(
    "draw",
    [
        plots.zones_map, plots.weekly_counts, plots.travel_counts, plots.pairs_by_zone,
        plots.notifications_by_hour, plots.delays, plots.feedback_rates,
    ],
)  # fmt: skip
def test_no_rows_give_a_small_picture_that_says_so(draw: Callable[[list], bytes]) -> None:
    assert Image.open(io.BytesIO(draw([]))).size == (240, 60)
    assert [text.get_text() for text in plots._no_rows().texts] == ["no rows"]


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_no_text_is_smaller_than_8_points_or_cut_off(figure: Callable[[], Figure]) -> None:
    drawn = figure()
    drawn.draw_without_rendering()
    texts = [text for text in drawn.findobj(Text) if text.get_text()]
    assert len(texts) > 5
    assert min(text.get_fontsize() for text in texts) >= 8
    box = drawn.get_tightbbox()
    assert (
        box.x0 >= 0
        and box.y0 >= 0
        and box.x1 <= drawn.get_figwidth()
        and box.y1 <= drawn.get_figheight()
    )


def test_matplotlib_is_loaded_with_the_first_picture_and_pyplot_never() -> None:
    code = """
import sys
from promo_assets.lake.defs import plots
assert not any(name.split(".")[0] in ("matplotlib", "PIL") for name in sys.modules)
plots.zones_map([("Sydney", -33.9, 151.2, 1, 1)])
assert "matplotlib.figure" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_circle_lies_where_its_zone_is_with_messages_as_area_and_registrations_as_colour() -> (
    None
):
    axes, bar = plots._zones_figure(
        [("B", -30.0, 120.0, 100, 9), ("A", -20.0, 140.0, 400, 0), ("C", -10.0, 130.0, 0, 3)]
    ).axes
    (circles,) = axes.collections
    assert circles.get_offsets().tolist() == [[140, -20], [120, -30], [130, -10]]
    assert (circles.get_sizes() / circles.get_sizes()[0]).tolist() == [1, 0.25, 0]
    assert circles.get_array().tolist() == [0, 9, 3]
    assert (circles.norm.vmin, circles.norm.vmax) == (0, 9)
    assert bar.get_ylabel() == "registrations (colour)"
    (places,) = axes.lines
    assert sorted(places.get_xdata()) == [120, 130, 140]


@pytest.mark.parametrize(
    ("largest", "explained"),
    [
        (7_300_000, ["5M", "1M", "200k"]),
        (400, ["200", "50", "10"]),
        (2, ["2"]),
        (1, ["1"]),
        (0, ["1"]),
    ],
)
def test_circles_beside_the_map_explain_the_areas_of_those_on_it(
    largest: int, explained: list[str]
) -> None:
    figure = plots._zones_figure([("A", -20.0, 140.0, largest, 0)])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == explained
    area_of_one = plots.LARGEST_CIRCLE / max(largest, 1)
    numbers = [float(label.replace("k", "e3").replace("M", "e6")) for label in explained]
    assert [circle.get_markersize() ** 2 for circle in legend.get_lines()] == pytest.approx(
        [n * area_of_one for n in numbers]
    )


def test_names_are_beside_the_greatest_zones_and_cover_neither_circles_nor_names() -> None:
    axes = plots._zones_figure(ZONES).axes[0]
    names = _names(axes)
    assert {"Sydney", "Melbourne", "Brisbane", "Perth", "Adelaide", "Darwin"} <= {
        name.get_text() for name in names
    }
    boxes = [name.get_window_extent() for name in names]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    centres = axes.transData.transform(axes.collections[0].get_offsets())
    radii = axes.collections[0].get_sizes() ** 0.5 / 2 * plots.DPI / 72
    assert len(centres) == 24
    for box in boxes:
        gaps = [
            max(box.x0 - x, x - box.x1, box.y0 - y, y - box.y1) - r
            for (x, y), r in zip(centres, radii, strict=True)
        ]
        assert min(gaps) >= 0


def test_of_two_zones_in_one_place_the_greater_has_the_name() -> None:
    axes = plots._zones_figure(
        [
            (name, -25.0, 133.0, n, 0)
            for n, name in enumerate(["least", "less", "mean", "more", "most", "top"])
        ]
    ).axes[0]
    assert [name.get_text() for name in _names(axes)][:1] == ["top"]
    assert len(_names(axes)) < 6


def _names(axes) -> list[Annotation]:
    return [text for text in axes.texts if isinstance(text, Annotation)]


@pytest.mark.parametrize(
    "zones",
    [ZONES[:1], FAR_ZONES, FAR_ZONES[-1:] + FAR_ZONES[-3:-2], ODD_ZONES],
    ids=["one", "far", "east and west", "odd"],
)
def test_the_map_shows_all_zones_and_australia_undistorted(zones: list[plots.Zone]) -> None:
    axes = plots._zones_figure(zones).axes[0]
    places = [(lon, lat) for _, lat, lon, *_ in zones] + [
        point for patch in axes.patches for point in patch.get_xy()
    ]
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    assert all(west < lon < east and south < lat < north for lon, lat in places)
    middle_lat = (south + north) / 2
    per_lon, per_lat = axes.bbox.width / (east - west), axes.bbox.height / (north - south)
    assert per_lon / per_lat == pytest.approx(math.cos(math.radians(middle_lat)), rel=0.01)


def test_the_outline_is_that_of_australia() -> None:
    """Its cities lie on it or at its coast, and the seas around do not."""
    mainland, tasmania = (
        Outline(patch.get_xy()) for patch in plots._zones_figure(ZONES).axes[0].patches
    )
    near = [(x, y) for x in (-0.5, 0, 0.5) for y in (-0.5, 0, 0.5)]
    for city, lat, lon in CITIES:
        land = tasmania if city in ("Hobart", "Launceston") else mainland
        assert any(land.contains_point((lon + x, lat + y)) for x, y in near), city
    inland = [(133.9, -23.7), (121.5, -30.7), (146.9, -36.1), (141.4, -31.9), (142.5, -11.5)]
    assert all(mainland.contains_point(place) for place in inland)
    seas = {
        "Great Australian Bight": (130, -34),
        "Gulf of Carpentaria": (139.5, -14.5),
        "Bass Strait": (146, -39.9),
        "Coral Sea": (150, -17),
    }
    assert not [
        sea
        for sea, place in seas.items()
        if mainland.contains_point(place) or tasmania.contains_point(place)
    ]


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if name is not None and "$" in name])
def test_a_name_with_dollars_is_shown_as_it_is(name: str) -> None:
    figures = [plots._pairs_figure([(name, 1)]), plots._weekly_figure([(MONDAY, name, 1, 0, 0, 0)])]
    for figure in figures:
        plain = figure.text(0, 0, name, size=plots.SMALL, parse_math=False).get_window_extent()
        figure.draw_without_rendering()
        (label,) = figure.axes[0].get_yticklabels()
        assert label.get_window_extent().width == pytest.approx(plain.width)
    figure = plots._zones_figure([(name, -25.0, 133.0, 1, 0)])
    plain = figure.text(0, 0, name, size=plots.SMALL, parse_math=False).get_window_extent()
    assert _names(figure.axes[0])[0].get_window_extent().width == pytest.approx(plain.width)


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
    assert plots._name(city) == name


def test_weeks_are_columns_and_zones_lines_with_a_panel_for_each_kind() -> None:
    later = datetime(2022, 5, 9)
    figure = plots._weekly_figure(
        [
            (later, "A", 1, 2, 0, 4),
            (MONDAY, "A", 5, 6, 0, 8),
            (later, "B", 90, 10, 0, 1),
            (later, None, 1, 1, 0, 1),
            (later, "A", 1, 0, 0, 0),
        ]
    )
    panels = [axes for axes in figure.axes if axes.images]
    assert [_numbers(panel.images[0]) for panel in panels] == [
        [[None, 90], [5, 2], [None, 1]],
        [[None, 10], [6, 2], [None, 1]],
        [[None, None]] * 3,
        [[None, 1], [8, 4], [None, 1]],
    ]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == ["B", "A", "(no name)"]
    assert [[text.get_text() for text in panel.get_xticklabels()] for panel in panels] == [
        ["2022-05-02", "2022-05-09"]
    ] * 4
    bars = [axes for axes in figure.axes if not axes.images]
    assert [bar.get_xlabel() for bar in bars] == [
        "messages",
        "reactions",
        "subscriptions",
        "registrations",
    ]
    assert [[text.get_text() for text in bar.get_xticklabels()] for bar in bars] == [
        ["1", "9", "90"],
        ["1", "3", "10"],
        ["1"],
        ["1"],
    ]


def test_the_labels_of_weeks_and_zones_do_not_overlap() -> None:
    figure = plots._weekly_figure(WEEKS)
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.images]
    labels = [
        *panels[0].get_yticklabels(),
        *(label for panel in panels for label in panel.get_xticklabels()),
    ]
    assert len(labels) == 24 + 4 * 6
    assert not [
        pair
        for pair in combinations([label.get_window_extent() for label in labels], 2)
        if pair[0].overlaps(pair[1])
    ]


def _numbers(cells: AxesImage) -> list[list[float | None]]:
    return cells.get_array().tolist()


def test_of_many_zones_the_small_ones_are_summed_up_and_of_many_weeks_the_last_are_shown() -> None:
    rows = [
        (MONDAY + timedelta(weeks=week), f"city {zone}", 100 - zone, 0, 0, 0)
        for week in range(8)
        for zone in range(30)
    ]
    rows.append((MONDAY, "long ago", 10**6, 0, 0, 0))
    panel = plots._weekly_figure(rows).axes[0]
    names = [text.get_text() for text in panel.get_yticklabels()]
    assert names == [f"city {zone}" for zone in range(23)] + ["7 other zones"]
    assert [text.get_text() for text in panel.get_xticklabels()][::5] == [
        "2022-05-16",
        "2022-06-20",
    ]
    assert _numbers(panel.images[0]) == [[100 - zone] * 6 for zone in range(23)] + [
        [77 + 76 + 75 + 74 + 73 + 72 + 71] * 6
    ]


@pytest.mark.parametrize(
    ("rows", "bars"),
    [
        ([(2, 5), (1, 7)], [("1", 7), ("2", 5)]),
        ([(3, 5), (1, 7), (3, 1)], [("1", 7), ("2", 0), ("3", 6)]),
        ([(7, 1)], [("7", 1)]),
        ([(1, 980), (2, 15), (60, 3), (90, 2)], [("1", 980), ("2", 15), ("≥ 3", 5)]),
        ([(1, 990), (21, 1)], [("1", 990), ("≥ 2", 1)]),
        ([(1, 1), (20, 1)], [("1", 1), *((str(n), 0) for n in range(2, 20)), ("20", 1)]),
        (
            [(1, 50), (5, 1), (6, 2), (41, 40), (45, 10)],
            [
                ("1–5", 51),
                ("6–10", 2),
                *((f"{n}–{n + 4}", 0) for n in range(11, 40, 5)),
                ("41–45", 50),
            ],
        ),
        ([(1, 0), (100, 0)], [("1", 0)]),
    ],
)
def test_users_are_counted_by_travels_with_a_long_tail_in_one_bar(
    rows: list[tuple[int, int]], bars: list[tuple[str, int]]
) -> None:
    axes = plots._travel_figure(rows).axes[0]
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert list(zip(names, (bar.get_height() for bar in axes.patches), strict=True)) == bars
    assert [text.get_text() for text in axes.texts] == [str(users) for _, users in bars]
    assert axes.get_ylabel() == "users"


def test_pairs_are_sorted_and_written_beside_their_bars() -> None:
    axes = plots._pairs_figure([("Perth", 40), ("Sydney", 12_345), (None, 7), ("Perth", 2)]).axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert list(zip(names, (bar.get_width() for bar in axes.patches), strict=True)) == [
        ("Sydney", 12_345),
        ("Perth", 42),
        ("(no name)", 7),
    ]
    assert [text.get_text() for text in axes.texts] == ["12,345", "42", "7"]
    heights = [axes.transData.transform((0, bar.get_y()))[1] for bar in axes.patches]
    assert heights == sorted(heights, reverse=True)


def test_every_hour_of_the_day_has_a_bar_and_only_those_with_notifications_a_number() -> None:
    axes = plots._hours_figure([(0, 7), (23, 12_345)]).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == [str(hour) for hour in range(24)]
    assert [bar.get_height() for bar in axes.patches] == [7, *[0] * 22, 12_345]
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["7", "12k"]


@pytest.mark.parametrize(
    ("seconds", "name"),
    [(0, "0 s"), (1, "1 s"), (2, "2–4 s"), (4, "2–4 s"), (5, "5–9 s"), (59, "20–59 s"), (60, "1 min"), (119, "1 min"), (3_599, "10–59 min"),
     (86_399, "6–23 h"), (86_400, "≥ 1 day"), (HUGE, "≥ 1 day"), (-1, "< 0 s"), (-HUGE, "< 0 s")],
)  # fmt: skip
def test_a_delay_is_counted_in_its_bin(seconds: int, name: str) -> None:
    axes = plots._delays_figure([(seconds, 3), (10, 1)]).axes[0]
    names = [text.get_text() for text in axes.get_xticklabels()]
    counted = {
        name: bar.get_height()
        for name, bar in zip(names, axes.patches, strict=True)
        if bar.get_height()
    }
    assert counted == {name: 3, "10–19 s": 1}
    assert ("< 0 s" in names) == (seconds < 0)


def test_rates_are_drawn_in_the_given_order_with_how_many_clients_they_are_of() -> None:
    axes = plots._rates_figure(
        [("big", 0.125, 12_345), ("$ odd-restaurant-with-a-name-07", 1.0, 2), ("none", 0.0, 40)]
    ).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "big",
        r"\$ odd-restaurant-with-a-name-…",
        "none",
    ]
    assert [bar.get_width() for bar in axes.patches] == [12.5, 100, 0]
    assert [text.get_text() for text in axes.texts] == ["12.5% of 12k", "100.0% of 2", "0.0% of 40"]
    heights = [axes.transData.transform((0, bar.get_y()))[1] for bar in axes.patches]
    assert heights == sorted(heights, reverse=True)


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
    assert plots._short(number) == text

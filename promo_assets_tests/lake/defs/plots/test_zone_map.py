"""The map of zones."""

import math
from itertools import combinations

import pytest
from matplotlib.path import Path as Outline
from matplotlib.text import Annotation

from promo_assets.lake.defs.plots.figure import DPI
from promo_assets.lake.defs.plots.zone_map import LARGEST_CIRCLE, Zone, draw_zone_map
from promo_assets_tests.support.lake.plot_rows import CITIES, FAR_ZONES, ODD_ZONES, ZONES


def test_a_circle_is_at_its_zone_with_messages_as_area_and_registrations_as_colour() -> None:
    axes, bar = draw_zone_map(
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
    ("largest", "labels"),
    [
        (7_300_000, ["5M", "1M", "200k"]),
        (400, ["200", "50", "10"]),
        (2, ["2"]),
        (1, ["1"]),
        (0, ["1"]),
    ],
)
def test_the_legend_explains_the_areas_by_circles_of_round_numbers(
    largest: int, labels: list[str]
) -> None:
    figure = draw_zone_map([("A", -20.0, 140.0, largest, 0)])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == labels
    area_of_one = LARGEST_CIRCLE / max(largest, 1)
    numbers = [float(label.replace("k", "e3").replace("M", "e6")) for label in labels]
    assert [circle.get_markersize() ** 2 for circle in legend.get_lines()] == pytest.approx(
        [n * area_of_one for n in numbers]
    )


def test_the_largest_zones_have_names_that_cover_neither_circles_nor_names() -> None:
    axes = draw_zone_map(ZONES).axes[0]
    names = list_names(axes)
    assert {"Sydney", "Melbourne", "Brisbane", "Perth", "Adelaide", "Darwin"} <= {
        name.get_text() for name in names
    }
    boxes = [name.get_window_extent() for name in names]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    centres = axes.transData.transform(axes.collections[0].get_offsets())
    radii = axes.collections[0].get_sizes() ** 0.5 / 2 * DPI / 72
    assert len(centres) == 24
    for box in boxes:
        gaps = [
            max(box.x0 - x, x - box.x1, box.y0 - y, y - box.y1) - r
            for (x, y), r in zip(centres, radii, strict=True)
        ]
        assert min(gaps) >= 0


def test_the_largest_of_several_zones_in_one_place_has_its_name() -> None:
    axes = draw_zone_map(
        [
            (name, -25.0, 133.0, n, 0)
            for n, name in enumerate(["least", "less", "mean", "more", "most", "top"])
        ]
    ).axes[0]
    assert [name.get_text() for name in list_names(axes)][:1] == ["top"]
    assert len(list_names(axes)) < 6


def list_names(axes) -> list[Annotation]:
    return [text for text in axes.texts if isinstance(text, Annotation)]


@pytest.mark.parametrize(
    "zones",
    [ZONES[:1], FAR_ZONES, FAR_ZONES[-1:] + FAR_ZONES[-3:-2], ODD_ZONES],
    ids=["one", "far", "east and west", "odd"],
)
def test_the_map_shows_all_zones_and_australia_undistorted(zones: list[Zone]) -> None:
    axes = draw_zone_map(zones).axes[0]
    places = [(lon, lat) for _, lat, lon, *_ in zones] + [
        point for patch in axes.patches for point in patch.get_xy()
    ]
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    assert all(west < lon < east and south < lat < north for lon, lat in places)
    middle_lat = (south + north) / 2
    per_lon, per_lat = axes.bbox.width / (east - west), axes.bbox.height / (north - south)
    assert per_lon / per_lat == pytest.approx(math.cos(math.radians(middle_lat)), rel=0.01)


def test_the_outline_is_that_of_australia() -> None:
    """The cities are on the outlined land or at its coast; places in the seas around are not."""
    mainland, tasmania = (Outline(patch.get_xy()) for patch in draw_zone_map(ZONES).axes[0].patches)
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

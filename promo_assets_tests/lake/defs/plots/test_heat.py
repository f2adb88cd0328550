"""The heat maps of events by week and zone."""

from datetime import datetime, timedelta
from itertools import combinations

from matplotlib.image import AxesImage

from promo_assets.lake.defs.plots.heat import draw_weekly_counts
from promo_assets_tests.support.lake.plot_rows import MONDAY, WEEKS


def test_weeks_are_columns_and_zones_are_lines_in_a_panel_per_kind() -> None:
    later = datetime(2022, 5, 9)
    figure = draw_weekly_counts(
        [
            (later, "A", 1, 2, 0, 4),
            (MONDAY, "A", 5, 6, 0, 8),
            (later, "B", 90, 10, 0, 1),
            (later, None, 1, 1, 0, 1),
            (later, "A", 1, 0, 0, 0),
        ]
    )
    panels = [axes for axes in figure.axes if axes.images]
    assert [list_numbers(panel.images[0]) for panel in panels] == [
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
    figure = draw_weekly_counts(WEEKS)
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


def list_numbers(cells: AxesImage) -> list[list[float | None]]:
    return cells.get_array().tolist()


def test_many_small_zones_are_summed_up_and_old_weeks_are_left_out() -> None:
    rows = [
        (MONDAY + timedelta(weeks=week), f"city {zone}", 100 - zone, 0, 0, 0)
        for week in range(8)
        for zone in range(30)
    ]
    rows.append((MONDAY, "long ago", 10**6, 0, 0, 0))
    panel = draw_weekly_counts(rows).axes[0]
    names = [text.get_text() for text in panel.get_yticklabels()]
    assert names == [f"city {zone}" for zone in range(23)] + ["7 other zones"]
    assert [text.get_text() for text in panel.get_xticklabels()][::5] == [
        "2022-05-16",
        "2022-06-20",
    ]
    assert list_numbers(panel.images[0]) == [[100 - zone] * 6 for zone in range(23)] + [
        [77 + 76 + 75 + 74 + 73 + 72 + 71] * 6
    ]

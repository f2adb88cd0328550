"""The bar charts."""

import pytest

from promo_assets.lake.defs.plots.bars import (
    draw_delays,
    draw_feedback_rates,
    draw_notifications_by_hour,
    draw_pairs_by_zone,
    draw_travel_counts,
)
from promo_assets_tests.support.lake.plot_rows import HUGE


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
def test_users_are_counted_by_visits_and_one_bar_holds_the_long_tail(
    rows: list[tuple[int, int]], bars: list[tuple[str, int]]
) -> None:
    axes = draw_travel_counts(rows).axes[0]
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert list(zip(names, (bar.get_height() for bar in axes.patches), strict=True)) == bars
    assert [text.get_text() for text in axes.texts] == [str(users) for _, users in bars]
    assert axes.get_ylabel() == "users"


def test_pairs_are_sorted_and_labelled_with_their_exact_number() -> None:
    axes = draw_pairs_by_zone([("Perth", 40), ("Sydney", 12_345), (None, 7), ("Perth", 2)]).axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert list(zip(names, (bar.get_width() for bar in axes.patches), strict=True)) == [
        ("Sydney", 12_345),
        ("Perth", 42),
        ("(no name)", 7),
    ]
    assert [text.get_text() for text in axes.texts] == ["12,345", "42", "7"]
    heights = [axes.transData.transform((0, bar.get_y()))[1] for bar in axes.patches]
    assert heights == sorted(heights, reverse=True)


def test_every_hour_has_a_bar_and_hours_with_notifications_have_a_label() -> None:
    axes = draw_notifications_by_hour([(0, 7), (23, 12_345)]).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == [str(hour) for hour in range(24)]
    assert [bar.get_height() for bar in axes.patches] == [7, *[0] * 22, 12_345]
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["7", "12k"]


@pytest.mark.parametrize(
    ("seconds", "name"),
    [
        (0, "0 s"), (1, "1 s"), (2, "2–4 s"), (4, "2–4 s"), (5, "5–9 s"), (59, "20–59 s"),
        (60, "1 min"), (119, "1 min"), (3_599, "10–59 min"), (86_399, "6–23 h"),
        (86_400, "≥ 1 day"), (HUGE, "≥ 1 day"), (-1, "< 0 s"), (-HUGE, "< 0 s"),
    ],
)  # fmt: skip
def test_a_delay_is_counted_in_its_bin(seconds: int, name: str) -> None:
    axes = draw_delays([(seconds, 3), (10, 1)]).axes[0]
    names = [text.get_text() for text in axes.get_xticklabels()]
    count_of = {
        name: bar.get_height()
        for name, bar in zip(names, axes.patches, strict=True)
        if bar.get_height()
    }
    assert count_of == {name: 3, "10–19 s": 1}
    assert ("< 0 s" in names) == (seconds < 0)


def test_rates_are_drawn_in_the_given_order_with_the_number_of_clients() -> None:
    axes = draw_feedback_rates(
        [("big", 0.125, 12_345), ("$ odd-restaurant-with-a-name-07", 1.0, 2), ("none", 0.0, 40)]
    ).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "big",
        r"\$ odd-restaurant-with-a-name-…",
        "none",
    ]
    assert [bar.get_width() for bar in axes.patches] == [0.125, 1, 0]
    assert [text.get_text() for text in axes.texts] == ["12.5% of 12k", "100.0% of 2", "0.0% of 40"]
    heights = [axes.transData.transform((0, bar.get_y()))[1] for bar in axes.patches]
    assert heights == sorted(heights, reverse=True)

"""The tables on the stream's asset pages.

The pages with Dagster are tested in `faults/test_dagster.py`, in a browser in `browser/test_ui.py`.
"""

import pytest

from promo_assets.stream.defs.reporting import INLINE_LENGTH, inline_table


@pytest.mark.parametrize(
    ("texts", "rows"),
    [([], 0), (["short"], 1), (["short"] * 10, 10), (["long" * 50] * 10, 9), (["|" * 80] * 10, 5)],
    ids=["no row", "one row", "ten rows", "long texts", "long texts of escaped characters"],
)
def test_a_table_has_as_many_rows_as_dagster_shows_without_a_click(
    texts: list[str], rows: int
) -> None:
    table = inline_table(["a", "b"], [(text, "2026-11-25 12:00:00") for text in texts])
    assert len(table) <= INLINE_LENGTH
    assert table.count("12:00:00") == rows
    assert table.startswith("| a | b |\n")

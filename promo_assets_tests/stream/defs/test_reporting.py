"""What stands on the stream's pages, without Dagster; with it: `faults/test_dagster.py`, and with a browser: `browser/test_ui.py`."""

import pytest

from promo_assets.stream.defs.reporting import INLINE_LENGTH, _inline


@pytest.mark.parametrize(
    ("texts", "rows"),
    [([], 0), (["short"], 1), (["short"] * 10, 10), (["long" * 50] * 10, 9), (["|" * 80] * 10, 5)],
    ids=["none", "one", "ten", "long ones", "long when escaped"],
)
def test_a_table_is_cut_where_dagster_would_hide_it(texts: list[str], rows: int) -> None:
    shown = _inline(["a", "b"], [(text, "2026-11-25 12:00:00") for text in texts])
    assert len(shown) <= INLINE_LENGTH
    assert shown.count("12:00:00") == rows
    assert shown.startswith("| a | b |\n")

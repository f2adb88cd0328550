"""Markdown for pages in Dagster. The texts come from others and may hold any characters."""

import base64
import re
from collections.abc import Sequence
from datetime import datetime

ROWS, CELL_LENGTH = 10, 80
# Dagster's Markdown reader turns addresses into links, even escaped ones, because it searches the
# text after unescaping. An empty link within an address divides that text.
EMPTY_LINK = "[]()"


def render_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Renders the first ten rows; a column that holds only numbers is aligned to the right.

    Raises `ValueError` if one of these rows is not as long as `columns`.
    """
    first_rows = [dict(zip(columns, row, strict=True)) for row in rows[:ROWS]]
    if not first_rows:
        return "\n".join([*_render_header(columns, numeric=set()), "", "*no rows*"])
    numeric = {
        name
        for name in columns
        if all(isinstance(row[name], int | float | None) for row in first_rows)
    }
    lines = [_render_line([_render_cell(row[name]) for name in columns]) for row in first_rows]
    return "\n".join([*_render_header(columns, numeric), *lines])


def render_image(png: bytes, alt: str) -> str:
    """Renders a picture that is embedded in the Markdown itself."""
    return f"![{escape(alt)}](data:image/png;base64,{base64.b64encode(png).decode()})"


def escape(text: str) -> str:
    """Returns Markdown that shows the text as it is, on one line and without links.

    An underscore within a word is not escaped: it is no emphasis, and the source stays readable.
    """
    plain = re.sub(r"[\\`*\[\]<>&|~]|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(text.split()))
    return re.sub(r":(?=//)|www(?=\.)|@", rf"\g<0>{EMPTY_LINK}", plain, flags=re.IGNORECASE)


def shorten(text: str, length: int) -> str:
    """Cuts a text to at most `length` characters, the last of which is then an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _render_header(columns: Sequence[str], numeric: set[str]) -> list[str]:
    alignments = ["---:" if name in numeric else "---" for name in columns]
    return [_render_line([escape(name) for name in columns]), _render_line(alignments)]


def _render_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _render_cell(value: object) -> str:
    return "*null*" if value is None else escape(shorten(_format_value(value), CELL_LENGTH))


def _format_value(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, list | tuple):
        items = ("null" if item is None else _format_value(item) for item in value)
        return f"[{', '.join(items)}]"
    return f"{value:.10g}" if isinstance(value, float) else str(value)

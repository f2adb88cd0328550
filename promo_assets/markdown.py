"""Markdown for pages in Dagster, whatever stands in the texts: they are others'."""

import base64
import re
from collections.abc import Sequence
from datetime import datetime

ROWS, CELL_LENGTH = 10, 80
# Dagster's reader makes links of addresses, also of escaped ones, for it looks at the text that is left. An empty link parts that text.
PARTED = "[]()"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The first ten rows."""
    shown = [dict(zip(columns, row, strict=True)) for row in rows[:ROWS]]
    numbers = {
        name
        for name in columns
        if shown and all(isinstance(row[name], int | float | None) for row in shown)
    }
    lines = [
        [escaped(name) for name in columns],
        ["---:" if name in numbers else "---" for name in columns],
    ]
    lines += [
        [
            "*null*" if row[name] is None else escaped(shortened(_text(row[name]), CELL_LENGTH))
            for name in columns
        ]
        for row in shown
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + (
        "" if shown else "\n\n*no rows*"
    )


def image(png: bytes, alt: str) -> str:
    return f"![{escaped(alt)}](data:image/png;base64,{base64.b64encode(png).decode()})"


def escaped(text: str) -> str:
    """Shows the text as it is, an address in it as no link; an underscore within a word is no emphasis and stays readable in the source."""
    plain = re.sub(r"[\\`*\[\]<>&|~]|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(text.split()))
    return re.sub(r":(?=//)|www(?=\.)|@", rf"\g<0>{PARTED}", plain, flags=re.IGNORECASE)


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, list | tuple):
        return f"[{', '.join('null' if item is None else _text(item) for item in value)}]"
    return f"{value:.10g}" if isinstance(value, float) else str(value)

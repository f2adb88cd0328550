"""Which days the initial load has finished, so that it goes on where it was interrupted: a note per day of the RAW files it read."""

import json
from datetime import date

from promo_assets.lake import tables
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.tables import Table

RawFiles = list[
    tuple[str, int, int]
]  # names, sizes and times of a day's files: written anew, they differ
MADE = (tables.STG_EVENTS, tables.EVENTS, tables.REJECTED_EVENTS, *tables.HISTORY)


def has_load_marker(lake: Lake, day: date, raw: RawFiles) -> bool:
    """Everything made of the day is there, and RAW is as it was then."""
    return lake.read_file(_note(day)) == _content(raw) and all(
        lake.has(table, day) for table in MADE
    )


def write_load_marker(lake: Lake, day: date, raw: RawFiles) -> None:
    """`raw` is how RAW was before it was read."""
    lake.replace_file(_content(raw), _note(day))


def _content(raw: RawFiles) -> bytes:
    return json.dumps(raw).encode()


def _note(day: date) -> Table:
    return Table("stg", "loaded", "a RAW file", f"/user/{{owner}}/data/load_markers/{day}.json", ())

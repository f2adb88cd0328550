"""Load markers: which days the initial load has finished, so that it resumes where it stopped.

The marker of a day is a file that lists the RAW files from which the day was loaded.
"""

import json
from datetime import date

from promo_assets.lake import tables
from promo_assets.lake.storage.lake import Lake
from promo_assets.lake.tables import Table

# Name, bytes and modification time (unix ms) of a day's files; a file that is rewritten differs.
RawFiles = list[tuple[str, int, int]]
LOADED_TABLES = (tables.STG_EVENTS, tables.EVENTS, tables.REJECTED_EVENTS, *tables.HISTORY)


def has_load_marker(lake: Lake, day: date, raw: RawFiles) -> bool:
    """Return whether the day was loaded from exactly these files and all its tables are there."""
    is_unchanged = lake.read_file(_marker(day)) == _content(raw)
    return is_unchanged and all(lake.has(table, day) for table in LOADED_TABLES)


def write_load_marker(lake: Lake, day: date, raw: RawFiles) -> None:
    """Mark the day as loaded; `raw` are the RAW files as they were before they were read."""
    lake.replace_file(_content(raw), _marker(day))


def _content(raw: RawFiles) -> bytes:
    return json.dumps(raw).encode()


def _marker(day: date) -> Table:
    path = f"/user/{{owner}}/data/load_markers/{day}.json"
    return Table("stg", "loaded", "a RAW file", path, ())

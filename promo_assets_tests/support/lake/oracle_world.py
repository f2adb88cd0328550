"""Three cities, and the oracle opened on literal rows of RAW."""

from collections import defaultdict
from datetime import date
from pathlib import Path

from promo_assets_tests.support.lake.oracle import Oracle
from promo_assets_tests.support.lake.raw import write_day

# Two cities on the equator, 10 degrees to both sides of Greenwich, and one in the north. A degree
# of latitude is 6371 π / 180 = 111.194927 km.
CITIES = """id;city;lat;lng;timezone
1;East;0,0;10,0;Australia/Sydney
2;West;0,0;-10,0;Australia/Perth
3;North;60.5;10.0;UTC
"""
EAST, WEST, NORTH, NOWHERE = (0.0, 10.0), (0.0, -10.0), (60.5, 10.0), (None, None)
DAY = date(2022, 5, 28)


def open_oracle(folder: Path, *rows: dict, cities: str = CITIES) -> Oracle:
    """Open the oracle on what is in the folder and these RAW rows, each in its time's partition."""
    rows_by_day = defaultdict(list)
    for row in rows:
        time = row["event"].get("datetime") or row["event"]["message_ts"]
        rows_by_day[date.fromisoformat(time[:10])].append(row)
    for day, rows_of_day in rows_by_day.items():
        write_day(folder / "events", day, rows_of_day)
    (folder / "geo.csv").write_text(cities)
    return Oracle(folder / "events", folder / "geo.csv")

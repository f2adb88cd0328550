"""Generated days of RAW in which every rule of the lake matters, ties and boundaries included.

The same seed gives the same events. Most are everyday events; crafted users stand on both sides of
each boundary; some events are broken.
"""

from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from promo_assets_tests.support.lake.broken import break_event
from promo_assets_tests.support.lake.crafted import crafted_events
from promo_assets_tests.support.lake.everyday import everyday_events
from promo_assets_tests.support.lake.oracle import read_cities
from promo_assets_tests.support.lake.raw import write_day

SHIPPED_CITIES = Path(__file__).parents[3] / "promo_assets" / "lake" / "transform" / "geo.csv"


def write_generated(
    raw_folder: Path,
    seed: int,
    last_day: date,
    days: int,
    events: int,
    cities: Path = SHIPPED_CITIES,
) -> None:
    """Write `events` events in the `days` days that end with `last_day`; about 1 % are broken.

    The crafted visits need 60 days.
    """
    random = np.random.default_rng(seed)
    known = read_cities(cities)
    first_day = last_day - timedelta(days=days - 1)
    made = [
        (day, row)
        for _ in range(max(1, events // 10_000))
        for day, row in crafted_events(random, known, last_day)
        if first_day <= day <= last_day
    ][:events]
    made += everyday_events(random, known, first_day, days, events - len(made))
    for turn, index in enumerate(np.flatnonzero(random.random(len(made)) < 0.012).tolist()):
        break_event(turn, *made[index])
    for index, twin in random.integers(len(made), size=(len(made) // 300, 2)).tolist():
        made[index] = made[twin]
    rows_by_day = defaultdict(list)
    for index in random.permutation(len(made)).tolist():
        day, row = made[index]
        rows_by_day[day].append(row)
    for day in (first_day + timedelta(days=n) for n in range(days)):
        third = len(rows_by_day[day]) // 3
        write_day(raw_folder, day, rows_by_day[day][third:], "part-0.parquet")
        write_day(raw_folder, day, rows_by_day[day][:third], "part-1.parquet")

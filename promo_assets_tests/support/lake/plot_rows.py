"""Rows for the plots: everyday ones and extreme ones."""

from datetime import date, datetime, timedelta

from promo_assets.lake.defs.plots.bars import MAX_RESTAURANTS
from promo_assets.lake.transform.cities import SHIPPED, parse_cities

HUGE = 2**63 - 1
MONDAY = date(2022, 5, 2)
CITIES = [(city.city, city.lat, city.lon) for city in parse_cities(SHIPPED.read_bytes())]
ODD_NAMES = [
    r"$\frac{a}$ _x_ $",
    "_hidden",
    "Zürich Ωmega",
    "x\ny\0z",
    "a" * 60,
    "| $ $ |",
    r"\$5\$",
    "",
    None,
]

ZONES = [(*city, 500_000 // rank, 9_000 // rank) for rank, city in enumerate(CITIES, 1)]
ODD_ZONES = [
    (name, -35.0 + 2 * n, 118.0 + 4 * n, HUGE // (n + 1), HUGE if n == 3 else n)
    for n, name in enumerate(ODD_NAMES)
]
FAR_ZONES = [
    *ZONES,
    ("London", 51.5, -0.1, 300_000, 900),
    ("South Pole", -90.0, 0.0, 10, 1),
    ("Fiji", -18.1, 178.4, 99_999, 3),
]
WEEKS = [
    (
        MONDAY + timedelta(weeks=week),
        city,
        20_000 // rank,
        9_000 // rank + week,
        300 // rank,
        40 // rank,
    )
    for week in range(6)
    for rank, (city, _, _) in enumerate(CITIES, 1)
]
ODD_WEEKS = [(datetime(2022, 5, 2), name, HUGE, 0, 1, 0) for name in ODD_NAMES]
MANY_WEEKS = [
    (MONDAY + timedelta(weeks=n % 20), f"city {n % 200}", n, 0, 0, 1) for n in range(1000)
]
PAIRS = [(city, 25_000 // rank**2) for rank, (city, _, _) in enumerate(CITIES, 1)]
ODD_PAIRS = [(name, HUGE - n) for n, name in enumerate(ODD_NAMES)] * 2
RATES = [(f"restaurant-{n:02}", n / MAX_RESTAURANTS, 10**n) for n in range(MAX_RESTAURANTS)]
ODD_RATES = [(name or "", 1.0, HUGE) for name in ODD_NAMES]

"""Who the sample's events are about: where each user lives, whom they write to, when they travel and where they stay.

All follows from the number of users and the seed: any day can be made without the days before it.
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

KM_PER_DEGREE = 6371 * np.pi / 180
NEIGHBOURS = 100  # others at home within 1 km of a user's home, on average
JITTER_KM = 0.12  # an event's position around the place where its user lives, standard deviation to the north and to the east
TRAVELLERS = 0.4  # share of the users who ever travel: 2 to 45 days, then 20 to 90 days at home
CIRCLE = 8  # people a user writes to
NEXT_DOOR = (
    20  # so many places to either side in the list of homes, which runs through a city in strips
)
STRIP_DEGREES = 0.005
DAY_S = 86_400


@dataclass(frozen=True)
class Sample:
    """The numbers that a sample is made from."""

    events_per_day: int = 100_000
    users: int = 20_000
    channels: int = 2_000
    seed: int = 1


@dataclass(frozen=True)
class People:
    """Arrays by the user's number, from 0. `by_place` lists the numbers so that neighbours stand close together,
    `place` is where a number stands there."""

    lat: Floats
    lon: Floats
    by_place: Integers
    place: Integers
    stay_s: Integers
    period_s: Integers
    phase_s: Integers

    @property
    def count(self) -> int:
        return len(self.lat)

    def friends(self, who: Integers, which: Integers) -> Integers:
        """The friend number `which` (below CIRCLE) of each: number 0 lives anywhere, the others next door."""
        chance = _scatter(who, which)
        step = 1 + chance // 2 % NEXT_DOOR
        neighbour = self.by_place[
            (self.place[who] + np.where(chance % 2, step, -step)) % self.count
        ]
        return np.where(which == 0, chance % self.count, neighbour)

    def positions(
        self, who: Integers, at_s: Integers, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Latitude and longitude of each user at a time in unix seconds: around home, or on a trip around a host's home."""
        since_s = at_s + self.phase_s[who]
        trip, gone_s = np.divmod(since_s, self.period_s[who])
        away = np.flatnonzero(gone_s < self.stay_s[who])
        where = who.copy()
        where[away] = _scatter(who[away], CIRCLE + trip[away]) % self.count
        lat, lon = self.lat[where], self.lon[where]
        return _moved(
            lat,
            lon,
            *(rng.standard_normal((2, len(who)), dtype=np.float32) * np.float32(JITTER_KM)),
        )


@lru_cache(maxsize=2)
def make_people(users: int, seed: int) -> People:
    rng = np.random.default_rng([seed, users])
    city_lat, city_lon = _cities()
    weight = 1 / np.arange(
        1, len(city_lat) + 1
    )  # the file names big cities first; as in life, the n-th has 1/n of the first
    city = rng.choice(len(city_lat), users, p=weight / weight.sum())
    # Homes are normally distributed around the centre. Two of n homes are then within r of each other with probability
    # 1 - exp(-r**2 / (4 sigma**2)), about r**2 / (4 sigma**2): this sigma makes it NEIGHBOURS for a city of any size.
    sigma_km = np.sqrt(np.bincount(city, minlength=len(city_lat)) / (4 * NEIGHBOURS))[city]
    lat, lon = _moved(city_lat[city], city_lon[city], *(rng.standard_normal((2, users)) * sigma_km))
    by_place = np.lexsort((lon, np.floor(lat / STRIP_DEGREES), city))
    place = np.empty_like(by_place)
    place[by_place] = np.arange(users)
    travels = rng.random(users) < TRAVELLERS
    stay_s = np.where(travels, DAY_S * np.minimum(2 + rng.exponential(8, users), 45), 0).astype(
        np.int64
    )
    period_s = stay_s + (DAY_S * (20 + 70 * rng.random(users))).astype(np.int64)
    phase_s = (period_s * rng.random(users)).astype(np.int64)
    return People(lat, lon, by_place, place, stay_s, period_s, phase_s)


def _cities() -> tuple[Floats, Floats]:
    with files("promo_assets.lake.transform").joinpath("geo.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    lat, lon = (
        np.array([float(row[name].replace(",", ".")) for row in rows]) for name in ("lat", "lng")
    )
    return lat, lon


def _moved(
    lat: Floats, lon: Floats, north_km: NDArray[np.floating], east_km: NDArray[np.floating]
) -> tuple[Floats, Floats]:
    return lat + north_km / KM_PER_DEGREE, lon + east_km / (KM_PER_DEGREE * np.cos(np.radians(lat)))


def _scatter(first: Integers, second: Integers) -> Integers:
    """A number from 0 that looks random and is always the same for a pair (splitmix64's finalizer)."""
    mixed = first.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + second.astype(
        np.uint64
    ) * np.uint64(0xD1B54A32D192ED03)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)

"""The users of the sample: where they live, whom they write to, when they travel and where to.

Everything is derived from the number of users and the seed, so that any day can be made without
the days before it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from promo_assets.lake.transform.cities import SHIPPED, parse_cities

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

KM_PER_DEGREE = 6371 * np.pi / 180
NEIGHBOURS = 100  # average number of other homes within 1 km of a user's home
# Standard deviation, to the north and to the east, of an event's position around the user's place.
JITTER_KM = 0.12
TRAVELLERS = 0.4  # share of the users who ever travel: 2 to 45 days, then 20 to 90 days at home
CIRCLE = 8  # number of people that a user writes to
# Neighbours are at most this many places away in the list of homes, which runs through a city in
# strips.
NEXT_DOOR = 20
STRIP_DEGREES = 0.005
DAY_S = 86_400


@dataclass(frozen=True)
class Sample:
    """The numbers that determine a sample."""

    events_per_day: int = 100_000
    users: int = 20_000
    channels: int = 2_000
    seed: int = 1


@dataclass(frozen=True)
class People:
    """The users as arrays indexed by the user's number, which starts at 0.

    `by_place` lists the numbers so that neighbours are close together, and `place` is the index of
    a number in that list. Homes `lat` and `lon` are in degrees.
    """

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
        """Return each user's friend number `which`, which is below CIRCLE.

        Friend 0 lives anywhere, the others live next door.
        """
        chance = _scatter(who, which)
        step = 1 + chance // 2 % NEXT_DOOR
        neighbour_place = self.place[who] + np.where(chance % 2, step, -step)
        neighbour = self.by_place[neighbour_place % self.count]
        return np.where(which == 0, chance % self.count, neighbour)

    def positions(
        self, who: Integers, at_s: Integers, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Return the latitude and longitude (degrees) of each user at a time in unix seconds.

        Users are around their home or, on a trip, around the home of a host.
        """
        since_s = at_s + self.phase_s[who]
        trip, gone_s = np.divmod(since_s, self.period_s[who])
        away = np.flatnonzero(gone_s < self.stay_s[who])
        where = who.copy()
        where[away] = _scatter(who[away], CIRCLE + trip[away]) % self.count
        jitter_km = rng.standard_normal((2, len(who)), dtype=np.float32) * np.float32(JITTER_KM)
        return _move(self.lat[where], self.lon[where], *jitter_km)


@lru_cache(maxsize=2)
def make_people(users: int, seed: int) -> People:
    rng = np.random.default_rng([seed, users])
    cities = parse_cities(SHIPPED.read_bytes())  # the smaller the id, the bigger the city
    city_lat = np.array([city.lat for city in cities])
    city_lon = np.array([city.lon for city in cities])
    weight = 1 / np.arange(1, len(cities) + 1)  # as in life, the n-th city has 1/n of the first
    city = rng.choice(len(cities), users, p=weight / weight.sum())
    # Homes are normally distributed around the centre. Two of n homes are then within r of each
    # other with probability 1 - exp(-r**2 / (4 sigma**2)), about r**2 / (4 sigma**2). With this
    # sigma a home has NEIGHBOURS neighbours in a city of any size.
    sigma_km = np.sqrt(np.bincount(city, minlength=len(cities)) / (4 * NEIGHBOURS))[city]
    lat, lon = _move(city_lat[city], city_lon[city], *(rng.standard_normal((2, users)) * sigma_km))
    by_place = np.lexsort((lon, np.floor(lat / STRIP_DEGREES), city))
    place = np.empty_like(by_place)
    place[by_place] = np.arange(users)
    travels = rng.random(users) < TRAVELLERS
    stay_days = np.minimum(2 + rng.exponential(8, users), 45)
    stay_s = np.where(travels, DAY_S * stay_days, 0).astype(np.int64)
    period_s = stay_s + (DAY_S * (20 + 70 * rng.random(users))).astype(np.int64)
    phase_s = (period_s * rng.random(users)).astype(np.int64)
    return People(lat, lon, by_place, place, stay_s, period_s, phase_s)


def _move(
    lat: Floats, lon: Floats, north_km: NDArray[np.floating], east_km: NDArray[np.floating]
) -> tuple[Floats, Floats]:
    return lat + north_km / KM_PER_DEGREE, lon + east_km / (KM_PER_DEGREE * np.cos(np.radians(lat)))


def _scatter(first: Integers, second: Integers) -> Integers:
    """Hash pairs of numbers to numbers from 0 that look random (splitmix64's finalizer)."""
    one, two = first.astype(np.uint64), second.astype(np.uint64)
    mixed = one * np.uint64(0x9E3779B97F4A7C15) + two * np.uint64(0xD1B54A32D192ED03)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)

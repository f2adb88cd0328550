"""Crafted events: users on both sides of each boundary, as of the last day."""

from datetime import date, datetime, timedelta

import numpy as np

from promo_assets_tests.support.lake.oracle import City
from promo_assets_tests.support.lake.places import EDGES, FAR_SPOTS, SAME_POINTS, find_ties, move
from promo_assets_tests.support.lake.raw import DatedRow, Place, message, reaction, subscription

NO_PLACE = (None, None)


def crafted_events(
    random: np.random.Generator, cities: list[City], last_day: date
) -> list[DatedRow]:
    """Return events of users on both sides of a boundary: visits of 27 days, pairs at 1 km."""
    crafted = Crafted(random, last_day)
    for lasts in [
        timedelta(days=27) + timedelta(seconds=s, microseconds=us)
        for s, us in ((-1, 0), (0, 0), (0, 1), (1, 0))
    ]:
        chosen = [cities[n] for n in random.permutation(len(cities))[:3].tolist()]
        here, there, long_ago = ((lat, lon) for _, _, lat, lon, _ in chosen)
        crafted.add_visits(lasts, here, there, long_ago)
    for one, other in (
        (EDGES[4], EDGES[5]),
        (EDGES[5], (-20.0, 115.7)),
        ((None, 151.6), EDGES[5]),
        ((-33.0, None), (None, 115.7)),
    ):
        for ids in ((None, None), (5, 5), (None, -5), (-5, None)):
            crafted.add_simultaneous_messages((one, other), ids)
    centres = [(lat, lon) for _, _, lat, lon, _ in cities[:3]]
    bases = np.array([*FAR_SPOTS, *centres, *find_ties(random, cities)[:3].tolist()])
    for km in (0.0, 0.999, 0.99999, 1.00001, 1.001):
        others = move(random, bases, np.full(len(bases), km))
        pairs = [*zip(bases.tolist(), others.tolist(), strict=True)]
        for place, other in [*pairs, *(SAME_POINTS if km == 0 else ())]:
            crafted.add_pair(tuple(place), tuple(other))
    return crafted.rows


class Crafted:
    """Collects rows of crafted users; `midnight` is the end of the last day."""

    def __init__(self, random: np.random.Generator, last_day: date) -> None:
        self.rows: list[DatedRow] = []
        self._random = random
        midnight = datetime(last_day.year, last_day.month, last_day.day)
        self._midnight = midnight + timedelta(days=1)

    def add_visits(self, lasts: timedelta, here: Place, there: Place, long_ago: Place) -> None:
        """Add three users with a visit of this length: a past one, a current one, two in a row."""
        begin = self._midnight - timedelta(days=32, seconds=int(self._random.integers(86400)))
        user = self._new_user()
        self._stay(user, begin, here)
        self._add(message, user, begin + lasts, there, 1)
        user = self._new_user()
        self._stay(user, self._midnight - lasts, here)
        user = self._new_user()
        self._stay(user, self._midnight - timedelta(days=58), long_ago)
        self._stay(user, self._midnight - lasts - timedelta(hours=5), here)
        self._add(message, user, self._midnight - timedelta(hours=5), there, None)

    def add_simultaneous_messages(
        self, places: tuple[Place, Place], ids: tuple[int | None, int | None]
    ) -> None:
        """Add a user who writes two messages at the same time at two places."""
        user = self._new_user()
        days, seconds = int(self._random.integers(1, 30)), int(self._random.integers(3600))
        at = self._midnight - timedelta(days=days, seconds=seconds)
        for number, place in zip(ids, places, strict=True):
            self._add(message, user, at, place, number)

    def add_pair(self, place: Place, other_place: Place) -> None:
        """Add two users last seen at these places, who may share a channel and may have written."""
        one, other = self._new_user(), self._new_user()
        channel = int(self._random.integers(10**6, 10**9))
        in_window = self._midnight - timedelta(days=28)
        before = in_window - timedelta(seconds=1)
        self._add_last_position(one, place, in_window, before)
        self._add_last_position(other, other_place, in_window, before)
        self._add(subscription, one, self._midnight - timedelta(days=4), NO_PLACE, channel)
        shares = self._random.integers(8)
        if shares == 0:
            at = self._midnight - timedelta(days=4)
            self._add(reaction, other, at, NO_PLACE, channel_id=channel)
        else:
            times = (before, in_window, self._midnight - timedelta(days=3))
            self._add(subscription, other, times[min(shares, 3) - 1], NO_PLACE, channel)
        self._add_messages_between(one, other)

    def _add_last_position(
        self, user: int, place: Place, in_window: datetime, before: datetime
    ) -> None:
        """Add a user's last position and events around it.

        Some users were last seen before the window, or elsewhere in the same second, so that the
        rest of the order decides.
        """
        lat, lon = place
        times = (in_window, before, *[self._midnight - timedelta(days=5)] * 8)
        seen_at = times[self._random.integers(10)]
        self._add(reaction, user, seen_at, (lat, lon), 5)
        self._add(reaction, user, self._midnight - timedelta(days=2), (lat, None))
        self._add(message, user, seen_at - timedelta(days=1), (0.0, 0.0), 7)
        elsewhere = self._random.integers(8)
        if elsewhere < 2:
            self._add(message, user, seen_at, (89.0, 0.0), (None, 6)[elsewhere])
        elif elsewhere < 4:
            self._add(message, user, seen_at, (lat - 30 if lat > 0 else lat + 30, lon), 5)
        elif elsewhere == 4:
            self._add(message, user, seen_at, (lat, lon - 90 if lon > 0 else lon + 90), 5)

    def _add_messages_between(self, one: int, other: int) -> None:
        """Add a message between the two users, or one that looks like it, or none."""
        wrote = self._random.integers(8)
        long_ago = self._midnight - timedelta(days=50)
        if wrote < 2:
            sender, recipient = ((one, other), (other, one))[wrote]
            self._add(message, sender, long_ago, NO_PLACE, 1, recipient)
        elif wrote == 2:
            self._add(message, one, long_ago, NO_PLACE, 1, one)
        elif wrote == 3:
            # It is rejected, so it counts as never written.
            self._add(message, one, long_ago, (91.0, None), 1, other)
        elif wrote == 4:
            self._add(reaction, one, long_ago, NO_PLACE, 1, channel_id=other)
        elif wrote == 5:
            at = self._midnight - timedelta(microseconds=1)
            self._add(message, one, at, NO_PLACE, 1, other)

    def _stay(self, user: int, begin: datetime, place: Place) -> None:
        for number, hours in enumerate((0, 30, 100)):
            position = place if number != 1 else (None, place[1])
            self._add(message, user, begin + timedelta(hours=hours), position, number or None)

    def _add(
        self, make, user: int, at: datetime, place: Place, *more: object, **event: object
    ) -> None:
        name = user if make is message else str(user)
        row = make(name, at.isoformat(sep=" "), place, *more, **event)
        self.rows.append((at.date(), row))

    def _new_user(self) -> int:
        return int(self._random.integers(10**10, 10**18))

"""Everyday events: users who stay somewhere for days or weeks, move on and come back."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from promo_assets_tests.support.lake.oracle import City
from promo_assets_tests.support.lake.places import EDGES, FAR_SPOTS, find_ties, move
from promo_assets_tests.support.lake.raw import DatedRow, Place, message, reaction, subscription


@dataclass(frozen=True)
class Users:
    """Users as arrays. From each day of `begins` on, a user is at the spot that `stays` numbers."""

    ids: np.ndarray
    home: np.ndarray
    joined: np.ndarray  # the user's first day
    begins: np.ndarray
    stays: np.ndarray
    spots: np.ndarray
    strange_places: np.ndarray  # ties between cities and edges of the globe


def everyday_events(
    random: np.random.Generator, cities: list[City], first_day: date, days: int, count: int
) -> list[DatedRow]:
    """Return `count` events of users who stay at a spot for days or weeks, move on and come back.

    Events come in bursts, half of them in the same second.
    """
    users = _make_users(random, cities, days, max(60, count // 70))
    bursts = count // 2 + 1
    user, place, day, second = _make_bursts(random, users, days, bursts)
    repeated = random.integers(bursts, size=count)
    burst = np.sort(np.concatenate([np.arange(bursts), repeated]))[:count]
    user, place, day, second = user[burst], place[burst].copy(), day[burst], second[burst]
    second = np.minimum(second + random.choice(4, count, p=[0.6, 0.2, 0.1, 0.1]), 86399)
    micros = random.choice([0, 1, 500_000, 999_999], count, p=[0.85, 0.05, 0.05, 0.05])
    moved = random.random(count) < 0.2
    place[moved] = move(random, place[moved], random.rayleigh(0.5, moved.sum()))
    restless = (users.ids[user] % 3 == 0) & (random.random(count) < 0.1)
    strange = users.strange_places
    place[restless] = strange[random.integers(len(strange), size=restless.sum())]
    lost = random.choice(4, count, p=[0.94, 0.03, 0.015, 0.015])  # both, latitude, longitude
    lat = np.where((lost == 1) | (lost == 2), None, place[:, 0])
    lon = np.where((lost == 1) | (lost == 3), None, place[:, 1])

    neighbour = _choose_neighbours(random, users, user)
    popularity = 1 / np.arange(1, 401) ** 1.1
    channels = random.choice(400, (count, 3), p=popularity / popularity.sum()).tolist()
    kinds = random.choice(3, count, p=[0.68, 0.14, 0.18]).tolist()
    dice = random.random((count, 6)).tolist()
    who, places = users.ids[user].tolist(), list(zip(lat.tolist(), lon.tolist(), strict=True))
    clocks = zip(day.tolist(), second.tolist(), micros.tolist(), strict=True)
    midnight = datetime(first_day.year, first_day.month, first_day.day)
    rows = []
    for n, (d, s, us) in enumerate(clocks):
        at = midnight + timedelta(days=d, seconds=s, microseconds=us)
        event = Event(n, who[n], neighbour[n], at, places[n], channels[n], dice[n])
        rows.append((at.date(), _make_row(kinds[n], event)))
    return rows


def _make_users(random: np.random.Generator, cities: list[City], days: int, count: int) -> Users:
    centres = np.array([(lat, lon) for _, _, lat, lon, _ in cities])
    ties = find_ties(random, cities)
    around = move(random, centres, random.random(len(centres)) * 20)
    spots = np.concatenate([centres, ties[:6], around, np.array(FAR_SPOTS)])
    strange = np.concatenate([ties, ties + random.normal(size=ties.shape) * 1e-7, np.array(EDGES)])
    ids = np.sort(random.choice(count * 50, count, replace=False)).astype(np.int64)
    ids[[0, -1]] = 0, 2**63 - 1
    home = np.sort((random.beta(1, 1.5, count) * len(spots)).astype(int))
    joined = np.where(random.random(count) < 0.5, 0, random.integers(days, size=count))
    lengths = random.choice([1, 2, 3, 5, 10, 26, 27, 28, 29, 40], size=(count, 20))
    begins = joined[:, None] + np.cumsum(lengths, axis=1) - lengths
    is_at_home = random.random((count, 20)) < 0.5
    stays = np.where(is_at_home, home[:, None], random.integers(len(spots), size=(count, 20)))
    return Users(ids, home, joined, begins, stays, spots, strange)


def _make_bursts(
    random: np.random.Generator, users: Users, days: int, bursts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return user, place, day and second of each burst."""
    count = len(users.ids)
    user = random.choice(count, bursts, p=random.dirichlet(np.full(count, 3.0)))
    joined = users.joined[user]
    day = joined + (random.random(bursts) * (days - joined)).astype(int)
    stay = (users.begins[user] <= day[:, None]).sum(axis=1) - 1
    place = users.spots[users.stays[user, stay]]
    is_still = random.random(bursts) < 0.2
    place = move(random, place, np.where(is_still, 0, random.rayleigh(0.5, bursts)))
    is_at_edge = random.random(bursts) < 0.3
    edges = random.choice([0, 1, 43200, 86398, 86399], bursts)
    second = np.where(is_at_edge, edges, random.integers(86400, size=bursts))
    return user, place, day, second


def _choose_neighbours(random: np.random.Generator, users: Users, user: np.ndarray) -> list[int]:
    """Return for each event the id of a random user with the same home."""
    home = users.home
    first = np.searchsorted(home, home[user])
    end = np.searchsorted(home, home[user], side="right")
    return users.ids[first + (random.random(len(user)) * (end - first)).astype(int)].tolist()


@dataclass(frozen=True)
class Event:
    number: int
    user: int
    other: int
    at: datetime
    place: Place
    channels: list[int]
    dice: list[float]  # 0 to 1 each


def _make_row(kind: int, event: Event) -> dict:
    """Return one event; some have values in fields that do not apply to their type."""
    dice, place = event.dice, event.place
    text = _format_time(event.at, dice[0])
    number = event.number
    message_id = None if dice[1] < 0.1 else number if dice[1] < 0.6 else number % 6 - 2
    channel = None if dice[2] > 0.95 else event.channels[0]
    name = f"{event.user:025}" if dice[3] < 0.05 else str(event.user)
    if kind == 0:
        to = event.other if dice[3] > 0.88 else None
        channel_to = channel if to is None or dice[2] < 0.1 else None
        row = message(event.user, text, place, message_id, to, message_channel_to=channel_to)
    elif kind == 1:
        row = reaction(name, text, place, message_id, channel_id=channel)
    elif dice[3] > 0.6:
        row = subscription(None, text, place, channel, subscription_user=name)
    else:
        ignored = str(event.other) if dice[3] > 0.4 else None
        row = subscription(name, text, place, channel, subscription_user=ignored)
    row["event"] = _foreign_fields(event) | row["event"]
    if dice[5] < 0.1:
        row["event"] |= {"datetime": text, "message_ts": "1999-01-01 00:00:00"}
    elif dice[5] < 0.2:
        row["event"] |= {"datetime": text, "message_ts": "unreadable"}
    elif dice[5] < 0.3:
        row["event"] |= {"datetime": None, "message_ts": text}
    return row


def _foreign_fields(event: Event) -> dict:
    """Return values for fields that do not apply to the event's type, for a tenth of the events."""
    text = {"message": f"№ {event.number}"}
    if event.dice[4] >= 0.1:
        return text
    return text | {
        "channel_id": event.channels[1],
        "message_channel_to": event.channels[2],
        "subscription_channel": event.channels[1],
        "message_from": 1,
        "reaction_from": "1",
        "user": "1",
        "subscription_user": "1",
        "admins": [1, None, event.user],
        "tags": [],
        "media": {"media_type": "image", "src": None},
    }


def _format_time(at: datetime, die: float) -> str:
    """Format a time in one of the ways that occur; the die (0 to 1) chooses it."""
    text = at.isoformat(sep="T" if die < 0.3 else " ")
    if not at.microsecond:
        return text + (".0" if die > 0.95 else "")
    return text.rstrip("0") if die < 0.8 else text + "999"

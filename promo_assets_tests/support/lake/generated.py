"""RAW events made up so that every rule of the lake matters: ties, boundaries, edges of the globe, broken ones. The same seed gives
the same events. `everyday` life fills the days; `crafted` users stand on both sides of each boundary, as of the last day.
"""

from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from promo_assets_tests.support.lake.oracle import City, read_cities

Place = tuple[float | None, float | None]
Told = tuple[date, dict]  # a row of RAW and the day it lies in

SHIPPED_CITIES = Path(__file__).parents[3] / "promo_assets" / "lake" / "transform" / "geo.csv"
EARTH_KM = 6371.0

_LONGS = [
    "channel_id",
    "message_channel_to",
    "message_from",
    "message_group",
    "message_id",
    "message_to",
    "subscription_channel",
]
_STRINGS = [
    "datetime",
    "message",
    "message_ts",
    "reaction_from",
    "reaction_type",
    "subscription_user",
    "user",
]
_EVENT = {
    "admins": pa.list_(pa.int64()),
    "media": pa.struct([("media_type", pa.string()), ("src", pa.string())]),
    "tags": pa.list_(pa.string()),
    **dict.fromkeys(_LONGS, pa.int64()),
    **dict.fromkeys(_STRINGS, pa.string()),
}
RAW_SCHEMA = pa.schema(
    [
        ("event", pa.struct(sorted(_EVENT.items()))),
        ("event_type", pa.string()),
        ("lat", pa.float64()),
        ("lon", pa.float64()),
    ]
)

#: unreadable, or of another day
_BAD_TIMES = (
    *(
        "{day}",
        "{day} 12:00",
        "{day} 24:00:00",
        "{day} 25:00:00",
        "{day} 12:60:00",
        "{day} 12:00:60",
        "{day} 9:00:00",
        "{day} 12:00:00.",
    ),
    *(
        "{day} 12:00:00Z",
        "{day}T12:00:00Z",
        "{day} 12:00:00+00:00",
        "{day} 12:00:00+00",
        "{day} 12:00:00 UTC",
        "{day} 12:00:00,5",
    ),
    *(
        " {day} 12:00:00",
        "{day} 12:00:00 ",
        "{day}  12:00:00",
        "{day}t12:00:00",
        "{day} 12:00:00\n",
        "{day}-12:00:00",
        "{day} 12-00-00",
    ),
    *(
        "{year}-02-30 12:00:00",
        "{year}-13-01 12:00:00",
        "{year}-00-00 00:00:00",
        "",
        "now",
        "1651406400",
        "٢٠٢٢-٠٥-٠١ ١٢:٠٠:٠٠",
    ),
    *(
        "{before} 23:59:59",
        "{before} 23:59:59.9999999",
        "{after} 00:00:00",
        "{after}T00:00:00",
        "1970-01-01 00:00:00",
        "9999-12-31 23:59:59",
    ),
)
_BAD_USERS = (
    "",
    " ",
    "-7",
    "+7",
    " 7",
    "7 ",
    "7\n",
    "7.0",
    "7e3",
    "0x7",
    "7_000",
    "٧",
    "seven",
    "9223372036854775808",
    "9" * 40,
)
_BAD_PLACES = (
    *(
        (90.0000001, 10.0),
        (-91.0, 10.0),
        (10.0, 180.0000001),
        (10.0, -181.0),
        (151.2, -33.9),
        (91.0, None),
        (None, -200.0),
    ),
    *(
        (np.nan, 10.0),
        (10.0, np.nan),
        (np.nan, None),
        (None, np.nan),
        (np.nan, np.nan),
        (np.inf, 0.0),
        (0.0, -np.inf),
    ),
)
_BAD_TYPES = (None, "story", "messages", " message", "like/dislike", "a=b")
#: at the edge and still right; latitudes repeat so that a tie is decided by the longitude
_EDGES = (
    (90.0, 180.0),
    (-90.0, -180.0),
    (0.0, -180.0),
    (0.0, 0.0),
    (-33.0, 115.7),
    (-33.0, 151.6),
    (-33.0, 151.6),
    (-33.0, 115.7),
)
#: each pair is one point of the globe
_SAME_POINTS = (
    ((90.0, 10.0), (90.0, -170.0)),
    ((-90.0, 0.0), (-90.0, 77.0)),
    ((-16.8, 180.0), (-16.8, -180.0)),
    ((0.0, 0.0), (0.0, 0.0)),
)
_FAR_SPOTS = ((89.9995, 20.0), (-89.9995, 100.0), (-16.8, 179.9995), (52.0, -180.0), (0.0, 0.0))


def write_generated(
    raw_folder: Path,
    seed: int,
    last_day: date,
    days: int,
    events: int,
    cities: Path = SHIPPED_CITIES,
) -> None:
    """`events` events in the `days` days that end with last_day, some 1 % of them broken; the crafted visits want 60 days."""
    random = np.random.default_rng(seed)
    known = read_cities(cities)
    first_day = last_day - timedelta(days=days - 1)
    told = [
        (day, row)
        for _ in range(max(1, events // 10_000))
        for day, row in _crafted(random, known, last_day)
        if first_day <= day <= last_day
    ]
    told = told[:events]
    told += _everyday(random, known, first_day, days, events - len(told))
    for turn, index in enumerate(np.flatnonzero(random.random(len(told)) < 0.012).tolist()):
        _spoil(turn, *told[index])
    for index, twin in random.integers(len(told), size=(len(told) // 300, 2)).tolist():
        told[index] = told[twin]
    rows_of = defaultdict(list)
    for index in random.permutation(len(told)).tolist():
        day, row = told[index]
        rows_of[day].append(row)
    for day in (first_day + timedelta(days=n) for n in range(days)):
        half = len(rows_of[day]) // 3
        write_day(raw_folder, day, rows_of[day][half:], "part-0.parquet")
        write_day(raw_folder, day, rows_of[day][:half], "part-1.parquet")


def write_day(raw_folder: Path, day: date, rows: list[dict], file: str = "part-0.parquet") -> None:
    folder = raw_folder / f"date={day.isoformat()}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=RAW_SCHEMA), folder / file)


def message(
    user: int | None,
    at: str,
    place: Place,
    message_id: int | None = None,
    to: int | None = None,
    **event: object,
) -> dict:
    told = {
        "message_from": user,
        "message_ts": at,
        "message_id": message_id,
        "message_to": to,
        "message": "hi",
    }
    return _row("message", told | event, place)


def reaction(
    user: str | None, at: str, place: Place, message_id: int | None = None, **event: object
) -> dict:
    return _row(
        "reaction",
        {"reaction_from": user, "datetime": at, "message_id": message_id, "reaction_type": "like"}
        | event,
        place,
    )


def subscription(
    user: str | None, at: str, place: Place, channel: int | None = None, **event: object
) -> dict:
    return _row(
        "subscription",
        {"user": user, "datetime": at, "subscription_channel": channel} | event,
        place,
    )


def _row(event_type: str, event: dict, place: Place) -> dict:
    return {"event": event, "event_type": event_type, "lat": place[0], "lon": place[1]}


def _everyday(
    random: np.random.Generator, cities: list[City], first_day: date, days: int, count: int
) -> list[Told]:
    """Users stay at a spot for days or weeks, go on, come back; what they do comes in bursts, half of it in the same second."""
    users = max(60, count // 70)
    centres = np.array([(lat, lon) for _, _, lat, lon, _ in cities])
    ties = _ties(random, cities)
    spots = np.concatenate(
        [
            centres,
            ties[:6],
            _moved(random, centres, random.random(len(centres)) * 20),
            np.array(_FAR_SPOTS),
        ]
    )
    strange = np.concatenate([ties, ties + random.normal(size=ties.shape) * 1e-7, np.array(_EDGES)])
    ids = np.sort(random.choice(users * 50, users, replace=False)).astype(np.int64)
    ids[[0, -1]] = 0, 2**63 - 1
    home = np.sort((random.beta(1, 1.5, users) * len(spots)).astype(int))
    joined = np.where(random.random(users) < 0.5, 0, random.integers(days, size=users))

    lengths = random.choice([1, 2, 3, 5, 10, 26, 27, 28, 29, 40], size=(users, 20))
    begins = joined[:, None] + np.cumsum(lengths, axis=1) - lengths
    stays = np.where(
        random.random((users, 20)) < 0.5,
        home[:, None],
        random.integers(len(spots), size=(users, 20)),
    )

    bursts = count // 2 + 1
    user = random.choice(users, bursts, p=random.dirichlet(np.full(users, 3.0)))
    day = joined[user] + (random.random(bursts) * (days - joined[user])).astype(int)
    place = spots[stays[user, (begins[user] <= day[:, None]).sum(axis=1) - 1]]
    place = _moved(
        random, place, np.where(random.random(bursts) < 0.2, 0, random.rayleigh(0.5, bursts))
    )
    second = np.where(
        random.random(bursts) < 0.3,
        random.choice([0, 1, 43200, 86398, 86399], bursts),
        random.integers(86400, size=bursts),
    )

    burst = np.sort(np.concatenate([np.arange(bursts), random.integers(bursts, size=count)]))[
        :count
    ]
    user, place, day, second = user[burst], place[burst].copy(), day[burst], second[burst]
    second = np.minimum(second + random.choice(4, count, p=[0.6, 0.2, 0.1, 0.1]), 86399)
    micros = random.choice([0, 1, 500_000, 999_999], count, p=[0.85, 0.05, 0.05, 0.05])
    moved = random.random(count) < 0.2
    place[moved] = _moved(random, place[moved], random.rayleigh(0.5, moved.sum()))
    restless = (ids[user] % 3 == 0) & (random.random(count) < 0.1)
    place[restless] = strange[random.integers(len(strange), size=restless.sum())]
    lost = random.choice(4, count, p=[0.94, 0.03, 0.015, 0.015])  # both, latitude, longitude

    group_begins, group_ends = (
        np.searchsorted(home, home[user]),
        np.searchsorted(home, home[user], side="right"),
    )
    neighbour = ids[group_begins + (random.random(count) * (group_ends - group_begins)).astype(int)]
    popularity = 1 / np.arange(1, 401) ** 1.1
    channels = random.choice(400, (count, 3), p=popularity / popularity.sum())
    kinds = random.choice(3, count, p=[0.68, 0.14, 0.18]).tolist()
    dice = random.random((count, 6)).tolist()
    numbers = zip(
        ids[user].tolist(),
        neighbour.tolist(),
        place.tolist(),
        lost.tolist(),
        channels.tolist(),
        strict=True,
    )
    clocks = zip(day.tolist(), second.tolist(), micros.tolist(), strict=True)
    told = []
    for index, ((who, other, (lat, lon), missing, channel), (n, s, us)) in enumerate(
        zip(numbers, clocks, strict=True)
    ):
        at = datetime(first_day.year, first_day.month, first_day.day) + timedelta(
            days=n, seconds=s, microseconds=us
        )
        seen = (None if missing in (1, 2) else lat, None if missing in (1, 3) else lon)
        told.append(
            (at.date(), _told(kinds[index], index, who, other, at, seen, channel, dice[index]))
        )
    return told


def _told(
    kind: int,
    number: int,
    who: int,
    other: int,
    at: datetime,
    place: Place,
    channels: list[int],
    dice: list[float],
) -> dict:
    """One event. Some have fields filled that an event of their type must not be read by."""
    text = _time_text(at, dice[0])
    message_id = None if dice[1] < 0.1 else number if dice[1] < 0.6 else number % 6 - 2
    channel = None if dice[2] > 0.95 else channels[0]
    name = f"{who:025}" if dice[3] < 0.05 else str(who)
    foreign: dict = {"message": f"№ {number}"}
    if dice[4] < 0.1:
        foreign |= {
            "channel_id": channels[1],
            "message_channel_to": channels[2],
            "subscription_channel": channels[1],
        }
        foreign |= {"message_from": 1, "reaction_from": "1", "user": "1", "subscription_user": "1"}
        foreign |= {
            "admins": [1, None, who],
            "tags": [],
            "media": {"media_type": "image", "src": None},
        }
    if kind == 0:
        to = other if dice[3] > 0.88 else None
        row = message(
            who,
            text,
            place,
            message_id,
            to,
            message_channel_to=channel if to is None or dice[2] < 0.1 else None,
        )
    elif kind == 1:
        row = reaction(name, text, place, message_id, channel_id=channel)
    elif dice[3] > 0.6:
        row = subscription(None, text, place, channel, subscription_user=name)
    else:
        row = subscription(
            name, text, place, channel, subscription_user=str(other) if dice[3] > 0.4 else None
        )
    row["event"] = foreign | row["event"]
    if dice[5] < 0.1:
        row["event"] |= {"datetime": text, "message_ts": "1999-01-01 00:00:00"}
    elif dice[5] < 0.2:
        row["event"] |= {"datetime": text, "message_ts": "unreadable"}
    elif dice[5] < 0.3:
        row["event"] |= {"datetime": None, "message_ts": text}
    return row


def _time_text(at: datetime, die: float) -> str:
    """One of the ways to write a time, chosen by the die (0 to 1)."""
    text = at.isoformat(sep="T" if die < 0.3 else " ")
    if not at.microsecond:
        return text + (".0" if die > 0.95 else "")
    return text.rstrip("0") if die < 0.8 else text + "999"


def _spoil(turn: int, day: date, row: dict) -> None:
    """Breaks an event; the ways to do it take turns."""
    kind, turn = turn % 16, turn // 16
    event, name = row["event"], _BAD_USERS[(3 * turn + kind) % len(_BAD_USERS)]
    if kind < 6:
        days = {
            "day": day,
            "year": day.year,
            "before": day - timedelta(days=1),
            "after": day + timedelta(days=1),
        }
        event["datetime"] = _BAD_TIMES[11 * (6 * turn + kind) % len(_BAD_TIMES)].format(**days)
    elif kind < 9:
        event |= {"message_from": -7, "reaction_from": name, "user": name, "subscription_user": "1"}
    elif kind == 9:
        event |= {
            "message_from": None,
            "reaction_from": None,
            "user": None,
            "subscription_user": name,
        }
    elif kind < 13:
        row["lat"], row["lon"] = _BAD_PLACES[(3 * turn + kind) % len(_BAD_PLACES)]
    elif kind == 13:
        row["event_type"] = _BAD_TYPES[turn % len(_BAD_TYPES)]
    elif kind == 14:
        event["datetime"] = event["message_ts"] = None
    elif turn % 2:
        row["event"] = None
    else:
        row["event_type"] = None


def _crafted(random: np.random.Generator, cities: list[City], last_day: date) -> list[Told]:
    """Users on both sides of a boundary: visits of about 27 days, pairs about 1 km apart."""
    midnight = datetime(last_day.year, last_day.month, last_day.day) + timedelta(days=1)
    told: list[Told] = []

    def add(make, user: int, at: datetime, place: Place, *more: object, **event: object) -> None:
        name = user if make is message else str(user)
        told.append((at.date(), make(name, at.isoformat(sep=" "), place, *more, **event)))

    def stay(user: int, begin: datetime, place: Place) -> None:
        for number, hours in enumerate((0, 30, 100)):
            add(
                message,
                user,
                begin + timedelta(hours=hours),
                place if number != 1 else (None, place[1]),
                number or None,
            )

    over = [
        timedelta(days=27) + timedelta(seconds=s, microseconds=us)
        for s, us in ((-1, 0), (0, 0), (0, 1), (1, 0))
    ]
    for lasts in over:
        here, there, long_ago = (
            (lat, lon)
            for _, _, lat, lon, _ in (
                cities[n] for n in random.permutation(len(cities))[:3].tolist()
            )
        )
        begin = midnight - timedelta(days=32, seconds=int(random.integers(86400)))
        user = _new_user(random)
        stay(user, begin, here)
        add(message, user, begin + lasts, there, 1)
        user = _new_user(random)
        stay(user, midnight - lasts, here)
        user = _new_user(random)
        stay(user, midnight - timedelta(days=58), long_ago)
        stay(user, midnight - lasts - timedelta(hours=5), here)
        add(message, user, midnight - timedelta(hours=5), there, None)

    for one, other in (
        (_EDGES[4], _EDGES[5]),
        (_EDGES[5], (-20.0, 115.7)),
        ((None, 151.6), _EDGES[5]),
        ((-33.0, None), (None, 115.7)),
    ):
        for ids in ((None, None), (5, 5), (None, -5), (-5, None)):
            user, at = (
                _new_user(random),
                midnight
                - timedelta(days=int(random.integers(1, 30)), seconds=int(random.integers(3600))),
            )
            for number, place in zip(ids, (one, other), strict=True):
                add(message, user, at, place, number)

    bases = np.array(
        [
            *_FAR_SPOTS,
            *((lat, lon) for _, _, lat, lon, _ in cities[:3]),
            *_ties(random, cities)[:3].tolist(),
        ]
    )
    for km in (0.0, 0.999, 0.99999, 1.00001, 1.001):
        others = _moved(random, bases, np.full(len(bases), km))
        for place, other in [
            *zip(bases.tolist(), others.tolist(), strict=True),
            *(_SAME_POINTS if km == 0 else ()),
        ]:
            _pair(random, add, midnight, (tuple(place), tuple(other)))
    return told


def _pair(
    random: np.random.Generator, add, midnight: datetime, places: tuple[Place, Place]
) -> None:
    """Two users last seen at these places, who may share a channel and may have written to each other. Some were last seen before the
    window, or elsewhere in the same second; the rest of the order decides then."""
    one, other = _new_user(random), _new_user(random)
    channel, in_window, before = (
        int(random.integers(10**6, 10**9)),
        midnight - timedelta(days=28),
        midnight - timedelta(days=28, seconds=1),
    )
    for user, (lat, lon) in ((one, places[0]), (other, places[1])):
        seen_at = (in_window, before, *[midnight - timedelta(days=5)] * 8)[random.integers(10)]
        add(reaction, user, seen_at, (lat, lon), 5)
        add(reaction, user, midnight - timedelta(days=2), (lat, None))
        add(message, user, seen_at - timedelta(days=1), (0.0, 0.0), 7)
        elsewhere = random.integers(8)
        if elsewhere < 2:
            add(message, user, seen_at, (89.0, 0.0), (None, 6)[elsewhere])
        elif elsewhere < 4:
            add(message, user, seen_at, (lat - 30 if lat > 0 else lat + 30, lon), 5)
        elif elsewhere == 4:
            add(message, user, seen_at, (lat, lon - 90 if lon > 0 else lon + 90), 5)
    add(subscription, one, midnight - timedelta(days=4), (None, None), channel)
    shares = random.integers(8)
    if shares == 0:
        add(reaction, other, midnight - timedelta(days=4), (None, None), channel_id=channel)
    else:
        add(
            subscription,
            other,
            (before, in_window, midnight - timedelta(days=3))[min(shares, 3) - 1],
            (None, None),
            channel,
        )
    wrote = random.integers(8)
    long_ago = midnight - timedelta(days=50)
    if wrote < 2:
        add(message, (one, other)[wrote], long_ago, (None, None), 1, (other, one)[wrote])
    elif wrote == 2:
        add(message, one, long_ago, (None, None), 1, one)
    elif wrote == 3:
        add(message, one, long_ago, (91.0, None), 1, other)  # rejected: as if never written
    elif wrote == 4:
        add(reaction, one, long_ago, (None, None), 1, channel_id=other)
    elif wrote == 5:
        add(message, one, midnight - timedelta(microseconds=1), (None, None), 1, other)


def _new_user(random: np.random.Generator) -> int:
    return int(random.integers(10**10, 10**18))


def _moved(random: np.random.Generator, places: np.ndarray, km: np.ndarray | float) -> np.ndarray:
    """Each place (latitude, longitude in degrees) moved by so many km in any direction; right at the poles and the 180th meridian too."""
    lat, lon = np.radians(places).T
    normal = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    towards = np.cross(normal, random.normal(size=normal.shape), axis=0)
    angle = np.asarray(km) / EARTH_KM
    x, y, z = normal * np.cos(angle) + towards / np.linalg.norm(towards, axis=0) * np.sin(angle)
    return np.where(
        np.expand_dims(angle == 0, -1),
        places,
        np.degrees([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)]).T,
    )


def _ties(random: np.random.Generator, cities: list[City]) -> np.ndarray:
    """Places whose two nearest cities are equally far once rounded to 1e-9 km, found by bisection between two random places.
    Those so near to the rounding's edge that another way to compute a sine decides are left out."""
    centres = np.array([(lat, lon) for _, _, lat, lon, _ in cities])
    left, right = (
        centres[random.integers(len(centres), size=300)] + random.normal(size=(300, 2))
        for _ in range(2)
    )
    nearest = _km(left, centres).argmin(axis=1)
    for _ in range(100):
        middle = (left + right) / 2
        same = (_km(middle, centres).argmin(axis=1) == nearest)[:, None]
        left, right = np.where(same, middle, left), np.where(same, right, middle)
    two = np.sort(_km(left, centres), axis=1)[:, :2] * 1e9
    off = np.abs(two - np.round(two))
    return left[(np.round(two[:, 0]) == np.round(two[:, 1])) & (off < 0.4).all(axis=1)]


def _km(places: np.ndarray, centres: np.ndarray) -> np.ndarray:
    (lat1, lon1), (lat2, lon2) = np.radians(places).T[:, :, None], np.radians(centres).T[:, None, :]
    chord = (
        np.sin((lat2 - lat1) / 2) ** 2
        + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    )
    return 2 * EARTH_KM * np.arcsin(np.sqrt(chord))

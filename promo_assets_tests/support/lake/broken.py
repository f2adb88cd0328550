"""Ways to break an event of RAW, so that it must be rejected."""

from datetime import date, timedelta

import numpy as np

# Unreadable times, and times of other days.
_BAD_TIMES = (
    "{day}", "{day} 12:00", "{day} 24:00:00", "{day} 25:00:00", "{day} 12:60:00",
    "{day} 12:00:60", "{day} 9:00:00", "{day} 12:00:00.", "{day} 12:00:00Z", "{day}T12:00:00Z",
    "{day} 12:00:00+00:00", "{day} 12:00:00+00", "{day} 12:00:00 UTC", "{day} 12:00:00,5",
    " {day} 12:00:00", "{day} 12:00:00 ", "{day}  12:00:00", "{day}t12:00:00",
    "{day} 12:00:00\n", "{day}-12:00:00", "{day} 12-00-00", "{year}-02-30 12:00:00",
    "{year}-13-01 12:00:00", "{year}-00-00 00:00:00", "", "now", "1651406400",
    "٢٠٢٢-٠٥-٠١ ١٢:٠٠:٠٠", "{before} 23:59:59", "{before} 23:59:59.9999999", "{after} 00:00:00",
    "{after}T00:00:00", "1970-01-01 00:00:00", "9999-12-31 23:59:59",
)  # fmt: skip
_BAD_USERS = (
    "", " ", "-7", "+7", " 7", "7 ", "7\n", "7.0", "7e3", "0x7", "7_000", "٧", "seven",
    "9223372036854775808", "9" * 40,
)  # fmt: skip
_BAD_PLACES = (
    (90.0000001, 10.0), (-91.0, 10.0), (10.0, 180.0000001), (10.0, -181.0), (151.2, -33.9),
    (91.0, None), (None, -200.0), (np.nan, 10.0), (10.0, np.nan), (np.nan, None), (None, np.nan),
    (np.nan, np.nan), (np.inf, 0.0), (0.0, -np.inf),
)  # fmt: skip
_BAD_TYPES = (None, "story", "messages", " message", "like/dislike", "a=b")


def break_event(turn: int, day: date, row: dict) -> None:
    """Break an event of a day; the number `turn` chooses the way."""
    kind, turn = turn % 16, turn // 16
    event, name = row["event"], _BAD_USERS[(3 * turn + kind) % len(_BAD_USERS)]
    if kind < 6:
        before, after = day - timedelta(days=1), day + timedelta(days=1)
        days = {"day": day, "year": day.year, "before": before, "after": after}
        event["datetime"] = _BAD_TIMES[11 * (6 * turn + kind) % len(_BAD_TIMES)].format(**days)
    elif kind < 9:
        event |= {"message_from": -7, "reaction_from": name, "user": name, "subscription_user": "1"}
    elif kind == 9:
        event |= dict.fromkeys(("message_from", "reaction_from", "user"))
        event["subscription_user"] = name
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

"""A part of a day of the sample's events: what is in them, and what is wrong with some."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from promo_assets.local.sample.people import CIRCLE, DAY_S, Integers, People, Sample
from promo_assets.local.sample.texts import (
    NO_USERS,
    PHRASES,
    REACTIONS,
    TAGS,
    no_times,
    other_days,
    some_lists,
    some_media,
    spoiled,
    time_texts,
)

EVENT = pa.struct(
    {
        "admins": pa.list_(pa.int64()),
        "channel_id": pa.int64(),
        "datetime": pa.string(),
        "media": pa.struct({"media_type": pa.string(), "src": pa.string()}),
        "message": pa.string(),
        "message_channel_to": pa.int64(),
        "message_from": pa.int64(),
        "message_group": pa.int64(),
        "message_id": pa.int64(),
        "message_to": pa.int64(),
        "message_ts": pa.string(),
        "reaction_from": pa.string(),
        "reaction_type": pa.string(),
        "subscription_channel": pa.int64(),
        "subscription_user": pa.string(),
        "tags": pa.list_(pa.string()),
        "user": pa.string(),
    }
)
SCHEMA = pa.schema(
    {"event": EVENT, "event_type": pa.string(), "lat": pa.float64(), "lon": pa.float64()}
)
TYPES = pa.array(
    ["message", "reaction", "subscription", "call", "story"]
)  # nobody knows what the last two are

DAY_US = DAY_S * 1_000_000
BATCH = 200_000  # events made at once
MESSAGE_IDS_PER_DAY = (
    10**8
)  # an id is the day's number times this, plus the message's number in the day
MESSAGES, REACTED = 0.05, 0.25  # shares of the events; the others are subscriptions
NO_POSITION = 0.02
BROKEN = 0.005
NO_USER, NO_TIME, OTHER_DAY, OFF_THE_EARTH, UNKNOWN_TYPE = (
    1,
    2,
    3,
    4,
    5,
)  # what is wrong with them, in equal parts

Mask = NDArray[np.bool_]
Fields = dict[str, pa.Array]


class Events:
    """A batch of a day: messages, then reactions, then subscriptions; shuffled at the end. `first` is the batch's first event."""

    def __init__(self, sample: Sample, people: People, day: date, first: int):
        self._sample, self._people, self._day = sample, people, day
        self._rng = rng = np.random.default_rng([sample.seed, day.toordinal(), first])
        self._rows = rows = min(BATCH, sample.events_per_day - first)
        self._first_message = _messages_of(first)
        messages, reactions = _messages_of(rows), round(REACTED * rows)
        kinds = np.repeat([0, 1, 2], [messages, reactions, rows - messages - reactions])
        self._is_message, self._is_reaction, self._is_subscription = (
            kinds == kind for kind in range(3)
        )
        self._who = (people.count * rng.random(rows) ** 1.3).astype(
            np.int64
        )  # some do more than others
        # The sum of two draws: most is done in the afternoon of eastern Australia.
        self._at_us = (
            (rng.random(rows) + rng.random(rows)) * DAY_US / 2 + 17 / 24 * DAY_US
        ).astype(np.int64) % DAY_US
        self._wrong = np.zeros(rows, np.int8)
        broken = rng.choice(rows, round(BROKEN * rows), replace=False)
        self._wrong[broken] = 1 + np.arange(len(broken)) % UNKNOWN_TYPE
        self._kinds = np.where(self._wrong == UNKNOWN_TYPE, 3 + self._who % 2, kinds)

    def made(self) -> pa.RecordBatch:
        fields = self._times() | self._users() | self._contents()
        fields |= {
            name: _padded(array, self._rows) for name, array in self._message_contents().items()
        }
        event = pa.StructArray.from_arrays(
            [fields[field.name] for field in EVENT], fields=list(EVENT)
        )
        batch = pa.RecordBatch.from_arrays(
            [event, TYPES.take(pa.array(self._kinds)), *self._positions()], schema=SCHEMA
        )
        return batch.take(pa.array(self._rng.permutation(self._rows)))

    def _positions(self) -> tuple[pa.Array, pa.Array]:
        midnight_s = (self._day - date(1970, 1, 1)).days * DAY_S
        lat, lon = self._people.positions(
            self._who, midnight_s + self._at_us // 1_000_000, self._rng
        )
        off = self._wrong == OFF_THE_EARTH
        lat[off & (self._who % 2 == 0)] += 180
        lon[off & (self._who % 2 == 1)] += 360
        chance = self._rng.random(self._rows)
        there = (chance >= NO_POSITION) | off
        return _where(there | (chance < NO_POSITION / 20), lat.round(6)), _where(
            there, lon.round(6)
        )  # a few lack only one

    def _times(self) -> Fields:
        """Most messages have only a `message_ts`, other events rarely; a few events have both."""
        texts = time_texts(self._day, self._at_us, self._rng)
        texts = spoiled(texts, self._wrong == NO_TIME, no_times(self._day))
        texts = spoiled(texts, self._wrong == OTHER_DAY, other_days(self._day))
        chance = self._rng.random(self._rows)
        stamped = chance < np.where(self._is_message, 0.7, 0.1)
        return {
            "datetime": _where(~stamped, texts),
            "message_ts": _where(stamped | (chance > 0.97), texts),
        }

    def _users(self) -> Fields:
        texts = spoiled(
            pc.cast(pa.array(self._who + 1), pa.string()), self._wrong == NO_USER, NO_USERS
        )
        otherwise = self._is_subscription & (self._rng.random(self._rows) < 0.1)
        return {
            "message_from": _where(self._is_message & (self._wrong != NO_USER), self._who + 1),
            "reaction_from": _where(self._is_reaction, texts),
            "user": _where(self._is_subscription & ~otherwise, texts),
            "subscription_user": _where(otherwise, texts),
        }

    def _contents(self) -> Fields:
        rng, rows = self._rng, self._rows
        channels = self._channels(rows)
        # A reaction is to a message of this day or one of the two before; few messages get most of them.
        reacted = (_messages_of(self._sample.events_per_day) * rng.random(rows) ** 3).astype(
            np.int64
        )
        written = self._first_message + np.arange(rows)
        days = self._day.toordinal() - np.where(self._is_message, 0, rng.integers(0, 3, rows))
        return {
            "message_id": _where(
                ~self._is_subscription,
                days * MESSAGE_IDS_PER_DAY + np.where(self._is_message, written, reacted),
            ),
            "reaction_type": _where(
                self._is_reaction, REACTIONS.take(pa.array(rng.integers(0, len(REACTIONS), rows)))
            ),
            "channel_id": _where(self._is_reaction & (reacted % 2 == 0), channels),
            "subscription_channel": _where(self._is_subscription, channels),
        }

    def _message_contents(self) -> Fields:
        """Of the messages only: direct ones go to friends, the others to a channel or a group."""
        rng, who = self._rng, self._who[self._is_message]
        rows, channels = len(who), self._channels(len(who))
        friends = self._people.friends(who, rng.integers(0, CIRCLE, rows))
        chance = rng.random(rows)
        direct, to_channel = (chance < 0.65) & (friends != who), chance > 0.7
        return {
            "message": PHRASES.take(pa.array(rng.integers(0, len(PHRASES), rows))),
            "message_to": _where(direct, friends + 1),
            "message_channel_to": _where(to_channel, channels),
            "message_group": _where(~direct & ~to_channel, channels),
            "admins": some_lists(pa.array(friends + 1), chance > 0.9, rng),
            "tags": some_lists(TAGS, rng.random(rows) < 0.3, rng),
            "media": some_media(friends, rng.random(rows) < 0.1, rng),
        }

    def _channels(self, rows: int) -> Integers:
        """Ids by Zipf's law: channel n in proportion to log(1 + 1/n), which is about 1/n."""
        return np.exp(self._rng.random(rows) * np.log(self._sample.channels + 1)).astype(np.int64)


def _messages_of(events: int) -> int:
    """How many of a day's first events are messages."""
    batches, rest = divmod(events, BATCH)
    return batches * round(MESSAGES * BATCH) + round(MESSAGES * rest)


def _where(mask: Mask, values: pa.Array | NDArray) -> pa.Array:
    """The values where told, else null."""
    if isinstance(values, np.ndarray):
        return pa.array(values, mask=~mask)
    return pc.if_else(pa.array(mask), values, pa.scalar(None, values.type))  # pyright: ignore[reportAttributeAccessIssue]


def _padded(array: pa.Array, rows: int) -> pa.Array:
    return pa.concat_arrays([array, pa.nulls(rows - len(array), array.type)])

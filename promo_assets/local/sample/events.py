"""A batch of the sample's events of a day: what they contain, and what is wrong with some."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql.pandas.types import to_arrow_schema

from promo_assets.lake.tables import RAW_EVENTS
from promo_assets.local.sample.people import CIRCLE, DAY_S, Integers, People, Sample
from promo_assets.local.sample.texts import (
    NO_USERS,
    PHRASES,
    REACTIONS,
    TAGS,
    format_times,
    make_lists,
    make_media,
    replace_in_turn,
    times_of_other_days,
    unreadable_times,
)

SCHEMA = to_arrow_schema(RAW_EVENTS.schema)
EVENT_FIELDS = list(SCHEMA.field("event").type)
TYPES = pa.array(["message", "reaction", "subscription", "call", "story"])  # the last two: unknown

DAY_US = DAY_S * 1_000_000
BATCH = 200_000  # events that are made at once
# The id of a message is the number of its day times this, plus its number within the day.
MESSAGE_IDS_PER_DAY = 10**8
MESSAGES, REACTED = 0.05, 0.25  # shares of the events; all others are subscriptions
NO_POSITION = 0.02
BROKEN = 0.005
# What is wrong with broken events, in equal parts.
NO_USER, NO_TIME, OTHER_DAY, OFF_THE_EARTH, UNKNOWN_TYPE = 1, 2, 3, 4, 5

Mask = NDArray[np.bool_]
Fields = dict[str, pa.Array]


class Events:
    """A batch of a day: messages, then reactions, then subscriptions, shuffled at the end.

    `first` is the number of the batch's first event within the day.
    """

    def __init__(self, sample: Sample, people: People, day: date, first: int):
        self._sample, self._people, self._day = sample, people, day
        self._rng = rng = np.random.default_rng([sample.seed, day.toordinal(), first])
        self._rows = rows = min(BATCH, sample.events_per_day - first)
        self._first_message = _count_messages(first)
        messages, reactions = _count_messages(rows), round(REACTED * rows)
        kinds = np.repeat([0, 1, 2], [messages, reactions, rows - messages - reactions])
        self._is_message, self._is_reaction, self._is_subscription = (
            kinds == kind for kind in range(3)
        )
        # Some users are more active than others.
        self._who = (people.count * rng.random(rows) ** 1.3).astype(np.int64)
        # The sum of two draws: most events happen in the afternoon of eastern Australia.
        since_17h_us = (rng.random(rows) + rng.random(rows)) * DAY_US / 2
        self._at_us = (since_17h_us + 17 / 24 * DAY_US).astype(np.int64) % DAY_US
        self._wrong = np.zeros(rows, np.int8)
        broken = rng.choice(rows, round(BROKEN * rows), replace=False)
        self._wrong[broken] = 1 + np.arange(len(broken)) % UNKNOWN_TYPE
        self._kinds = np.where(self._wrong == UNKNOWN_TYPE, 3 + self._who % 2, kinds)

    def make_batch(self) -> pa.RecordBatch:
        """Return the batch in the schema of RAW."""
        fields = self._times() | self._users() | self._contents()
        contents = self._message_contents()
        fields |= {name: _pad(array, self._rows) for name, array in contents.items()}
        arrays = [fields[field.name] for field in EVENT_FIELDS]
        event = pa.StructArray.from_arrays(arrays, fields=EVENT_FIELDS)
        event_type = TYPES.take(pa.array(self._kinds))
        batch = pa.RecordBatch.from_arrays([event, event_type, *self._positions()], schema=SCHEMA)
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
        has_position = (chance >= NO_POSITION) | off
        has_lat = has_position | (chance < NO_POSITION / 20)  # a few lack only the longitude
        return _null_unless(has_lat, lat.round(6)), _null_unless(has_position, lon.round(6))

    def _times(self) -> Fields:
        """Return the two columns of times.

        Most messages have only a `message_ts`, few other events do; a few events have both columns.
        """
        texts = format_times(self._day, self._at_us, self._rng)
        texts = replace_in_turn(texts, self._wrong == NO_TIME, unreadable_times(self._day))
        texts = replace_in_turn(texts, self._wrong == OTHER_DAY, times_of_other_days(self._day))
        chance = self._rng.random(self._rows)
        stamped = chance < np.where(self._is_message, 0.7, 0.1)
        return {
            "datetime": _null_unless(~stamped, texts),
            "message_ts": _null_unless(stamped | (chance > 0.97), texts),
        }

    def _users(self) -> Fields:
        ids = pc.cast(pa.array(self._who + 1), pa.string())
        texts = replace_in_turn(ids, self._wrong == NO_USER, NO_USERS)
        # A tenth of the subscriptions name the user in the other column.
        is_other = self._is_subscription & (self._rng.random(self._rows) < 0.1)
        return {
            "message_from": _null_unless(
                self._is_message & (self._wrong != NO_USER), self._who + 1
            ),
            "reaction_from": _null_unless(self._is_reaction, texts),
            "user": _null_unless(self._is_subscription & ~is_other, texts),
            "subscription_user": _null_unless(is_other, texts),
        }

    def _contents(self) -> Fields:
        rng, rows = self._rng, self._rows
        channels = self._channels(rows)
        # A reaction is to a message of this day or of the two days before; few messages get most of
        # the reactions.
        messages = _count_messages(self._sample.events_per_day)
        reacted = (messages * rng.random(rows) ** 3).astype(np.int64)
        written = self._first_message + np.arange(rows)
        days = self._day.toordinal() - np.where(self._is_message, 0, rng.integers(0, 3, rows))
        numbers = np.where(self._is_message, written, reacted)
        message_ids = days * MESSAGE_IDS_PER_DAY + numbers
        reactions = REACTIONS.take(pa.array(rng.integers(0, len(REACTIONS), rows)))
        return {
            "message_id": _null_unless(~self._is_subscription, message_ids),
            "reaction_type": _null_unless(self._is_reaction, reactions),
            "channel_id": _null_unless(self._is_reaction & (reacted % 2 == 0), channels),
            "subscription_channel": _null_unless(self._is_subscription, channels),
        }

    def _message_contents(self) -> Fields:
        """Return columns of the messages only.

        Direct messages go to friends, the others to a channel or a group.
        """
        rng, who = self._rng, self._who[self._is_message]
        rows, channels = len(who), self._channels(len(who))
        friends = self._people.friends(who, rng.integers(0, CIRCLE, rows))
        chance = rng.random(rows)
        direct, to_channel = (chance < 0.65) & (friends != who), chance > 0.7
        return {
            "message": PHRASES.take(pa.array(rng.integers(0, len(PHRASES), rows))),
            "message_to": _null_unless(direct, friends + 1),
            "message_channel_to": _null_unless(to_channel, channels),
            "message_group": _null_unless(~direct & ~to_channel, channels),
            "admins": make_lists(pa.array(friends + 1), chance > 0.9, rng),
            "tags": make_lists(TAGS, rng.random(rows) < 0.3, rng),
            "media": make_media(friends, rng.random(rows) < 0.1, rng),
        }

    def _channels(self, rows: int) -> Integers:
        """Draw channel ids by Zipf's law: n in proportion to log(1 + 1/n), which is about 1/n."""
        return np.exp(self._rng.random(rows) * np.log(self._sample.channels + 1)).astype(np.int64)


def _count_messages(events: int) -> int:
    """Return how many of a day's first events are messages."""
    batches, rest = divmod(events, BATCH)
    return batches * round(MESSAGES * BATCH) + round(MESSAGES * rest)


def _null_unless(mask: Mask, values: pa.Array | NDArray) -> pa.Array:
    """Return the values where the mask is true, and null elsewhere."""
    if isinstance(values, np.ndarray):
        return pa.array(values, mask=~mask)
    return pc.if_else(pa.array(mask), values, pa.scalar(None, values.type))  # pyright: ignore[reportAttributeAccessIssue]


def _pad(array: pa.Array, rows: int) -> pa.Array:
    return pa.concat_arrays([array, pa.nulls(rows - len(array), array.type)])

"""Texts, lists and media of the sample's events, made for many rows at once."""

from collections.abc import Sequence
from datetime import date
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

PHRASES = pa.array(
    f"{opening} {rest}"
    for opening in (
        "Hi!",
        "Ok,",
        "Listen:",
        "Привет,",
        "No idea,",
        "Haha 😀",
        "By the way,",
        "Sorry,",
    )
    for rest in (
        "see you at seven",
        "the train is late again",
        "did you try the new place at the harbour?",
        "call me back",
        "it rains here; and there?",
        "I have two tickets for Saturday",
        "thank you so much",
        "the recipe:\n2 eggs, 100 g of flour, milk",
        'he said "maybe"',
        "what a match",
    )
)
TAGS = pa.array(["news", "food", "music", "sports", "family", "work", "travel", "cats"])
REACTIONS = pa.array(["like", "dislike", "heart", "laugh", "sad", "fire"])
MEDIA_TYPES = pa.array(["photo", "video", "sticker"])
NO_USERS = (None, "", "guest", "4.2", "-1")

# Characters of YYYY-MM-DD HH:MM:SS without a fraction, with 3 and with 6 digits of one.
_PLAIN, _MILLIS, _MICROS = 19, 23, 26
_LENGTHS = np.array([_PLAIN] * 5 + [_MILLIS] * 3 + [_MICROS] * 2)


def unreadable_times(day: date) -> tuple[str | None, ...]:
    """Return values that are not times, or are ambiguous."""
    return (
        None,
        "",
        "yesterday",
        "2022-13-45 99:99:99",
        f"{day} 10:00",
        f"{day}T10:00:00Z",
        f"{day} 10:00:00+10:00",
        "1650000000",
    )


def times_of_other_days(day: date) -> tuple[str, ...]:
    """Return times just before and after a day."""
    before, after = (
        date.fromordinal(min(max(day.toordinal() + days, 1), date.max.toordinal()))
        for days in (-1, 1)
    )
    return tuple(
        time
        for time in (f"{before} 23:59:59", f"{after}T00:00:00")
        if not time.startswith(str(day))
    )


def format_times(day: date, at_us: NDArray[np.int64], rng: np.random.Generator) -> pa.StringArray:
    """Format times of a day, given in microseconds since midnight, in all the ways that occur.

    One in five has a `T` between date and time; half of them have a fraction of a second.
    """
    rows = len(at_us)
    second, micro = np.divmod(at_us, 1_000_000)
    text = np.empty((rows, _MICROS), np.uint8)
    text[:, :10] = np.frombuffer(day.isoformat().encode(), np.uint8)
    text[:, 10] = np.where(rng.random(rows) < 0.2, ord("T"), ord(" "))
    text[:, 11:19] = _clock()[second]
    text[:, 19] = ord(".")
    text[:, 20:23], text[:, 23:] = _digits(3)[micro // 1000], _digits(3)[micro % 1000]
    lengths = _LENGTHS[rng.integers(0, len(_LENGTHS), rows)]
    characters = text[np.arange(_MICROS) < lengths[:, None]]
    return pa.StringArray.from_buffers(
        rows, pa.py_buffer(_offsets(lengths)), pa.py_buffer(characters)
    )


def replace_in_turn(
    texts: pa.Array, where: NDArray[np.bool_], values: Sequence[str | None]
) -> pa.Array:
    """Replace the texts where the mask is true by the values in turn."""
    in_turn = pa.array(values, pa.string()).take(pa.array(np.arange(where.sum()) % len(values)))
    return pc.replace_with_mask(texts, where, in_turn)  # pyright: ignore[reportAttributeAccessIssue]


def make_lists(
    values: pa.Array, where: NDArray[np.bool_], rng: np.random.Generator
) -> pa.ListArray:
    """Return lists of up to three of the values where the mask is true, and null elsewhere."""
    lengths = np.where(where, rng.integers(0, 4, len(where)), 0)
    chosen = values.take(pa.array(rng.integers(0, len(values), lengths.sum())))
    return pa.ListArray.from_arrays(pa.array(_offsets(lengths)), chosen, mask=pa.array(~where))


def make_media(
    numbers: NDArray[np.int64], where: NDArray[np.bool_], rng: np.random.Generator
) -> pa.StructArray:
    """Return media where the mask is true, and null elsewhere."""
    types = MEDIA_TYPES.take(pa.array(rng.integers(0, len(MEDIA_TYPES), len(where))))
    urls = pa.array([f"https://media.example/{number}" for number in range(1000)])
    arrays = [types, urls.take(pa.array(numbers % 1000))]
    return pa.StructArray.from_arrays(arrays, names=["media_type", "src"], mask=pa.array(~where))


def _offsets(lengths: NDArray[np.integer]) -> NDArray[np.int32]:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)


@cache
def _digits(count: int) -> NDArray[np.uint8]:
    """Return a table of characters whose row n is the digits of n."""
    digits = np.arange(10**count)[:, None] // 10 ** np.arange(count - 1, -1, -1) % 10
    return (digits + ord("0")).astype(np.uint8)


@cache
def _clock() -> NDArray[np.uint8]:
    """Return a table of characters whose row n is HH:MM:SS of second n of a day."""
    second, two = np.arange(86_400), _digits(2)
    colon = np.full((86_400, 1), ord(":"), np.uint8)
    return np.hstack([two[second // 3600], colon, two[second // 60 % 60], colon, two[second % 60]])

"""Dead letters in a topic of the test's own."""

from collections.abc import Iterable

import pytest

from promo_assets_tests.support.command_line import Record, put

HEADERS = {
    "reason": "the value is not JSON",
    "source_topic": "in",
    "source_partition": "2",
    "source_offset": "7",
}


@pytest.fixture
def letters(env: dict[str, str]) -> list[Record]:
    """Three dead letters: with a terminal's control characters, null, and not UTF-8."""
    records: list[Record] = [(b"k", b"\x1b[31mred"), (None, None), (b"\xff", b"\xfe")]
    put(env, "PROMO_TOPIC_DEAD_LETTERS", *((key, value, HEADERS) for key, value in records))
    return records


def as_texts(records: Iterable[Record]) -> list[str]:
    """Return the records in an order of their own, whatever partition they are in."""
    return sorted(map(repr, records))

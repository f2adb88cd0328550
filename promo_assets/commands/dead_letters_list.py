"""`dead-letters list`: show what the dead-letter topic holds; `dead_letters_replay.py` sends it."""

import base64
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import Message
from confluent_kafka.admin import AclOperation
from rich.console import Console
from rich.table import Table
from rich.text import Text

from promo_assets.commands import console
from promo_assets.commands.console import printable
from promo_assets.commands.kafka_client import find_topic, read_to_end
from promo_assets.settings import load_settings

PREVIEW_CHARACTERS = 60


@dataclass(frozen=True)
class DeadLetter:
    """A rejected message with its original key and value.

    partition, offset: the letter's own place, in the dead-letter topic. source_topic,
    source_partition, source_offset: the texts of the headers that name the rejected message's.
    """

    partition: int
    offset: int
    rejected_at: datetime
    reason: str | None
    source_topic: str | None
    source_partition: str | None
    source_offset: str | None
    key: bytes | None
    value: bytes | None

    @property
    def letter_id(self) -> str:
        return f"{self.partition}-{self.offset}"


def parse_dead_letter(message: Message) -> DeadLetter:
    headers = {name: _decode(value) for name, value in message.headers() or []}
    return DeadLetter(
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        rejected_at=datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
        reason=headers.get("reason"),
        source_topic=headers.get("source_topic"),
        source_partition=headers.get("source_partition"),
        source_offset=headers.get("source_offset"),
        key=message.key(),
        value=message.value(),
    )


def list_dead_letters(as_json: bool) -> None:
    settings = load_settings()
    topic = find_topic(settings, settings.topic_dead_letters, AclOperation.READ)
    letters = (parse_dead_letter(message) for message in read_to_end(settings, topic))
    if as_json or not sys.stdout.isatty():
        for letter in letters:
            print(json.dumps(_as_json(letter)))
        return
    table = _as_table(letters)
    if table.row_count:
        Console().print(table)
    else:
        console.info(f"no dead letters in topic {topic.name}")


def _as_table(letters: Iterable[DeadLetter]) -> Table:
    names = ("id", "rejected at (UTC)", "reason", "source", "key", "value")
    table = Table(*names, caption_justify="left")
    for letter in sorted(letters, key=lambda letter: letter.rejected_at):
        place = f"{letter.source_partition or '?'}-{letter.source_offset or '?'}"
        cells = (
            letter.letter_id,
            f"{letter.rejected_at:%Y-%m-%d %H:%M:%S}",
            letter.reason or "",
            f"{letter.source_topic} {place}",
            _preview(letter.key),
            _preview(letter.value),
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _as_json(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.letter_id,
        "rejected_at": letter.rejected_at.isoformat(timespec="milliseconds"),
        "reason": letter.reason,
        "source_topic": letter.source_topic,
        "source_partition": _as_number(letter.source_partition),
        "source_offset": _as_number(letter.source_offset),
        **_bytes_as_json("key", letter.key),
        **_bytes_as_json("value", letter.value),
    }


def _as_number(text: str | None) -> int | str | None:
    """Return a header's text as a number, or as it is where somebody else wrote something else."""
    return int(text) if text and text.isdigit() else text


def _bytes_as_json(name: str, value: bytes | None) -> dict[str, str | None]:
    try:
        return {name: value if value is None else value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value or b"").decode()}


def _preview(value: bytes | None) -> str:
    if value is None:
        return "(null)"
    text = _decode(value) or ""
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"


def _decode(value: bytes | str | None) -> str | None:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value

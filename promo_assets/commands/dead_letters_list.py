"""Dead letters as they lie in their topic, and `dead-letters list`."""

import base64
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import Message
from confluent_kafka.admin import AclOperation
from rich.console import Console
from rich.table import Table
from rich.text import Text

from promo_assets.commands import console
from promo_assets.commands.console import printable
from promo_assets.commands.kafka import find_topic, read_to_end
from promo_assets.settings import load_settings

PREVIEW_CHARACTERS = 60


@dataclass(frozen=True)
class DeadLetter:
    """A rejected message with its original key and value; the id is its own partition and offset."""

    partition: int
    offset: int
    rejected_at: datetime
    reason: str | None
    source: dict[str, str | None]
    key: bytes | None
    value: bytes | None

    @property
    def letter_id(self) -> str:
        return f"{self.partition}-{self.offset}"


def as_dead_letter(message: Message) -> DeadLetter:
    headers = {name: _text(value) for name, value in message.headers() or []}
    return DeadLetter(
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        rejected_at=datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
        reason=headers.get("reason"),
        source={part: headers.get(f"source_{part}") for part in ("topic", "partition", "offset")},
        key=message.key(),
        value=message.value(),
    )


def list_dead_letters(as_json: bool) -> None:
    settings = load_settings()
    topic = find_topic(settings, settings.topic_dead_letters, AclOperation.READ)
    letters = (as_dead_letter(message) for message in read_to_end(settings, topic))
    if as_json or not sys.stdout.isatty():
        for letter in letters:
            print(json.dumps(_as_json(letter)))
        return
    table = Table(
        "id", "rejected at (UTC)", "reason", "source", "key", "value", caption_justify="left"
    )
    for letter in sorted(letters, key=lambda letter: letter.rejected_at):
        came_from = "-".join(
            each or "?" for each in (letter.source["partition"], letter.source["offset"])
        )
        cells = [
            letter.letter_id,
            f"{letter.rejected_at:%Y-%m-%d %H:%M:%S}",
            letter.reason or "",
            f"{letter.source['topic']} {came_from}",
        ]
        table.add_row(
            *(
                Text(printable(cell))
                for cell in [*cells, _preview(letter.key), _preview(letter.value)]
            )
        )
    if not table.row_count:
        console.info(f"no dead letters in topic {topic.name}")
        return
    Console().print(table)


def _as_json(letter: DeadLetter) -> dict[str, object]:
    source = {
        part: int(text) if text and text.isdigit() and part != "topic" else text
        for part, text in letter.source.items()
    }
    return {
        "id": letter.letter_id,
        "rejected_at": letter.rejected_at.isoformat(timespec="milliseconds"),
        "reason": letter.reason,
        **{f"source_{part}": value for part, value in source.items()},
        **_bytes_as_json("key", letter.key),
        **_bytes_as_json("value", letter.value),
    }


def _bytes_as_json(name: str, value: bytes | None) -> dict[str, str | None]:
    try:
        return {name: value if value is None else value.decode()}
    except UnicodeDecodeError:
        return {name + "_base64": base64.b64encode(value or b"").decode()}


def _preview(value: bytes | None) -> str:
    if value is None:
        return "(null)"
    text = _text(value) or ""
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"


def _text(value: bytes | str | None) -> str | None:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value

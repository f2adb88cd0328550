"""`campaigns send`."""

import sys
from pathlib import Path

from confluent_kafka.admin import AclOperation

from promo_assets.commands import console
from promo_assets.commands.console import UserError, count_of
from promo_assets.commands.kafka import AllOrNothing, find_topic
from promo_assets.settings import load_settings
from promo_assets.stream.messages import RejectedMessage, parse_campaign

Messages = list[tuple[int, bytes | None, bytes]]  # line number, key, value


def send_campaigns(file: Path | None, raw: bool) -> None:
    settings = load_settings()
    source = str(file) if file else "standard input"
    lines = _read_lines(file)
    messages: Messages = (
        [(number, None, line) for number, line in lines] if raw else _checked(lines, source)
    )
    topic = find_topic(settings, settings.topic_in, AclOperation.WRITE)
    if messages:
        producer = AllOrNothing(settings, topic)
        with producer.transaction():
            for number, key, value in messages:
                producer.send(key, value, f"{source}, line {number}")
    sent = count_of(len(messages), "messages" if raw else "campaigns")
    console.info(f"sent {sent} to topic {topic.name} on Kafka at {settings.bootstrap_servers}")


def _read_lines(file: Path | None) -> list[tuple[int, bytes]]:
    try:
        if file:
            content = file.read_bytes()
        else:
            if sys.stdin.isatty():
                console.info(
                    "reading campaigns from the terminal: one JSON object a line, Ctrl-D ends"
                )
            content = sys.stdin.buffer.read()
    except OSError as error:
        raise UserError(f"{file or 'standard input'} cannot be read: {error.strerror}") from None
    lines = content.split(b"\n")  # only this ends a line: others may stand in a text
    if lines[-1] == b"":
        lines.pop()
    return list(enumerate(lines, start=1))


def _checked(lines: list[tuple[int, bytes]], source: str) -> Messages:
    """Raises `UserError` for the first line that is no campaign, and says how many more there are."""
    messages: Messages = []
    wrong: list[str] = []
    for number, line in lines:
        if line.strip():
            try:
                messages.append(
                    (number, parse_campaign(line).restaurant_id.encode(), line.removesuffix(b"\r"))
                )
            except RejectedMessage as reason:
                wrong.append(f"line {number}: {reason}")
    if wrong:
        others = (
            f" (and {len(wrong) - 1:,} more wrong {'line' if len(wrong) == 2 else 'lines'})"
            if wrong[1:]
            else ""
        )
        raise UserError(f"{source}, {wrong[0]}{others}. Nothing was sent")
    return messages

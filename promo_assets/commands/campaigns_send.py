"""`campaigns send`: publish campaigns from a file or standard input, all or none."""

import sys
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import AclOperation

from promo_assets.commands import console
from promo_assets.commands.console import UserError, count_of
from promo_assets.commands.kafka_client import find_topic
from promo_assets.commands.transactional_sender import TransactionalSender
from promo_assets.settings import load_settings
from promo_assets.stream.messages import RejectedMessage, parse_campaign


class InputMessage(NamedTuple):
    """A message to send, and the number of its line in the input, from 1."""

    line_number: int
    key: bytes | None
    value: bytes


def send_campaigns(file: Path | None, raw: bool) -> None:
    settings = load_settings()
    source = str(file) if file else "standard input"
    lines = _read_lines(file)
    messages = _keep_lines(lines) if raw else _parse_campaigns(lines, source)
    topic = find_topic(settings, settings.topic_in, AclOperation.WRITE)
    if messages:
        sender = TransactionalSender(settings, topic)
        with sender.transaction():
            for message in messages:
                place = f"{source}, line {message.line_number}"
                sender.send(message.key, message.value, place)
    sent = count_of(len(messages), "messages" if raw else "campaigns")
    console.info(f"sent {sent} to topic {topic.name} on Kafka at {settings.bootstrap_servers}")


def _read_lines(file: Path | None) -> list[tuple[int, bytes]]:
    """Return the input's lines with their numbers, from 1."""
    try:
        if file:
            content = file.read_bytes()
        else:
            if sys.stdin.isatty():
                console.info(
                    "reading campaigns from the terminal: one JSON object per line, Ctrl-D ends"
                )
            content = sys.stdin.buffer.read()
    except OSError as error:
        raise UserError(f"Cannot read {file or 'standard input'}: {error.strerror}") from None
    lines = content.split(b"\n")  # other line separators may be part of a campaign's text
    if lines[-1] == b"":
        lines.pop()
    return list(enumerate(lines, start=1))


def _keep_lines(lines: list[tuple[int, bytes]]) -> list[InputMessage]:
    return [InputMessage(number, None, line) for number, line in lines]


def _parse_campaigns(lines: list[tuple[int, bytes]], source: str) -> list[InputMessage]:
    """Check each line that is not blank, and return it as a message with its restaurant as key.

    Raises `UserError` that names the first invalid line and counts the others.
    """
    messages: list[InputMessage] = []
    problems: list[str] = []
    for number, line in lines:
        if not line.strip():
            continue
        try:
            key = parse_campaign(line).restaurant_id.encode()
        except RejectedMessage as reason:
            problems.append(f"line {number}: {reason}")
        else:
            messages.append(InputMessage(number, key, line.removesuffix(b"\r")))
    if problems:
        first, *others = problems
        more = f" (and {count_of(len(others), 'more invalid lines')})" if others else ""
        raise UserError(f"{source}, {first}{more}. Nothing was sent")
    return messages

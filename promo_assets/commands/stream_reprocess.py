"""`stream reprocess`: the input topic is read again, and what it made up for is told."""

from collections.abc import Sequence
from datetime import UTC, datetime

from confluent_kafka import KafkaException
from confluent_kafka.admin import AclOperation

from promo_assets.commands.console import UserError
from promo_assets.commands.kafka import find_topic, unreachable_message
from promo_assets.commands.stream_run import run_stream_in_foreground
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.pipeline.reprocess import OutOfRange, check_offsets, offsets_at


def reprocess(from_time: str | None, from_offsets: Sequence[str]) -> None:
    if (from_time is None) == (not from_offsets):
        raise UserError(
            "say from where to read again: --from-time, or --from-offset for each partition that is to be read again"
        )
    time = _time(from_time) if from_time is not None else None
    offsets = _offsets(from_offsets)
    settings = load_settings()
    run_stream_in_foreground(
        settings,
        "promo-assets stream reprocess",
        until_caught_up=True,
        again_from=_resolved(settings, time, offsets),
    )


def _resolved(settings: Settings, time: datetime | None, offsets: dict[int, int]) -> dict[int, int]:
    find_topic(settings, settings.topic_in, AclOperation.READ)
    try:
        return offsets_at(settings, time) if time else check_offsets(settings, offsets)
    except OutOfRange as problem:
        raise UserError(f"--from-offset: {problem}") from None
    except KafkaException as error:
        raise unreachable_message(
            settings, error.args[0], topics=f"READ on topic {settings.topic_in}"
        ) from None


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--from-time {text}: a time like 2026-01-31T12:00:00Z is needed") from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    if time > datetime.now(UTC):
        raise UserError(f"--from-time {text}: that time has not come yet")
    if time.timestamp() < 0:
        raise UserError(f"--from-time {text}: Kafka's times begin with 1970")
    return time


def _offsets(texts: Sequence[str]) -> dict[int, int]:
    offsets: dict[int, int] = {}
    for partition, offset in map(_offset, texts):
        if partition in offsets:
            first = offsets[partition]
            raise UserError(
                f"--from-offset {partition}:{offset}: partition {partition} is named twice, and {first} was said first"
            )
        offsets[partition] = offset
    return offsets


def _offset(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    if not (partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()):
        raise UserError(f"--from-offset {text}: PARTITION:OFFSET is needed, like 0:1200")
    return int(partition), int(offset)

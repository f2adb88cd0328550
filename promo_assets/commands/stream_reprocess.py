"""`stream reprocess`: read the input topic again, and send what was missed."""

from collections.abc import Sequence
from datetime import UTC, datetime

from confluent_kafka import KafkaException
from confluent_kafka.admin import AclOperation

from promo_assets.commands.console import UserError
from promo_assets.commands.kafka_client import as_command_error, find_topic
from promo_assets.commands.stream_run import run_stream_in_foreground
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.pipeline.reprocess import OutOfRange, check_offsets, offsets_at


def reprocess_stream(from_time: str | None, from_offsets: Sequence[str]) -> None:
    if (from_time is None) == (not from_offsets):
        raise UserError(
            "From where to read again is needed: either --from-time, "
            "or --from-offset for each partition that is to be read again"
        )
    start_at = _parse_time(from_time) if from_time is not None else None
    offsets = _parse_offsets(from_offsets)
    settings = load_settings()
    run_stream_in_foreground(
        settings,
        "promo-assets stream reprocess",
        until_caught_up=True,
        again_from=_find_offsets(settings, start_at, offsets),
    )


def _find_offsets(
    settings: Settings, start_at: datetime | None, offsets: dict[int, int]
) -> dict[int, int]:
    """Return the offsets, by partition, from which to read; raises `UserError`, `CommandError`."""
    find_topic(settings, settings.topic_in, AclOperation.READ)
    try:
        return offsets_at(settings, start_at) if start_at else check_offsets(settings, offsets)
    except OutOfRange as error:
        raise UserError(f"--from-offset: {error}") from None
    except KafkaException as error:
        right = f"READ on topic {settings.topic_in}"
        raise as_command_error(settings, error.args[0], topics=right) from None


def _parse_time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--from-time {text}: not a time such as 2026-01-31T12:00:00Z") from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    if time > datetime.now(UTC):
        raise UserError(f"--from-time {text}: this time is in the future")
    if time.timestamp() < 0:
        raise UserError(f"--from-time {text}: Kafka's times begin with 1970")
    return time


def _parse_offsets(texts: Sequence[str]) -> dict[int, int]:
    offsets: dict[int, int] = {}
    for partition, offset in map(_parse_offset, texts):
        if partition in offsets:
            raise UserError(
                f"--from-offset {partition}:{offset}: partition {partition} is named twice, "
                f"first with offset {offsets[partition]}"
            )
        offsets[partition] = offset
    return offsets


def _parse_offset(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    if not (partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()):
        raise UserError(f"--from-offset {text}: not PARTITION:OFFSET, such as 0:1200")
    return int(partition), int(offset)

"""Rows of RAW for tests, and a writer of RAW days. The schema is written down from the contract."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Place = tuple[float | None, float | None]  # latitude and longitude, degrees
DatedRow = tuple[date, dict]  # a row of RAW and the day of its partition

_LONGS = [
    "channel_id",
    "message_channel_to",
    "message_from",
    "message_group",
    "message_id",
    "message_to",
    "subscription_channel",
]
_STRINGS = [
    "datetime",
    "message",
    "message_ts",
    "reaction_from",
    "reaction_type",
    "subscription_user",
    "user",
]
_EVENT = {
    "admins": pa.list_(pa.int64()),
    "media": pa.struct([("media_type", pa.string()), ("src", pa.string())]),
    "tags": pa.list_(pa.string()),
    **dict.fromkeys(_LONGS, pa.int64()),
    **dict.fromkeys(_STRINGS, pa.string()),
}
RAW_SCHEMA = pa.schema(
    [
        ("event", pa.struct(sorted(_EVENT.items()))),
        ("event_type", pa.string()),
        ("lat", pa.float64()),
        ("lon", pa.float64()),
    ]
)


def write_day(raw_folder: Path, day: date, rows: list[dict], file: str = "part-0.parquet") -> None:
    folder = raw_folder / f"date={day.isoformat()}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=RAW_SCHEMA), folder / file)


def message(
    user: int | None,
    at: str,
    place: Place,
    message_id: int | None = None,
    to: int | None = None,
    **event: object,
) -> dict:
    fields = {"message_from": user, "message_ts": at, "message_id": message_id, "message_to": to}
    return _row("message", fields | {"message": "hi"} | event, place)


def reaction(
    user: str | None, at: str, place: Place, message_id: int | None = None, **event: object
) -> dict:
    fields = {"reaction_from": user, "datetime": at, "message_id": message_id}
    return _row("reaction", fields | {"reaction_type": "like"} | event, place)


def subscription(
    user: str | None, at: str, place: Place, channel: int | None = None, **event: object
) -> dict:
    fields = {"user": user, "datetime": at, "subscription_channel": channel}
    return _row("subscription", fields | event, place)


def _row(event_type: str, event: dict, place: Place) -> dict:
    return {"event": event, "event_type": event_type, "lat": place[0], "lon": place[1]}

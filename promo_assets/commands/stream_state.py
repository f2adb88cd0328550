"""How the stream is doing, as any process can read it from Postgres and Kafka.

Reading takes about a second and needs no Spark. `status_lines.py` puts it into words.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from confluent_kafka import KafkaException

from promo_assets.local.services import Status
from promo_assets.settings import Settings
from promo_assets.stream.errors import LedgerError, first_line
from promo_assets.stream.kafka.lag import count_behind, oldest_unread_s
from promo_assets.stream.kafka.topics import InputOffsets, fetch_input_offsets
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.lease import Heartbeat, ReadOffsets, read_heartbeat, read_status
from promo_assets.stream.ledger.ledger import count_waiting
from promo_assets.stream.ledger.schema import check_ledger
from promo_assets.stream.ledger.waiting import WaitingCampaign, read_waiting

KAFKA_TIMEOUT_S = 3
LISTED_WAITING_CAMPAIGNS = 5


@dataclass(frozen=True)
class Service:
    """Whether a service answers; a service that answers may still report an error."""

    answers: bool = False
    error: str | None = None


@dataclass(frozen=True)
class StreamState:
    """The stream that runs, or ran last. Times are unix seconds; None is unknown.

    metrics: counted since that stream's start. lag_seconds: the age of the oldest message in Kafka
    that no finished micro-batch has read, 0 where there is none. waiting_campaigns: the next ones
    to start.
    """

    running: bool | None = None
    holder: str | None = None
    started_at: float | None = None
    heartbeat_at: float | None = None
    heartbeat_age_seconds: float | None = None
    last_error: str | None = None
    metrics: dict[str, Any] | None = None
    lag_messages: int | None = None
    lag_seconds: float | None = None
    waiting: int | None = None
    next_start: int | None = None
    waiting_campaigns: list[WaitingCampaign] | None = None


@dataclass(frozen=True)
class State:
    kafka: Service
    postgres: Service
    stream: StreamState


def read_state(settings: Settings, addresses: Status) -> State:
    """Read what can be read: a service that is away is reported in its part, never raised.

    What depends on it is None.
    """
    kafka, ends = Service(), None
    postgres, stream, read = Service(), StreamState(), None
    with ThreadPoolExecutor() as pool:  # two services that are away take as long as one
        kafka_future = pool.submit(_read_kafka, settings) if addresses.kafka else None
        if addresses.postgres_url:
            postgres, stream, read = _read_postgres(settings)
        if kafka_future:
            kafka, ends = kafka_future.result()
    if ends and read and read["topic_id"] == ends.topic_id:
        stream = replace(
            stream,
            lag_messages=count_behind(read["offsets"], ends),
            lag_seconds=oldest_unread_s(settings, read["offsets"], ends),
        )
    return State(kafka, postgres, stream)


def _read_kafka(settings: Settings) -> tuple[Service, InputOffsets | None]:
    try:
        return Service(answers=True), fetch_input_offsets(settings, timeout_s=KAFKA_TIMEOUT_S)
    except KafkaException as error:
        return Service(error=error.args[0].str()), None


def _read_postgres(settings: Settings) -> tuple[Service, StreamState, ReadOffsets | None]:
    """Read the ledger; what a role that lacks some rights could read before an error is kept."""
    answers, stream = False, StreamState()
    try:
        with connect(settings.database_url, "promo-assets status") as connection:
            answers = True
            check_ledger(connection)
            stream = _describe_heartbeat(read_heartbeat(connection))
            waiting, next_start = count_waiting(connection)
            stream = replace(stream, waiting=waiting, next_start=next_start)
            campaigns = list(read_waiting(connection, LISTED_WAITING_CAMPAIGNS))
            stream = replace(stream, waiting_campaigns=campaigns)
            status = read_status(connection)
    except psycopg.Error as error:
        answers = answers and not isinstance(error, psycopg.OperationalError)
        return Service(answers, first_line(error)), stream, None
    except LedgerError as error:
        return Service(answers, str(error)), stream, None
    return Service(answers), replace(stream, metrics=status.metrics), status.read_offsets


def _describe_heartbeat(heartbeat: Heartbeat) -> StreamState:
    beat_at = _as_unix_seconds(heartbeat.beat_at)
    age_s = None if beat_at is None else round(max(0.0, time.time() - beat_at), 1)
    return StreamState(
        running=heartbeat.locked,
        holder=heartbeat.holder,
        started_at=_as_unix_seconds(heartbeat.started_at),
        heartbeat_at=beat_at,
        heartbeat_age_seconds=age_s,
        last_error=heartbeat.last_error,
    )


def _as_unix_seconds(at: datetime | None) -> float | None:
    return at.timestamp() if at else None

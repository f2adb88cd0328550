"""How the stream stands, as any process can see it: asked of Postgres and Kafka, in a second and without Spark."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
from confluent_kafka import KafkaException

from promo_assets.commands.console import count_of
from promo_assets.commands.ledger_clean import first_line
from promo_assets.local.services import Status
from promo_assets.settings import Settings
from promo_assets.stream.errors import LedgerError
from promo_assets.stream.kafka.lag import count_behind, oldest_unread_s
from promo_assets.stream.kafka.topics import InputOffsets, input_offsets
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.lease import Heartbeat, ReadOffsets, read_heartbeat, read_status
from promo_assets.stream.ledger.ledger import check_ledger, count_waiting
from promo_assets.stream.ledger.waiting import WaitingCampaign, read_waiting, utc

KAFKA_TIMEOUT_S = 3
WAITING_SHOWN = 5


@dataclass
class Service:
    answers: bool = False
    error: str | None = None


@dataclass
class StreamState:
    """None is what is not known. Times are unix seconds; metrics are those of the stream that runs, or ran last, since its start."""

    running: bool | None = None
    holder: str | None = None
    started_at: float | None = None
    heartbeat_at: float | None = None
    heartbeat_age_seconds: float | None = None
    last_error: str | None = None
    metrics: dict[str, Any] | None = None
    lag_messages: int | None = None
    lag_seconds: float | None = None
    """Since the oldest message that no finished micro-batch has read lies in Kafka; 0 where there is none."""
    waiting: int | None = None
    next_start: int | None = None
    waiting_campaigns: list[WaitingCampaign] | None = None
    """The next ones to start."""


@dataclass
class State:
    kafka: Service = field(default_factory=Service)
    postgres: Service = field(default_factory=Service)
    stream: StreamState = field(default_factory=StreamState)


def read_state(settings: Settings, found: Status) -> State:
    """Never raises for a service that is away: it says so in its part, and what hangs on it is None."""
    state = State()
    with ThreadPoolExecutor() as pool:  # two that are away take as long as one
        ends = pool.submit(_read_end_offsets, settings, state.kafka) if found.kafka else None
        read = pool.submit(_read_postgres, settings, state).result() if found.postgres_url else None
        kafka = ends.result() if ends else None
    if kafka and read and read["topic_id"] == kafka.topic_id:
        state.stream.lag_messages = count_behind(read["offsets"], kafka)
        state.stream.lag_seconds = oldest_unread_s(settings, read["offsets"], kafka)
    return state


def _read_end_offsets(settings: Settings, service: Service) -> InputOffsets | None:
    try:
        ends = input_offsets(settings, timeout_s=KAFKA_TIMEOUT_S)
    except KafkaException as error:
        service.error = error.args[0].str()
        return None
    service.answers = True
    return ends


def _read_postgres(settings: Settings, state: State) -> ReadOffsets | None:
    service = state.postgres
    try:
        with connect(settings.database_url, "promo-assets status") as connection:
            service.answers = True
            check_ledger(connection)
            _set_heartbeat(state.stream, read_heartbeat(connection))
            state.stream.waiting, state.stream.next_start = count_waiting(connection)
            state.stream.waiting_campaigns = list(read_waiting(connection, WAITING_SHOWN))
            shown = read_status(connection)
    except psycopg.Error as error:
        service.answers = service.answers and not isinstance(error, psycopg.OperationalError)
        service.error = first_line(error)
        return None
    except LedgerError as problem:
        service.error = str(problem)
        return None
    state.stream.metrics = shown.metrics
    return shown.read_offsets


def _set_heartbeat(stream: StreamState, heartbeat: Heartbeat) -> None:
    stream.running, stream.holder, stream.last_error = (
        heartbeat.locked,
        heartbeat.holder,
        heartbeat.last_error,
    )
    stream.started_at = heartbeat.started_at.timestamp() if heartbeat.started_at else None
    if heartbeat.beat_at:
        stream.heartbeat_at = heartbeat.beat_at.timestamp()
        stream.heartbeat_age_seconds = round(max(0.0, time.time() - stream.heartbeat_at), 1)


class Line(NamedTuple):
    """What is told to people; `bad` is what somebody should look at."""

    about: str
    told: str
    bad: bool = False


def describe_state(state: State) -> Iterator[Line]:
    for name, service in (("Kafka", state.kafka), ("Postgres", state.postgres)):
        if service.error:
            yield Line(
                name,
                f"{'answers' if service.answers else 'gives no answer'}: {service.error}",
                bad=True,
            )
    stream = state.stream
    if stream.running is None:
        return
    if stream.holder is None:
        yield Line("stream", "has never run", bad=True)
    elif stream.running:
        age = f"{stream.heartbeat_age_seconds or 0:.0f} s ago"
        yield Line(
            "stream",
            f"runs since {_when(stream.started_at)} ({stream.holder}), last sign of life {age}",
        )
    else:
        yield Line(
            "stream",
            f"does not run; last sign of life {_when(stream.heartbeat_at)} ({stream.holder})",
            bad=True,
        )
    if stream.lag_messages is not None:
        seconds = (
            "" if stream.lag_seconds is None else f", the oldest is {stream.lag_seconds:.0f} s old"
        )
        yield Line(
            "lag",
            f"{count_of(stream.lag_messages, 'messages')}{seconds if stream.lag_messages else ''}",
        )
    metrics = stream.metrics or {}
    if stream.running and "notifications_per_minute" in metrics:
        yield Line("last minute", count_of(metrics["notifications_per_minute"], "notifications"))
    if metrics:
        names = ("notifications", "campaigns", "rejected", "repeated", "expired")
        yield Line(
            "since its start", ", ".join(count_of(metrics.get(name, 0), name) for name in names)
        )
    if stream.waiting is not None:
        yield Line("waiting", count_of(stream.waiting, "campaigns"))
    for each in stream.waiting_campaigns or ():
        yield Line(
            "",
            f"starts {utc(each.adv_campaign_datetime_start)} UTC: {each.adv_campaign_id} of {each.restaurant_id}",
        )
    for number, each in enumerate(metrics.get("latest_rejections", ())):
        place = f"{each['source_partition']}-{each['source_offset']}, {utc(each['source_at'] // 1000)} UTC"
        yield Line("" if number else "last rejected", f"{each['reason']} ({place})")
    if stream.last_error:
        yield Line("its last trouble", stream.last_error, bad=True)


def _when(at: float | None) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC" if at else "never"

"""The lines in which `status` describes the stream to people."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from promo_assets.commands.console import count_of
from promo_assets.commands.stream_state import Service, State, StreamState
from promo_assets.stream.ledger.waiting import utc

METRICS = ("notifications", "campaigns", "rejected", "repeated", "expired")


class Line(NamedTuple):
    """A line for people; one without a label belongs to the line before."""

    label: str
    text: str
    is_problem: bool = False


def describe_state(state: State) -> Iterator[Line]:
    yield from _describe_service("Kafka", state.kafka)
    yield from _describe_service("Postgres", state.postgres)
    stream = state.stream
    if stream.running is None:
        return
    yield _describe_run(stream)
    if stream.lag_messages is not None:
        yield Line("lag", _describe_lag(stream.lag_messages, stream.lag_seconds))
    yield from _describe_metrics(stream)
    yield from _describe_waiting(stream)
    yield from _describe_rejections(stream)
    if stream.last_error:
        yield Line("last error", stream.last_error, is_problem=True)


def _describe_service(name: str, service: Service) -> Iterator[Line]:
    if service.error:
        verb = "answers" if service.answers else "does not answer"
        yield Line(name, f"{verb}: {service.error}", is_problem=True)


def _describe_run(stream: StreamState) -> Line:
    if stream.holder is None:
        return Line("stream", "has never run", is_problem=True)
    if stream.running:
        started = _format_time(stream.started_at)
        age = f"{stream.heartbeat_age_seconds or 0:.0f} s ago"
        text = f"running since {started} ({stream.holder}), last heartbeat {age}"
        return Line("stream", text)
    beat = _format_time(stream.heartbeat_at)
    return Line("stream", f"not running, last heartbeat {beat} ({stream.holder})", is_problem=True)


def _describe_lag(messages: int, seconds: float | None) -> str:
    count = count_of(messages, "messages")
    if not messages or seconds is None:
        return count
    return f"{count}, the oldest is {seconds:.0f} s old"


def _describe_metrics(stream: StreamState) -> Iterator[Line]:
    metrics = stream.metrics or {}
    if stream.running and "notifications_per_minute" in metrics:
        yield Line("last minute", count_of(metrics["notifications_per_minute"], "notifications"))
    if metrics:
        counts = ", ".join(count_of(metrics.get(name, 0), name) for name in METRICS)
        yield Line("since its start", counts)


def _describe_waiting(stream: StreamState) -> Iterator[Line]:
    if stream.waiting is not None:
        yield Line("waiting", count_of(stream.waiting, "campaigns"))
    for campaign in stream.waiting_campaigns or ():
        start = utc(campaign.adv_campaign_datetime_start)
        name = f"{campaign.adv_campaign_id} of {campaign.restaurant_id}"
        yield Line("", f"starts {start} UTC: {name}")


def _describe_rejections(stream: StreamState) -> Iterator[Line]:
    rejections = (stream.metrics or {}).get("latest_rejections", ())
    for number, rejection in enumerate(rejections):
        place = f"{rejection['source_partition']}-{rejection['source_offset']}"
        time = f"{utc(rejection['source_at'] // 1000)} UTC"
        yield Line("" if number else "last rejected", f"{rejection['reason']} ({place}, {time})")


def _format_time(at: float | None) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC" if at else "never"

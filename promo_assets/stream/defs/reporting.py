"""What a running stream shows on its assets' pages, so that one look tells whether promos reach people."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import psycopg
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

from promo_assets import markdown
from promo_assets.stream.errors import first_line
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.waiting import read_waiting, utc
from promo_assets.stream.pipeline.run import StreamRun

# Dagster keeps what a page has shown for good: a run that is watched from its start sees it move, a long one tells by the minute.
REPORT_INTERVAL_S, STEADY_INTERVAL_S = 5, 60
STEADY_AFTER_S = 600
INLINE_LENGTH = 999  # longer markdown shows in Dagster on a click only
DELIVERED_TO = ("promo_notifications", "subscribers_feedback")
DEAD_LETTERS = "promo_dead_letters"

log = logging.getLogger(__name__)


class StreamReporter:
    """A running stream's state and metrics, on its assets' pages, where something moved, and by the minute where nothing does.

    All are materializations: of a later observation an asset's page would show nothing.

    Nothing here ends the stream: while Dagster's database is away, metrics are not shown, and campaigns go out.
    """

    def __init__(self, context: dg.OpExecutionContext, stream_run: StreamRun):
        self._context = context
        self._run = stream_run
        self._running_since: float | None = None
        self._shown_rejected = 0
        self._moved_to = self._position()
        self._shown_error: str | None = None
        self._next = self._next_still = self._listens_at = time.monotonic()

    def show_when_due(self) -> None:
        if time.monotonic() >= self._listens_at:
            self._told(self._show_due)

    def show_last(self) -> None:
        """That it has ended, and why; of a run that never streamed the pages say nothing."""
        if self._running_since:
            ended = f"failed: {first_line(self._run.error)}" if self._run.error else "stopped"
            self._told(lambda: self._show(ended, {}))

    def _told(self, show: Callable[[], None]) -> None:
        try:
            show()
        except (SQLAlchemyError, DagsterPostgresException) as error:
            log.warning(
                "the stream goes on, but Dagster's database cannot be told: %s", first_line(error)
            )
            self._listens_at = time.monotonic() + REPORT_INTERVAL_S

    def _show_due(self) -> None:
        metrics, now = self._run.metrics, time.monotonic()
        if metrics.last_error != self._shown_error:
            self._context.log.warning(
                f"a step is done again: {metrics.last_error}"
                if metrics.last_error
                else "it goes on"
            )
            self._shown_error = metrics.last_error
            self._next_still = now
        if not self._run.query:
            return
        self._running_since = self._running_since or time.time()
        if now >= self._next and (now >= self._next_still or self._position() != self._moved_to):
            self._show("running", self._asked())
            steady = time.time() - (self._running_since or 0) > STEADY_AFTER_S
            self._next = now + (STEADY_INTERVAL_S if steady else REPORT_INTERVAL_S)
            self._next_still = now + STEADY_INTERVAL_S

    def _position(self) -> tuple[int, ...]:
        """What moves when a micro-batch is finished, part of a long one is delivered, or a campaign's waiting ends."""
        return (
            self._run.metrics.batches,
            self._run.metrics.notifications,
            self._run.metrics.waiting,
        )

    def _asked(self) -> dict[str, Any]:
        """What Kafka and Postgres know. Not asked at the end: one that is away would hold it up."""
        messages, seconds = self._run.lag() or (None, None)
        lag = {
            name: value
            for name, value in {"lag_messages": messages, "lag_seconds": seconds}.items()
            if value is not None
        }
        return lag | {"waiting_campaigns": dg.MetadataValue.md(self._waiting_campaigns())}

    def _show(self, state: str, asked: dict[str, Any]) -> None:
        metrics, position = self._run.metrics, self._position()
        rejected = {
            "rejected": metrics.rejected,
            "latest_rejections": dg.MetadataValue.md(self._rejections()),
        }
        shown: dict[str, Any] = {  # in the order in which the page has it
            "state": state,
            "running_since": _timestamp(self._running_since or time.time()),
            "heartbeat": _timestamp(time.time()),
            "last_error": metrics.last_error or "none",
            **metrics.gauges,
            **asked,
            **metrics.sums,
            **rejected,  # last: one look at the metrics for both pages
        }
        for name in DELIVERED_TO:
            self._context.log_event(dg.AssetMaterialization(name, metadata=shown))
        if rejected["rejected"] != self._shown_rejected:
            self._context.log_event(dg.AssetMaterialization(DEAD_LETTERS, metadata=rejected))
        self._shown_rejected = rejected["rejected"]
        if (
            "lag_messages" in asked
        ):  # else shown again when Spark has told how far its first micro-batch read
            self._moved_to = position

    def _rejections(self) -> str:
        rows = [
            (
                utc(each.source_at // 1000),
                each.reason,
                f"{each.source_partition}-{each.source_offset}",
            )
            for each in self._run.metrics.latest_rejections
        ]
        return _inline(["message came (UTC)", "reason", "partition-offset"], rows)

    def _waiting_campaigns(self) -> str:
        """The next to start."""
        if not self._run.metrics.waiting:
            return _inline(_WAITING, [])
        try:
            with connect(self._run.settings.database_url, "promo stream, page") as connection:
                next_ones = list(read_waiting(connection, markdown.ROWS))
        except psycopg.Error as error:
            return markdown.escaped(f"not known, Postgres gave no answer: {first_line(error)}")
        return _inline(
            _WAITING,
            [
                (utc(each.adv_campaign_datetime_start), each.restaurant_id, each.adv_campaign_id)
                for each in next_ones
            ],
        )


def _inline(columns: list[str], rows: list[tuple[str, ...]]) -> str:
    """The rows from the first on, as many as an asset's page shows without a click."""
    fitting = (
        shown
        for number in range(len(rows), -1, -1)
        if len(shown := markdown.table(columns, rows[:number])) <= INLINE_LENGTH
    )
    return next(fitting)


def _timestamp(at: float) -> dg.TimestampMetadataValue:
    return dg.MetadataValue.timestamp(datetime.fromtimestamp(at, UTC))


_WAITING = ["starts (UTC)", "restaurant", "campaign"]

"""What a running stream reports on its assets' pages: whether notifications reach clients.

Each report is a materialization, because an asset's page does not show a later observation.
docs/adr/0018 gives the reasons.
"""

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
from promo_assets.stream.messages import Rejection
from promo_assets.stream.pipeline.run import StreamRun

# Dagster never deletes a materialization. So a run reports progress every few seconds only in its
# first minutes, while somebody may be watching, and after that by the minute.
REPORT_INTERVAL_S, STEADY_INTERVAL_S = 5, 60
STEADY_AFTER_S = 600
INLINE_LENGTH = 999  # Dagster hides longer Markdown behind a click
DELIVERED_TO = ("promo_notifications", "subscribers_feedback")
DEAD_LETTERS = "promo_dead_letters"

_REJECTION_COLUMNS = ["timestamp (UTC)", "reason", "partition-offset"]
_WAITING_COLUMNS = ["starts (UTC)", "restaurant", "campaign"]

log = logging.getLogger(__name__)


class StreamReporter:
    """Reports the state and the metrics of a running stream on the pages of its assets.

    It reports when there is progress, and by the minute when there is none. It never ends the
    stream: while Dagster's database is unavailable there are no reports, and the stream continues.
    """

    def __init__(self, context: dg.OpExecutionContext, stream_run: StreamRun):
        self._context = context
        self._run = stream_run
        self._running_since: float | None = None
        self._reported_rejected = 0
        self._reported_progress = self._progress()
        self._logged_error: str | None = None
        self._next_report = self._next_idle_report = self._retry_at = time.monotonic()

    def report_if_due(self) -> None:
        if time.monotonic() >= self._retry_at:
            self._tolerate_database_errors(self._report_if_due)

    def report_end(self) -> None:
        """Report that the stream has ended, and why; nothing if it has never run."""
        if self._running_since:
            state = f"failed: {first_line(self._run.error)}" if self._run.error else "stopped"
            # The services are not queried: one that is unavailable would delay the end.
            self._tolerate_database_errors(lambda: self._report(state, {}))

    def _tolerate_database_errors(self, report: Callable[[], None]) -> None:
        try:
            report()
        except (SQLAlchemyError, DagsterPostgresException) as error:
            log.warning(
                "Cannot report to Dagster's database; the stream keeps running: %s",
                first_line(error),
            )
            self._retry_at = time.monotonic() + REPORT_INTERVAL_S

    def _report_if_due(self) -> None:
        now = time.monotonic()
        if self._run.metrics.last_error != self._logged_error:
            self._log_error(self._run.metrics.last_error)
            self._next_idle_report = now
        if not self._run.query:
            return
        self._running_since = self._running_since or time.time()
        has_progress = self._progress() != self._reported_progress
        if now >= self._next_report and (has_progress or now >= self._next_idle_report):
            self._report("running", self._query_services())
            is_steady = time.time() - self._running_since > STEADY_AFTER_S
            self._next_report = now + (STEADY_INTERVAL_S if is_steady else REPORT_INTERVAL_S)
            self._next_idle_report = now + STEADY_INTERVAL_S

    def _log_error(self, error: str | None) -> None:
        self._context.log.warning(
            f"A step failed and is retried: {error}" if error else "The stream has recovered"
        )
        self._logged_error = error

    def _progress(self) -> tuple[int, ...]:
        """Changes with each finished micro-batch, delivered dispatch and started campaign."""
        metrics = self._run.metrics
        return (metrics.batches, metrics.notifications, metrics.waiting)

    def _query_services(self) -> dict[str, Any]:
        """The lag, from Kafka, and the campaigns that start next, from Postgres."""
        messages, seconds = self._run.lag() or (None, None)
        lag = {"lag_messages": messages, "lag_seconds": seconds}
        known_lag = {name: value for name, value in lag.items() if value is not None}
        return known_lag | {"waiting_campaigns": dg.MetadataValue.md(self._waiting_campaigns())}

    def _report(self, state: str, from_services: dict[str, Any]) -> None:
        metrics, progress = self._run.metrics, self._progress()
        # Read once, so that both pages show the same.
        rejections = {
            "rejected": metrics.rejected,
            "latest_rejections": dg.MetadataValue.md(_rejection_table(metrics.latest_rejections)),
        }
        report: dict[str, Any] = {  # in the order of the page
            "state": state,
            "running_since": _timestamp(self._running_since or time.time()),
            "heartbeat": _timestamp(time.time()),
            "last_error": metrics.last_error or "none",
            **metrics.gauges,
            **from_services,
            **metrics.sums,
            **rejections,
        }
        for name in DELIVERED_TO:
            self._context.log_event(dg.AssetMaterialization(name, metadata=report))
        if rejections["rejected"] != self._reported_rejected:
            self._context.log_event(dg.AssetMaterialization(DEAD_LETTERS, metadata=rejections))
        self._reported_rejected = rejections["rejected"]
        # Without the lag, the same progress is reported again. The lag is unknown until Spark
        # reports the offsets of its first micro-batch.
        if "lag_messages" in from_services:
            self._reported_progress = progress

    def _waiting_campaigns(self) -> str:
        """The campaigns that start next, as a table."""
        if not self._run.metrics.waiting:
            return inline_table(_WAITING_COLUMNS, [])
        try:
            with connect(self._run.settings.database_url, "promo stream, page") as connection:
                campaigns = list(read_waiting(connection, markdown.ROWS))
        except psycopg.Error as error:
            return markdown.escape(f"unknown: cannot read Postgres: {first_line(error)}")
        rows = [
            (utc(each.adv_campaign_datetime_start), each.restaurant_id, each.adv_campaign_id)
            for each in campaigns
        ]
        return inline_table(_WAITING_COLUMNS, rows)


def _rejection_table(rejections: tuple[Rejection, ...]) -> str:
    rows = [
        (utc(each.source_at // 1000), each.reason, f"{each.source_partition}-{each.source_offset}")
        for each in rejections
    ]
    return inline_table(_REJECTION_COLUMNS, rows)


def inline_table(columns: list[str], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table of the first rows, as many as an asset's page shows without a click."""
    tables = (markdown.render_table(columns, rows[:number]) for number in range(len(rows), -1, -1))
    return next(table for table in tables if len(table) <= INLINE_LENGTH)


def _timestamp(unix_seconds: float) -> dg.TimestampMetadataValue:
    return dg.MetadataValue.timestamp(datetime.fromtimestamp(unix_seconds, UTC))

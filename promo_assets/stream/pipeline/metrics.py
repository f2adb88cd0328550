"""What the stream has done, in numbers that the process running it reports."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from promo_assets.stream.ledger.ledger import BatchMetrics
from promo_assets.stream.messages import REJECTIONS_SHOWN, Rejection

MINUTE_S = 60


@dataclass
class Metrics:
    """Sums since the stream started, and numbers of the last micro-batch.

    The stream writes them while other threads read them.
    """

    batches: int = 0
    campaigns: int = 0
    notifications: int = 0
    rejected: int = 0
    repeated: int = 0
    expired: int = 0
    waiting: int = 0
    next_start: int | None = None
    """When the next waiting campaign starts, in unix seconds."""
    last_batch_latency_seconds: float = 0.0
    """From the newest message's timestamp to the end of the batch that ingested it."""
    batch_seconds: float = 0.0
    rows_per_second: float = 0.0
    last_error: str | None = None
    latest_rejections: tuple[Rejection, ...] = ()
    """The last few, newest first."""
    _deliveries: tuple[tuple[float, int], ...] = ()
    """(monotonic time, pairs) of the last minute. Never changed in place: other threads read it."""
    _last_message_at: int = 0
    _notifications_before_batch: int = 0

    def count_batch(
        self, batch: BatchMetrics, last_message_at: int, rejections: Iterable[Rejection]
    ) -> None:
        """Count an ingested micro-batch. `last_message_at` is in unix milliseconds, 0 for none."""
        self.campaigns += batch.due
        self.rejected += batch.rejected
        self.repeated += batch.repeated
        self.expired += batch.expired
        # A batch that is repeated rejects the same messages.
        known = {
            (rejection.source_partition, rejection.source_offset): rejection
            for rejection in (*self.latest_rejections, *rejections)
        }
        newest_first = sorted(
            known.values(), key=lambda rejection: rejection.source_at, reverse=True
        )
        self.latest_rejections = tuple(newest_first[:REJECTIONS_SHOWN])
        self._last_message_at = last_message_at
        self._notifications_before_batch = self.notifications

    def count_started(self, started: BatchMetrics) -> None:
        """Count the waiting campaigns whose start has come."""
        self.campaigns += started.due
        self.expired += started.expired

    def count_delivered(self, pairs: int) -> None:
        self.notifications += pairs
        self._deliveries = (*self._select_last_minute(), (time.monotonic(), pairs))

    def _select_last_minute(self) -> tuple[tuple[float, int], ...]:
        begin = time.monotonic() - MINUTE_S
        return tuple(delivery for delivery in self._deliveries if delivery[0] > begin)

    def finish_batch(self, seconds: float) -> None:
        self.batch_seconds = seconds
        self.rows_per_second = (self.notifications - self._notifications_before_batch) / seconds
        # A batch may contain nothing but the markers of transactions.
        if self._last_message_at:
            self.last_batch_latency_seconds = max(0.0, time.time() - self._last_message_at / 1000)
        self.last_error = None
        self.batches += 1  # last, so that a thread which sees the new count sees the other numbers

    @property
    def sums(self) -> dict[str, int]:
        """The counts since the stream started. They stand still while there is nothing to do."""
        names = ("batches", "campaigns", "notifications", "rejected", "repeated", "expired")
        return {name: getattr(self, name) for name in names}

    @property
    def gauges(self) -> dict[str, int | float]:
        """The current values and those of the last micro-batch."""
        return {
            "notifications_per_minute": sum(pairs for _, pairs in self._select_last_minute()),
            "rows_per_second": round(self.rows_per_second, 1),
            "batch_seconds": round(self.batch_seconds, 3),
            "last_batch_latency_seconds": round(self.last_batch_latency_seconds, 3),
            "waiting": self.waiting,
        }

    @property
    def as_json(self) -> dict[str, Any]:
        """All sums, gauges and latest rejections, in types that JSON has."""
        rejections = [rejection._asdict() for rejection in self.latest_rejections]
        return self.sums | self.gauges | {"latest_rejections": rejections}

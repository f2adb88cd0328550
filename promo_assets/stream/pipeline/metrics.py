"""What the stream has done, in numbers that its host reports."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from promo_assets.stream.ledger.ledger import BatchMetrics
from promo_assets.stream.messages import REJECTIONS_SHOWN, Rejection

MINUTE_S = 60


@dataclass
class Metrics:
    """Sums since the stream started, and the last micro-batch's own; written by the stream, read by its host."""

    batches: int = 0
    campaigns: int = 0
    notifications: int = 0
    rejected: int = 0
    repeated: int = 0
    expired: int = 0
    waiting: int = 0
    next_start: int | None = None
    last_batch_latency_seconds: float = 0.0
    """From the newest message's timestamp to the end of the batch that took it in."""
    batch_seconds: float = 0.0
    rows_per_second: float = 0.0
    last_error: str | None = None
    latest_rejections: tuple[Rejection, ...] = ()
    """The last few, the newest first."""
    _delivered: tuple[tuple[float, int], ...] = ()
    """(when, pairs) of the last minute; a new tuple each time, since others read it meanwhile."""
    _last_message_at: int = 0
    _before: int = field(default=0)

    def count_batch(
        self, batch: BatchMetrics, last_message_at: int, rejections: Iterable[Rejection]
    ) -> None:
        self.campaigns += batch.due
        self.rejected += batch.rejected
        self.repeated += batch.repeated
        self.expired += batch.expired
        # A batch that is handled again rejects the same messages.
        known = {
            (each.source_partition, each.source_offset): each
            for each in (*self.latest_rejections, *rejections)
        }
        self.latest_rejections = tuple(
            sorted(known.values(), key=lambda each: each.source_at, reverse=True)[:REJECTIONS_SHOWN]
        )
        self._last_message_at = last_message_at
        self._before = self.notifications

    def count_started(self, started: BatchMetrics) -> None:
        self.campaigns += started.due
        self.expired += started.expired

    def count_delivered(self, pairs: int) -> None:
        self.notifications += pairs
        self._delivered = (*self._of_last_minute(), (time.monotonic(), pairs))

    def _of_last_minute(self) -> tuple[tuple[float, int], ...]:
        return tuple(each for each in self._delivered if each[0] > time.monotonic() - MINUTE_S)

    def batch_took(self, seconds: float) -> None:
        self.batch_seconds = seconds
        self.rows_per_second = (self.notifications - self._before) / seconds
        if self._last_message_at:  # a batch may hold nothing but the marks that transactions leave
            self.last_batch_latency_seconds = max(0.0, time.time() - self._last_message_at / 1000)
        self.last_error = None
        self.batches += 1  # last: who sees it, sees the rest

    @property
    def sums(self) -> dict[str, int]:
        """Since the stream started: they grow as it works, and stand still while it has nothing to do."""
        names = ("batches", "campaigns", "notifications", "rejected", "repeated", "expired")
        return {name: getattr(self, name) for name in names}

    @property
    def gauges(self) -> dict[str, int | float]:
        """As it is now, or was in the last micro-batch."""
        return {
            "notifications_per_minute": sum(pairs for _, pairs in self._of_last_minute()),
            "rows_per_second": round(self.rows_per_second, 1),
            "batch_seconds": round(self.batch_seconds, 3),
            "last_batch_latency_seconds": round(self.last_batch_latency_seconds, 3),
            "waiting": self.waiting,
        }

    @property
    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return (
            self.sums
            | self.gauges
            | {"latest_rejections": [each._asdict() for each in self.latest_rejections]}
        )

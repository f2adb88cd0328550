"""What the stream has done, in numbers that its host reports."""

import time
from dataclasses import dataclass, field

from promo_assets.stream.ledger import BatchFigures


@dataclass
class Figures:
    """Sums since the stream started, and the last micro-batch's own; written by the stream, read by its host."""

    batches: int = 0
    campaigns: int = 0
    notifications: int = 0
    rejected: int = 0
    repeated: int = 0
    expired: int = 0
    waiting: int = 0
    next_start: int | None = None
    lag_seconds: float = 0.0
    """From the newest message's timestamp to the end of the batch that took it in."""
    batch_seconds: float = 0.0
    rows_per_second: float = 0.0
    last_error: str | None = None
    _last_message_at: int = 0
    _before: int = field(default=0)

    def count_batch(self, batch: BatchFigures, last_message_at: int) -> None:
        self.campaigns += batch.due
        self.rejected += batch.rejected
        self.repeated += batch.repeated
        self.expired += batch.expired
        self._last_message_at = last_message_at
        self._before = self.notifications

    def count_woken(self, woken: BatchFigures) -> None:
        self.campaigns += woken.due
        self.expired += woken.expired

    def count_delivered(self, pairs: int) -> None:
        self.notifications += pairs

    def batch_took(self, seconds: float) -> None:
        self.batch_seconds = seconds
        self.rows_per_second = (self.notifications - self._before) / seconds
        if self._last_message_at:  # a batch may hold nothing but the marks that transactions leave
            self.lag_seconds = max(0.0, time.time() - self._last_message_at / 1000)
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
            "waiting": self.waiting,
            "lag_seconds": round(self.lag_seconds, 3),
            "rows_per_second": round(self.rows_per_second, 1),
            "batch_seconds": round(self.batch_seconds, 3),
        }

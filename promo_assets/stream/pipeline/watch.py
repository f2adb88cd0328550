"""What a run does while its query reads: it starts waiting campaigns and shows its status."""

import threading
import time
from collections.abc import Callable

from pyspark.sql.streaming.query import StreamingQuery

from promo_assets.stream.errors import StreamError
from promo_assets.stream.ledger.lease import HEARTBEAT_S, Lease
from promo_assets.stream.pipeline.metrics import Metrics
from promo_assets.stream.pipeline.query import PromoStream

POLL_S = 0.2


def watch_query(
    query: StreamingQuery,
    stream: PromoStream,
    lease: Lease,
    metrics: Metrics,
    stop: threading.Event,
    update_status: Callable[[], None],
) -> None:
    """Start waiting campaigns at their time and update the status at each heartbeat.

    Returns when the query ends or `stop` is set. Raises `StreamError` if the lease is lost.
    """
    status_due_at = 0.0
    while query.isActive and not stop.wait(POLL_S):
        lease.last_error = metrics.last_error
        if lease.lost:
            raise StreamError(f"{lease.lost}: this run ends")
        if metrics.next_start is not None and metrics.next_start <= time.time():
            stream.start_due_campaigns()
        if time.monotonic() >= status_due_at:
            update_status()
            status_due_at = time.monotonic() + HEARTBEAT_S

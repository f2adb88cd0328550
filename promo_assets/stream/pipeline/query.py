"""THE MAP of the stream: read -> ingest -> match -> freeze -> deliver. It needs no Dagster.

What belongs here: the order of the steps, and when they are repeated. What does not: how a message
is judged (`messages.py`), and where anything is read or written (`sources.py`, `ingest.py`,
`freeze.py`, `delivery.py`, `ledger.py`).
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.streaming.query import StreamingQuery
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)
from tenacity.nap import sleep_using_event

from promo_assets.settings import Settings
from promo_assets.stream.errors import LeaseLost, authorization_error_in, first_line
from promo_assets.stream.ledger.ledger import Dispatch, Ledger
from promo_assets.stream.messages import Rejection
from promo_assets.stream.offsets import Offsets
from promo_assets.stream.pipeline.arrow_tasks import PAIR_COUNT, ArrowTask
from promo_assets.stream.pipeline.delivery import deliver_audience
from promo_assets.stream.pipeline.freeze import freeze_audience
from promo_assets.stream.pipeline.ingest import BATCH_COUNTS, ingest
from promo_assets.stream.pipeline.match import match_subscribers
from promo_assets.stream.pipeline.metrics import Metrics
from promo_assets.stream.pipeline.sources import read_followers, read_messages
from promo_assets.stream.writer_context import WriterContext

RETRY_TIMEOUT_S = 120
TRIGGER_INTERVAL = "100 milliseconds"

log = logging.getLogger(__name__)


class PromoStream:
    """The stream's steps, for one run that has the lease."""

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        context: WriterContext,
        out_partitions: int,
        stop: threading.Event,
        metrics: Metrics,
    ):
        self._spark = spark
        self._settings = settings
        self._context = context
        self._out_partitions = out_partitions
        self._stop = stop
        self._metrics = metrics
        self._ledger = Ledger(context.database_url, context.epoch)
        self._followers: dict[int, DataFrame] = {}
        self._one_at_a_time = threading.Lock()
        self.failure: Exception | None = None
        """Why a batch failed. Spark itself may lose it to a StackOverflowError in its handling."""

    def start(
        self, checkpoint: str, until_caught_up: bool, start_at: Offsets | None = None
    ) -> StreamingQuery:
        """Start to read the input topic.

        With `until_caught_up` the query ends after the last message that is there now. A new
        checkpoint begins at `start_at`, by default at the earliest offsets.
        """
        messages = read_messages(self._spark, self._settings, start_at)
        writer = messages.writeStream.foreachBatch(self.handle_batch)
        writer = writer.queryName("promo_stream").option("checkpointLocation", checkpoint)
        if until_caught_up:
            return writer.trigger(availableNow=True).start()
        return writer.trigger(processingTime=TRIGGER_INTERVAL).start()

    def handle_batch(self, messages: DataFrame, batch_id: int) -> None:
        """Ingest one micro-batch's messages, then deliver all campaigns that are due."""
        started = time.monotonic()
        query_id = messages.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId")
        assert query_id, "Spark sets the query's id in a batch's thread"

        def ingest_and_deliver() -> None:
            self._ingest(messages, query_id, batch_id)
            self._deliver_due()

        try:
            self._retry(ingest_and_deliver)
        except Exception as error:
            self.failure = error
            raise
        self._metrics.finish_batch(time.monotonic() - started)

    def start_due_campaigns(self) -> None:
        """Deliver the campaigns whose start has come, and those that an earlier run left.

        This is a micro-batch of its own. Its trigger time is the clock's.
        """
        self._retry(self._deliver_due)

    def _ingest(self, messages: DataFrame, query_id: str, batch_id: int) -> None:
        task = ingest(replace(self._context, query_id=query_id), batch_id)
        counts = messages.mapInArrow(task, from_arrow_schema(BATCH_COUNTS)).collect()
        batch = self._ledger.finish_batch(
            query_id,
            batch_id,
            sum(row["messages"] for row in counts),
            sum(row["rejected"] for row in counts),
        )
        self._metrics.count_batch(
            batch,
            last_message_at=max((row["last_message_at"] for row in counts), default=0),
            rejections=[Rejection(*each) for row in counts for each in row["latest_rejections"]],
        )

    def _deliver_due(self) -> None:
        topic = self._settings.topic_out
        with self._one_at_a_time:
            self._metrics.count_started(self._ledger.start_due(int(time.time())))
            while dispatch := self._ledger.open_dispatch(topic, self._count_shards()):
                self._deliver(dispatch)
            self._metrics.waiting, self._metrics.next_start = self._ledger.count_waiting()

    def _deliver(self, dispatch: Dispatch) -> None:
        if not dispatch.frozen:
            audience = self._match(dispatch)
            pairs = _sum_pairs(audience, freeze_audience(self._context, dispatch))
            self._ledger.freeze(dispatch, pairs)
        shards = self._spark.range(0, dispatch.shards, 1, dispatch.shards)
        delivered = _sum_pairs(shards, deliver_audience(self._context, dispatch))
        self._ledger.finish_dispatch(dispatch)
        self._metrics.count_delivered(delivered)

    def _match(self, dispatch: Dispatch) -> DataFrame:
        positions, restaurants = zip(*self._ledger.dispatch_restaurants(dispatch), strict=True)
        campaigns = pa.table(
            {
                "dispatch_position": pa.array(positions, pa.int32()),
                "restaurant_id": pa.array(restaurants, pa.string()),
            }
        )
        followers = self._get_followers(dispatch.shards)
        return match_subscribers(self._spark.createDataFrame(campaigns), followers)

    def _count_shards(self) -> int:
        """Return how many shards can be handled in parallel now.

        On a cluster executors come and go. Each shard keeps its progress as an offset of a
        partition of the output topic, so there cannot be more shards than partitions.
        """
        return min(self._spark.sparkContext.defaultParallelism, self._out_partitions)

    def _get_followers(self, shards: int) -> DataFrame:
        """Return the followers' frame, which is made once per number of shards.

        Making it costs a query to Postgres.
        """
        if shards not in self._followers:
            self._followers[shards] = read_followers(self._spark, self._settings, shards)
        return self._followers[shards]

    def _retry(self, step: Callable[[], None]) -> None:
        """Run a step, and repeat it after a failure. Every step can be repeated at any time.

        The last error is raised after `RETRY_TIMEOUT_S`, after a stop, if the lease is lost, or if
        a permission is missing.
        """
        retrying = Retrying(
            retry=retry_if_exception(self._is_worth_retrying),
            wait=wait_random_exponential(0.5, max=10),
            stop=stop_after_delay(RETRY_TIMEOUT_S),
            before_sleep=self._report_retry,
            sleep=sleep_using_event(self._stop),
            reraise=True,
        )
        retrying(step)

    def _is_worth_retrying(self, error: BaseException) -> bool:
        return (
            isinstance(error, Exception)
            and not isinstance(error, LeaseLost)
            and not authorization_error_in(error)
            and not self._stop.is_set()
        )

    def _report_retry(self, attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        self._metrics.last_error = first_line(error)
        log.warning("a step failed and will be retried: %s", self._metrics.last_error)


def _sum_pairs(frame: DataFrame, task: ArrowTask) -> int:
    """Run a task on each partition and return the sum of the pairs that the tasks count."""
    counts = frame.mapInArrow(task, from_arrow_schema(PAIR_COUNT)).collect()
    return sum(row["pairs"] for row in counts)

"""THE MAP of the stream: read -> ingest -> match -> freeze -> deliver. Runs with or without Dagster.

What belongs here: the order of the steps, and when they are done again. What does not: how a message is judged
(`messages.py`), where anything is read or written (`sources.py`, `ingest.py`, `delivery.py`, `ledger.py`).
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
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
from promo_assets.stream.pipeline.delivery import DELIVERED_DDL, deliver_audience, freeze_audience
from promo_assets.stream.pipeline.ingest import INGESTED_DDL, ingest
from promo_assets.stream.pipeline.match import match_subscribers
from promo_assets.stream.pipeline.metrics import Metrics
from promo_assets.stream.pipeline.sources import read_followers, read_messages, remove_checkpoint
from promo_assets.stream.writer_context import WriterContext

RETRY_TIMEOUT_S = 120
TRIGGER_INTERVAL = "100 milliseconds"

log = logging.getLogger(__name__)


class PromoStream:
    """The stream of one context: its Spark session, what its executors must know, and what it has done so far."""

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        context: WriterContext,
        out_partitions: int,
        stop: threading.Event,
    ):
        self._spark = spark.newSession()  # its own configuration and temporary names
        self._settings = settings
        self._context = context
        self._out_partitions = out_partitions
        self._stop = stop
        self._ledger = Ledger(context.database_url, context.epoch)
        self._followers: dict[int, DataFrame] = {}
        self._one_at_a_time = threading.Lock()
        self.metrics = Metrics()
        self.start_at: dict[int, int] | None = None
        self.failure: Exception | None = None
        self._spark.conf.set("spark.sql.adaptive.enabled", "false")  # no shuffles to adapt
        # Each batch's literals are new, so generated code would be compiled anew: a fifth of the JVM's time, for nothing.
        self._spark.conf.set("spark.sql.codegen.wholeStage", "false")
        self._spark.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
        # What a Python worker holds at once: messages may be a megabyte each.
        self._spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "5000")
        self._spark.conf.set("spark.sql.execution.arrow.maxBytesPerBatch", str(8 * 1024 * 1024))

    def start(self, checkpoint: str, until_caught_up: bool) -> StreamingQuery:
        """Start reading; with `until_caught_up` the query ends by itself behind the last message that is there now."""
        writer = read_messages(self._spark, self._settings, self.start_at).writeStream.foreachBatch(
            self.handle_batch
        )
        writer = writer.queryName("promo_stream").option("checkpointLocation", checkpoint)
        return (
            writer.trigger(availableNow=True)
            if until_caught_up
            else writer.trigger(processingTime=TRIGGER_INTERVAL)
        ).start()

    def forget(self, checkpoint: str) -> None:
        """The next start with this checkpoint is its first."""
        remove_checkpoint(self._spark, checkpoint)

    def handle_batch(self, messages: DataFrame, batch_id: int) -> None:
        """One micro-batch: its messages go into the register or to the dead letters, then all that is due is delivered."""
        started = time.monotonic()
        query_id = messages.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId")
        assert query_id, "Spark tells a batch's thread which query it is"
        context = replace(self._context, query_id=query_id)

        def handle() -> None:
            ingested = messages.mapInArrow(ingest(context, batch_id), INGESTED_DDL).collect()
            batch = self._ledger.finish_batch(
                query_id,
                batch_id,
                sum(row["messages"] for row in ingested),
                sum(row["rejected"] for row in ingested),
            )
            self.metrics.count_batch(
                batch,
                last_message_at=max((row["last_message_at"] for row in ingested), default=0),
                rejections=[
                    Rejection(*each) for row in ingested for each in row["latest_rejections"]
                ],
            )
            self._deliver_due()

        try:
            self._retry(handle)
        except Exception as error:
            self.failure = error  # Spark may lose it on its way out (a StackOverflowError in its own error handling)
            raise
        self.metrics.batch_took(time.monotonic() - started)

    def start_due_campaigns(self) -> None:
        """Deliver what waited for its start, or was left by a former run: a micro-batch of its own, timed by the clock."""
        self._retry(self._deliver_due)

    def _deliver_due(self) -> None:
        with self._one_at_a_time:
            started = self._ledger.start_due(int(time.time()))
            self.metrics.count_started(started)
            while dispatch := self._ledger.open_dispatch(self._settings.topic_out, self._shards()):
                if not dispatch.frozen:
                    self._ledger.freeze(
                        dispatch,
                        self._sum_pairs(
                            self._match(dispatch).mapInArrow(
                                freeze_audience(self._context, dispatch), DELIVERED_DDL
                            )
                        ),
                    )
                shards = self._spark.range(0, dispatch.shards, 1, dispatch.shards)
                delivered = self._sum_pairs(
                    shards.mapInArrow(deliver_audience(self._context, dispatch), DELIVERED_DDL)
                )
                self._ledger.finish_dispatch(dispatch)
                self.metrics.count_delivered(delivered)
            self.metrics.waiting, self.metrics.next_start = self._ledger.waiting()

    def _match(self, dispatch: Dispatch) -> DataFrame:
        positions, restaurants = zip(*self._ledger.dispatch_restaurants(dispatch), strict=True)
        campaigns = pa.table(
            {
                "dispatch_position": pa.array(positions, pa.int32()),
                "restaurant_id": pa.array(restaurants, pa.string()),
            }
        )
        return match_subscribers(
            self._spark.createDataFrame(campaigns), self._followers_by_shards(dispatch.shards)
        )

    def _shards(self) -> int:
        """As many as can work side by side now: on a cluster executors come and go. Each keeps its progress by a partition of the topic."""
        return min(self._spark.sparkContext.defaultParallelism, self._out_partitions)

    def _followers_by_shards(self, shards: int) -> DataFrame:
        """Made once per number of shards: it costs a question to Postgres."""
        if shards not in self._followers:
            self._followers[shards] = read_followers(self._spark, self._settings, shards)
        return self._followers[shards]

    def _sum_pairs(self, pairs: DataFrame) -> int:
        return sum(row["pairs"] for row in pairs.collect())

    def _retry(self, step: Callable[[], None]) -> None:
        """Do a step, again where it failed: each can be begun anew at any time. Gives up after two minutes, on stop, when
        taken over, or when a right is missing."""

        def note(attempt: RetryCallState) -> None:
            error = attempt.outcome.exception() if attempt.outcome else None
            self.metrics.last_error = first_line(error)
            log.warning("a step failed and is done again: %s", self.metrics.last_error)

        worth_it = retry_if_exception(
            lambda error: (
                isinstance(error, Exception)
                and not isinstance(error, LeaseLost)
                and not authorization_error_in(error)
                and not self._stop.is_set()
            )
        )
        for attempt in Retrying(
            retry=worth_it,
            wait=wait_random_exponential(0.5, max=10),
            stop=stop_after_delay(RETRY_TIMEOUT_S),
            before_sleep=note,
            sleep=sleep_using_event(self._stop),
            reraise=True,
        ):
            with attempt:
                step()

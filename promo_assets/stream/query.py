"""THE MAP of the stream: read -> take in -> match -> freeze -> deliver. Runs with or without Dagster.

What belongs here: the order of the steps, and when they are done again. What does not: how a message is judged
(`messages.py`), where anything is read or written (`sources.py`, `intake.py`, `delivery.py`, `ledger.py`).
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential
from tenacity.nap import sleep_using_event

from promo_assets.settings import Settings
from promo_assets.stream.campaigns import match_subscribers
from promo_assets.stream.delivery import DELIVERED_DDL, deliver_audience, freeze_audience
from promo_assets.stream.figures import Figures
from promo_assets.stream.intake import TAKEN_IN_DDL, take_in
from promo_assets.stream.ledger import Ledger, TakenOver, Unit
from promo_assets.stream.messages import Rejection
from promo_assets.stream.refusals import refusal_in
from promo_assets.stream.sources import read_messages, read_open_unit_followers, remove_checkpoint
from promo_assets.stream.writer import Turn

RETRY_FOR_S = 120
POLL = "100 milliseconds"

PY4J = "An error occurred while calling "  # the line before the one that tells

log = logging.getLogger(__name__)


class PromoStream:
    """The stream of one turn: its Spark session, what its executors must know, and what it has done so far."""

    def __init__(self, spark: SparkSession, settings: Settings, turn: Turn, out_partitions: int, stop: threading.Event):
        self._spark = spark.newSession()  # its own configuration and temporary names
        self._settings = settings
        self._turn = turn
        self._out_partitions = out_partitions
        self._stop = stop
        self._ledger = Ledger(turn.database_url, turn.epoch)
        self._followers: dict[int, DataFrame] = {}
        self._one_at_a_time = threading.Lock()
        self.figures = Figures()
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
        writer = read_messages(self._spark, self._settings, self.start_at).writeStream.foreachBatch(self.handle_batch)
        writer = writer.queryName("promo_stream").option("checkpointLocation", checkpoint)
        return (writer.trigger(availableNow=True) if until_caught_up else writer.trigger(processingTime=POLL)).start()

    def forget(self, checkpoint: str) -> None:
        """The next start with this checkpoint is its first."""
        remove_checkpoint(self._spark, checkpoint)

    def handle_batch(self, messages: DataFrame, batch_id: int) -> None:
        """One micro-batch: its messages go into the register or to the dead letters, then all that is due is delivered."""
        started = time.monotonic()
        query_id = messages.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId")
        assert query_id, "Spark tells a batch's thread which query it is"
        turn = replace(self._turn, query_id=query_id)

        def handle() -> None:
            taken_in = messages.mapInArrow(take_in(turn, batch_id), TAKEN_IN_DDL).collect()
            batch = self._ledger.finish_batch(
                query_id, batch_id, sum(row["messages"] for row in taken_in), sum(row["rejected"] for row in taken_in)
            )
            self.figures.count_batch(
                batch,
                last_message_at=max((row["last_message_at"] for row in taken_in), default=0),
                rejections=[Rejection(*each) for row in taken_in for each in row["latest_rejections"]],
            )
            self._deliver_due()

        try:
            self._persist(handle)
        except Exception as error:
            self.failure = error  # Spark may lose it on its way out (a StackOverflowError in its own error handling)
            raise
        self.figures.batch_took(time.monotonic() - started)

    def wake(self) -> None:
        """Deliver what waited for its start, or was left by a former run: a micro-batch of its own, timed by the clock."""
        self._persist(self._deliver_due)

    def _deliver_due(self) -> None:
        with self._one_at_a_time:
            woken = self._ledger.wake_waiting(int(time.time()))
            self.figures.count_woken(woken)
            while unit := self._ledger.open_unit(self._settings.topic_out, self._lanes()):
                if not unit.frozen:
                    self._ledger.freeze(
                        unit, self._sum_pairs(self._match(unit).mapInArrow(freeze_audience(self._turn, unit), DELIVERED_DDL))
                    )
                lanes = self._spark.range(0, unit.lanes, 1, unit.lanes)
                delivered = self._sum_pairs(lanes.mapInArrow(deliver_audience(self._turn, unit), DELIVERED_DDL))
                self._ledger.finish_unit(unit)
                self.figures.count_delivered(delivered)
            self.figures.waiting, self.figures.next_start = self._ledger.waiting()

    def _match(self, unit: Unit) -> DataFrame:
        positions, restaurants = zip(*self._ledger.unit_restaurants(unit), strict=True)
        campaigns = pa.table({"unit_position": pa.array(positions, pa.int32()), "restaurant_id": pa.array(restaurants, pa.string())})
        return match_subscribers(self._spark.createDataFrame(campaigns), self._followers_in(unit.lanes))

    def _lanes(self) -> int:
        """As many as can work side by side now: on a cluster executors come and go. Each keeps its progress by a partition of the topic."""
        return min(self._spark.sparkContext.defaultParallelism, self._out_partitions)

    def _followers_in(self, lanes: int) -> DataFrame:
        """Made once per number of lanes: it costs a question to Postgres."""
        if lanes not in self._followers:
            self._followers[lanes] = read_open_unit_followers(self._spark, self._settings, lanes)
        return self._followers[lanes]

    def _sum_pairs(self, pairs: DataFrame) -> int:
        return sum(row["pairs"] for row in pairs.collect())

    def _persist(self, step: Callable[[], None]) -> None:
        """Do a step, again where it failed: each can be begun anew at any time. Gives up after two minutes, on stop, when
        taken over, or when a right is missing."""

        def note(attempt: RetryCallState) -> None:
            error = attempt.outcome.exception() if attempt.outcome else None
            self.figures.last_error = first_line(error)
            log.warning("a step failed and is done again: %s", self.figures.last_error)

        worth_it = retry_if_exception(
            lambda error: (
                isinstance(error, Exception) and not isinstance(error, TakenOver) and not refusal_in(error) and not self._stop.is_set()
            )
        )
        for attempt in Retrying(
            retry=worth_it,
            wait=wait_random_exponential(0.5, max=10),
            stop=stop_after_delay(RETRY_FOR_S),
            before_sleep=note,
            sleep=sleep_using_event(self._stop),
            reraise=True,
        ):
            with attempt:
                step()


def first_line(error: BaseException | None) -> str:
    """What an error says, in one line, without the stacks that Spark puts around it."""
    if refusal := refusal_in(error):
        return refusal
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith(PY4J)]
    if any("Traceback (most recent call last)" in line for line in lines):
        # A Python worker's error comes with its traceback; its last line that is not indented names it, but for what Postgres adds.
        lines = [line for line in lines if re.match(r"(?!DETAIL|CONTEXT|HINT)[A-Za-z_][\w.]*: ", line)][-1:] or lines
    return (lines or [type(error).__name__])[0].strip().removeprefix(": ")[:300]

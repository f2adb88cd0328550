"""One run of the stream: checks first, then from the lease to the end. Used by the command line and by the Dagster op."""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import KafkaException
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from promo_assets.settings import Settings
from promo_assets.stream.errors import (
    AuthorizationError,
    StreamError,
    authorization_error_in,
    first_line,
)
from promo_assets.stream.kafka.lag import count_behind, oldest_unread_s
from promo_assets.stream.kafka.producer import check_kafka_permissions
from promo_assets.stream.kafka.topics import check_topics, input_offsets, unreachable_message
from promo_assets.stream.ledger import lease as leases
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.lease import acquire_lease
from promo_assets.stream.pipeline.metrics import Metrics
from promo_assets.stream.pipeline.preflight import (
    await_executor,
    check_disk_space,
    get_session,
    prepare_database,
)
from promo_assets.stream.pipeline.query import PromoStream
from promo_assets.stream.pipeline.reprocess import begin_at
from promo_assets.stream.writer_context import WriterContext

POLL_S = 0.2
STOP_TIMEOUT_S = 8

log = logging.getLogger(__name__)


@dataclass
class StreamRun:
    """A run of the stream in a thread of its own, so that the main thread stays free for signals."""

    settings: Settings
    get_spark: Callable[[], SparkSession]
    holder: str
    until_caught_up: bool = False
    again_from: dict[int, int] | None = None
    """Reprocess: read the input topic again from these offsets (by partition, all of them) to its end, with a checkpoint for this alone."""
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    metrics: Metrics = field(default_factory=Metrics)
    error: BaseException | None = None
    query: StreamingQuery | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="promo-stream", daemon=True).start()

    def finish(self) -> None:
        """Ask the stream to stop and wait for it, but not forever: what it leaves undone, the next run does."""
        self.stop.set()
        self.ended.wait(STOP_TIMEOUT_S)

    def read_offsets(self) -> dict[str, int] | None:
        """Where the finished micro-batches have read the input topic to, by partition; None where it is not known."""
        progress = self.query.lastProgress if self.query else None
        if not progress or not progress.sources or not progress.sources[0].endOffset:
            return None
        return json.loads(progress.sources[0].endOffset)[self.settings.topic_in]

    def lag(self) -> tuple[int, float | None] | None:
        """Of the last finished micro-batch behind the input topic's end, in offsets and seconds; None where it is not known."""
        try:
            read = self.read_offsets()
            if read is None:
                return None
            ends = input_offsets(self.settings)
            return count_behind(read, ends), oldest_unread_s(self.settings, read, ends)
        except (KafkaException, Py4JError):
            return None

    def _run(self) -> None:
        try:
            run_stream(self)
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()


def run_stream(stream_run: StreamRun) -> None:
    """Run until `stream_run.stop`, until caught up where that is asked, or until it fails: `StreamError`, in one line."""
    settings = stream_run.settings
    prepare_database(settings)
    topics = check_topics(settings)
    with acquire_lease(settings.database_url, stream_run.holder) as lease:
        log.info("this run has the lease (epoch %d)", lease.epoch)
        context = WriterContext(
            ledger_id=lease.ledger_id,
            epoch=lease.epoch,
            query_id="",
            topic_in=settings.topic_in,
            topic_in_id=topics.in_id,
            topic_dead_letters=settings.topic_dead_letters,
            database_url=settings.database_url,
            kafka_client=settings.kafka_client(),
        )
        try:
            check_kafka_permissions(context)
        except AuthorizationError as error:
            raise StreamError(str(error)) from None
        except KafkaException as error:
            raise StreamError(unreachable_message(settings, error.args[0])) from None
        spark = get_session(stream_run.get_spark, settings)
        if stream_run.stop.is_set():
            return
        # Each input topic has a checkpoint of its own, by the topic's id: one made anew under the same name is read from its start.
        checkpoint = f"{settings.checkpoint_root.rstrip('/')}/{settings.topic_in}-{topics.in_id}"
        check_disk_space(checkpoint)
        await_executor(spark, stream_run.stop, lambda trouble: _tell(stream_run, lease, trouble))
        try:
            stream = PromoStream(spark, settings, context, topics.out_partitions, stream_run.stop)
            stream.metrics = stream_run.metrics
            if stream_run.again_from is None:
                _run_query(stream_run, stream, lease, checkpoint, topics.in_id)
            else:
                _read_again(stream_run, stream, lease, checkpoint, topics.in_id)
        except (PySparkException, Py4JError, AuthorizationError) as error:
            raise _failed(settings, error) from error


def _tell(stream_run: StreamRun, lease: "leases.Lease", trouble: str | None) -> None:
    lease.last_error = stream_run.metrics.last_error = trouble
    if trouble:
        log.warning(trouble)


def _read_again(
    stream_run: StreamRun,
    stream: PromoStream,
    lease: "leases.Lease",
    checkpoint: str,
    topic_id: str,
) -> None:
    """Its checkpoint begins anew each time: one that a crash left could stand behind what is to be read this time."""
    assert stream_run.again_from is not None
    with connect(stream_run.settings.database_url, "promo stream, start") as connection:
        stream.start_at = begin_at(
            stream_run.settings, stream_run.again_from, leases.read_status(connection).read_offsets
        )
    log.info("reading again from %s (offset by partition)", stream.start_at)
    folder = f"{checkpoint}-reprocess"
    stream.forget(folder)
    _run_query(stream_run, stream, lease, folder, topic_id)
    stream.forget(folder)


def _run_query(
    stream_run: StreamRun,
    stream: PromoStream,
    lease: "leases.Lease",
    checkpoint: str,
    topic_id: str,
) -> None:
    stream.start_due_campaigns()  # first what a former run left
    query = stream_run.query = stream.start(checkpoint, stream_run.until_caught_up)
    log.info("the stream runs")
    show_at = 0.0
    try:
        while query.isActive and not stream_run.stop.wait(POLL_S):
            lease.last_error = stream_run.metrics.last_error
            if lease.lost:
                raise StreamError(f"{lease.lost}: this one ends")
            if (
                stream_run.metrics.next_start is not None
                and stream_run.metrics.next_start <= time.time()
            ):
                stream.start_due_campaigns()
            if time.monotonic() >= show_at:
                lease.status = _status(stream_run, topic_id)
                show_at = time.monotonic() + leases.HEARTBEAT_S
    finally:
        asked_to_stop = stream_run.stop.is_set()
        stream_run.stop.set()  # whatever the reason: nothing is tried again from here on
        query.stop()
        with contextlib.suppress(Py4JError):
            lease.status = _status(stream_run, topic_id)
    if asked_to_stop:
        return  # what was under way is begun again by the next run
    if failure := stream.failure or query.exception():
        raise _failed(stream_run.settings, failure)
    if not stream_run.until_caught_up:
        raise StreamError("Spark ended the stream without saying why")


def _status(stream_run: StreamRun, topic_id: str) -> "leases.StreamStatus":
    read = (
        None if stream_run.again_from is not None else stream_run.read_offsets()
    )  # the stream itself reads elsewhere
    return leases.StreamStatus(
        stream_run.metrics.as_json,
        {"topic_id": topic_id, "offsets": read} if read is not None else None,
    )


def _failed(settings: Settings, error: BaseException) -> StreamError:
    if authorization_error_in(error):
        check_topics(
            settings
        )  # Java's clients say that a topic was refused, and not which: this does
    return StreamError(f"the stream failed: {first_line(error)}")

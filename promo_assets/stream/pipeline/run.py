"""One run of the stream, from the checks to the end. The command line and the Dagster op use it."""

import contextlib
import logging
import threading
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
from promo_assets.stream.kafka.lag import measure_lag
from promo_assets.stream.kafka.topic_limits import raise_topic_limits
from promo_assets.stream.kafka.topics import check_topics
from promo_assets.stream.ledger.connection import connect
from promo_assets.stream.ledger.lease import Lease, StreamStatus, acquire_lease, read_status
from promo_assets.stream.offsets import Offsets
from promo_assets.stream.pipeline.metrics import Metrics
from promo_assets.stream.pipeline.preflight import (
    check_producer_permissions,
    make_writer_context,
    prepare_checkpoint_folder,
    prepare_database,
)
from promo_assets.stream.pipeline.query import PromoStream
from promo_assets.stream.pipeline.reprocess import begin_at
from promo_assets.stream.pipeline.session import await_executor, get_session, open_stream_session
from promo_assets.stream.pipeline.sources import read_end_offsets, remove_checkpoint
from promo_assets.stream.pipeline.watch import watch_query

STOP_TIMEOUT_S = 8

log = logging.getLogger(__name__)


@dataclass
class StreamRun:
    """One run of the stream: how to start and stop it, and what other threads see of it.

    A run is used once. `start` runs it in a thread of its own, so that the main thread stays free
    for signals. `run_stream` runs it in the caller's thread instead. Its lifecycle:
    1. created: nothing is open;
    2. starting: the checks, the lease and Spark; `query` is None;
    3. streaming: `query` is set and `metrics` change;
    4. ended: `error` is final, and `ended` is set.
    `stop` ends the second and the third stage. A run in the caller's thread raises its error
    instead of setting `error` and `ended`.
    """

    settings: Settings
    get_spark: Callable[[], SparkSession]
    holder: str
    """The name under which the run holds the lease."""
    until_caught_up: bool = False
    """Whether the run ends by itself after the last message that was there at its start."""
    reprocess_from: Offsets | None = None
    """Read the input topic again from these offsets (of all partitions) to its end.

    Such a run has a checkpoint of its own."""
    stop: threading.Event = field(default_factory=threading.Event, init=False)
    ended: threading.Event = field(default_factory=threading.Event, init=False)
    metrics: Metrics = field(default_factory=Metrics, init=False)
    query: StreamingQuery | None = field(default=None, init=False)
    error: BaseException | None = field(default=None, init=False)

    def start(self) -> None:
        """Run the stream in a thread."""
        threading.Thread(target=self._run, name="promo-stream", daemon=True).start()

    def finish(self) -> None:
        """Stop the stream and wait for its end, but for `STOP_TIMEOUT_S` at most.

        The next run does what this one leaves undone.
        """
        self.stop.set()
        self.ended.wait(STOP_TIMEOUT_S)

    def read_offsets(self) -> Offsets | None:
        """Return where the finished micro-batches have read the input topic to, None if unknown."""
        return read_end_offsets(self.query, self.settings.topic_in) if self.query else None

    def lag(self) -> tuple[int, float | None] | None:
        """Return how far the last finished micro-batch is behind the input topic's end.

        The result is as in `measure_lag`, or None if it is unknown.
        """
        try:
            read = self.read_offsets()
            return measure_lag(self.settings, read) if read is not None else None
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
    """Run until `stream_run.stop` is set, or until the stream has caught up if that is requested.

    Raises `StreamError` with a message of one line if the stream fails.
    """
    settings, stop = stream_run.settings, stream_run.stop
    prepare_database(settings)
    topics = check_topics(settings)
    raise_topic_limits(settings)
    with acquire_lease(settings.database_url, stream_run.holder) as lease:
        log.info("this run has the lease (epoch %d)", lease.epoch)
        context = make_writer_context(settings, lease, topics)
        check_producer_permissions(settings, context)
        spark = get_session(stream_run.get_spark, settings)
        if stop.is_set():
            return
        # Each input topic has a checkpoint of its own, named by the topic's id: a topic that was
        # deleted and created again under the same name is read from its start.
        checkpoint = f"{settings.checkpoint_root.rstrip('/')}/{settings.topic_in}-{topics.in_id}"
        prepare_checkpoint_folder(checkpoint)
        await_executor(spark, stop, lambda problem: _report(stream_run, lease, problem))
        try:
            session = open_stream_session(spark)
            stream = PromoStream(
                session, settings, context, topics.out_partitions, stop, stream_run.metrics
            )
            if stream_run.reprocess_from is None:
                _run_query(stream_run, stream, lease, topics.in_id, checkpoint)
            else:
                folder = f"{checkpoint}-reprocess"
                _reprocess(stream_run, session, stream, lease, topics.in_id, folder)
        except (PySparkException, Py4JError, AuthorizationError) as error:
            raise _make_stream_error(settings, error) from error


def _report(stream_run: StreamRun, lease: Lease, problem: str | None) -> None:
    lease.last_error = stream_run.metrics.last_error = problem
    if problem:
        log.warning(problem)


def _reprocess(
    stream_run: StreamRun,
    session: SparkSession,
    stream: PromoStream,
    lease: Lease,
    topic_id: str,
    checkpoint: str,
) -> None:
    """Read the input topic again, with a new checkpoint each time.

    One that a crash has left might begin later than what is to be read this time.
    """
    assert stream_run.reprocess_from is not None
    settings = stream_run.settings
    with connect(settings.database_url, "promo stream, start") as connection:
        read = read_status(connection).read_offsets
    start_at = begin_at(settings, stream_run.reprocess_from, read)
    log.info("reading again from %s (offset by partition)", start_at)
    remove_checkpoint(session, checkpoint)
    _run_query(stream_run, stream, lease, topic_id, checkpoint, start_at)
    remove_checkpoint(session, checkpoint)


def _run_query(
    stream_run: StreamRun,
    stream: PromoStream,
    lease: Lease,
    topic_id: str,
    checkpoint: str,
    start_at: Offsets | None = None,
) -> None:
    def update_status() -> None:
        lease.status = _make_status(stream_run, topic_id)

    stream.start_due_campaigns()  # first what an earlier run left
    query = stream_run.query = stream.start(checkpoint, stream_run.until_caught_up, start_at)
    log.info("the stream is running")
    try:
        watch_query(query, stream, lease, stream_run.metrics, stream_run.stop, update_status)
    finally:
        stop_requested = stream_run.stop.is_set()
        stream_run.stop.set()  # whatever the reason: from here on nothing is retried
        query.stop()
        with contextlib.suppress(Py4JError):
            update_status()
    if stop_requested:
        return  # the next run repeats what was in progress
    if failure := stream.failure or query.exception():
        raise _make_stream_error(stream_run.settings, failure)
    if not stream_run.until_caught_up:
        raise StreamError("The stream stopped unexpectedly: Spark gave no reason")


def _make_status(stream_run: StreamRun, topic_id: str) -> StreamStatus:
    # A run that reprocesses does not change where the stream itself has read to.
    read = stream_run.read_offsets() if stream_run.reprocess_from is None else None
    return StreamStatus(
        stream_run.metrics.as_json,
        {"topic_id": topic_id, "offsets": read} if read is not None else None,
    )


def _make_stream_error(settings: Settings, error: BaseException) -> StreamError:
    if authorization_error_in(error):
        # Java's clients say that a topic was refused, but not which. This check names it.
        check_topics(settings)
    return StreamError(f"The stream failed: {first_line(error)}")

"""Hosting the stream: checks first, then one run from its turn to its end. Used by the command line and by the Dagster op."""

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
from promo_assets.stream import turn as turns
from promo_assets.stream.figures import Figures
from promo_assets.stream.lag import count_behind, oldest_unread_s
from promo_assets.stream.query import PromoStream, first_line
from promo_assets.stream.refusals import Refused, refusal_in
from promo_assets.stream.reprocess import begin_at
from promo_assets.stream.start import await_executor, check_room, get_session, prepare_database
from promo_assets.stream.topics import check_topics, input_offsets, no_answer
from promo_assets.stream.turn import StreamError, take_turn
from promo_assets.stream.writer import Turn, connect, rehearse

LOOK_S = 0.2
STOP_S = 8

log = logging.getLogger(__name__)


@dataclass
class Hosted:
    """A run of the stream in a thread of its own, so that the main thread stays free for signals."""

    settings: Settings
    get_spark: Callable[[], SparkSession]
    holder: str
    until_caught_up: bool = False
    again_from: dict[int, int] | None = None
    """Reprocess: read the input topic again from these offsets (by partition, all of them) to its end, with a checkpoint for this alone."""
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    figures: Figures = field(default_factory=Figures)
    error: BaseException | None = None
    query: StreamingQuery | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="promo-stream", daemon=True).start()

    def finish(self) -> None:
        """Ask the stream to stop and wait for it, but not forever: what it leaves undone, the next run does."""
        self.stop.set()
        self.ended.wait(STOP_S)

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


def run_stream(host: Hosted) -> None:
    """Run until `host.stop`, until caught up where that is asked, or until it fails: `StreamError`, in one line."""
    settings = host.settings
    prepare_database(settings)
    topics = check_topics(settings)
    with take_turn(settings.database_url, host.holder) as held:
        log.info("this run has the turn to write (epoch %d)", held.epoch)
        turn = Turn(
            ledger_id=held.ledger_id,
            epoch=held.epoch,
            query_id="",
            topic_in=settings.topic_in,
            topic_in_id=topics.in_id,
            topic_dead_letters=settings.topic_dead_letters,
            database_url=settings.database_url,
            kafka_client=settings.kafka_client(),
        )
        try:
            rehearse(turn)
        except Refused as error:
            raise StreamError(str(error)) from None
        except KafkaException as error:
            raise StreamError(no_answer(settings, error.args[0])) from None
        spark = get_session(host.get_spark, settings)
        if host.stop.is_set():
            return
        # Each input topic has a checkpoint of its own, by the topic's id: one made anew under the same name is read from its start.
        checkpoint = f"{settings.checkpoint_root.rstrip('/')}/{settings.topic_in}-{topics.in_id}"
        check_room(checkpoint)
        await_executor(spark, host.stop, lambda trouble: _tell(host, held, trouble))
        try:
            stream = PromoStream(spark, settings, turn, topics.out_partitions, host.stop)
            stream.figures = host.figures
            if host.again_from is None:
                _run_query(host, stream, held, checkpoint, topics.in_id)
            else:
                _read_again(host, stream, held, checkpoint, topics.in_id)
        except (PySparkException, Py4JError, Refused) as error:
            raise _failed(settings, error) from error


def _tell(host: Hosted, held: "turns.Turn", trouble: str | None) -> None:
    held.last_error = host.figures.last_error = trouble
    if trouble:
        log.warning(trouble)


def _read_again(host: Hosted, stream: PromoStream, held: "turns.Turn", checkpoint: str, topic_id: str) -> None:
    """Its checkpoint begins anew each time: one that a crash left could stand behind what is to be read this time."""
    assert host.again_from is not None
    with connect(host.settings.database_url, "promo stream, start") as connection:
        stream.start_at = begin_at(host.settings, host.again_from, turns.read_shown(connection).read_offsets)
    log.info("reading again from %s (offset by partition)", stream.start_at)
    folder = f"{checkpoint}-reprocess"
    stream.forget(folder)
    _run_query(host, stream, held, folder, topic_id)
    stream.forget(folder)


def _run_query(host: Hosted, stream: PromoStream, held: "turns.Turn", checkpoint: str, topic_id: str) -> None:
    stream.wake()  # first what a former run left
    query = host.query = stream.start(checkpoint, host.until_caught_up)
    log.info("the stream runs")
    show_at = 0.0
    try:
        while query.isActive and not host.stop.wait(LOOK_S):
            held.last_error = host.figures.last_error
            if held.lost:
                raise StreamError(f"{held.lost}: this one ends")
            if host.figures.next_start is not None and host.figures.next_start <= time.time():
                stream.wake()
            if time.monotonic() >= show_at:
                held.shown = _shown(host, topic_id)
                show_at = time.monotonic() + turns.HEARTBEAT_S
    finally:
        asked_to_stop = host.stop.is_set()
        host.stop.set()  # whatever the reason: nothing is tried again from here on
        query.stop()
        with contextlib.suppress(Py4JError):
            held.shown = _shown(host, topic_id)
    if asked_to_stop:
        return  # what was under way is begun again by the next run
    if failure := stream.failure or query.exception():
        raise _failed(host.settings, failure)
    if not host.until_caught_up:
        raise StreamError("Spark ended the stream without saying why")


def _shown(host: Hosted, topic_id: str) -> "turns.Shown":
    read = None if host.again_from is not None else host.read_offsets()  # the stream itself reads elsewhere
    return turns.Shown(host.figures.shown, {"topic_id": topic_id, "offsets": read} if read is not None else None)


def _failed(settings: Settings, error: BaseException) -> StreamError:
    if refusal_in(error):
        check_topics(settings)  # Java's clients say that a topic was refused, and not which: this does
    return StreamError(f"the stream failed: {first_line(error)}")

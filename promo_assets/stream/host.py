"""Hosting the stream: checks first, then one run from its turn to its end. Used by the command line and by the Dagster op."""

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException
from psycopg.errors import InsufficientPrivilege
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from promo_assets.settings import Settings
from promo_assets.stream import turn as turns
from promo_assets.stream.figures import Figures
from promo_assets.stream.grants import missing_right
from promo_assets.stream.ledger import apply_ddl, ddl_is_applied
from promo_assets.stream.query import PromoStream, first_line
from promo_assets.stream.refusals import Refused, refusal_in
from promo_assets.stream.topics import check_topics, end_offsets
from promo_assets.stream.turn import StreamError, take_turn
from promo_assets.stream.writer import Turn, connect, rehearse

LOOK_S = 0.2
STOP_S = 8
CHECKPOINT_ROOM_BYTES = 64 * 1024

log = logging.getLogger(__name__)


@dataclass
class Hosted:
    """A run of the stream in a thread of its own, so that the main thread stays free for signals."""

    settings: Settings
    get_spark: Callable[[], SparkSession]
    holder: str
    until_caught_up: bool = False
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

    def messages_behind(self) -> int | None:
        """Offsets between the last finished micro-batch and the input topic's end; None where it is not known."""
        try:
            progress = self.query.lastProgress if self.query else None
            if not progress or not progress.sources or not progress.sources[0].endOffset:
                return None
            read = json.loads(progress.sources[0].endOffset)[self.settings.topic_in]
            ends = end_offsets(self.settings)
        except (KafkaException, Py4JError):
            return None
        return sum(max(0, end - read.get(str(partition), 0)) for partition, end in ends.items())

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
        except (Refused, KafkaException) as error:
            raise StreamError(first_line(error)) from None
        spark = host.get_spark()
        if host.stop.is_set():
            return
        lanes = min(spark.sparkContext.defaultParallelism, topics.out_partitions)
        # Each input topic has a checkpoint of its own, by the topic's id: one made anew under the same name is read from its start.
        checkpoint = f"{settings.checkpoint_root.rstrip('/')}/{settings.topic_in}-{topics.in_id}"
        check_room(checkpoint)
        try:
            stream = PromoStream(spark, settings, turn, lanes, host.stop)
            stream.figures = host.figures
            _run_query(host, stream, held, checkpoint)
        except (PySparkException, Py4JError, Refused) as error:
            raise _failed(settings, error) from error


def _run_query(host: Hosted, stream: PromoStream, held: "turns.Turn", checkpoint: str) -> None:
    stream.wake()  # first what a former run left
    query = host.query = stream.start(checkpoint, host.until_caught_up)
    log.info("the stream runs")
    try:
        while query.isActive and not host.stop.wait(LOOK_S):
            held.last_error = host.figures.last_error
            if held.lost:
                raise StreamError(f"{held.lost}: this one ends")
            if host.figures.next_start is not None and host.figures.next_start <= time.time():
                stream.wake()
    finally:
        asked_to_stop = host.stop.is_set()
        host.stop.set()  # whatever the reason: nothing is tried again from here on
        query.stop()
    if asked_to_stop:
        return  # what was under way is begun again by the next run
    if failure := stream.failure or query.exception():
        raise _failed(host.settings, failure)
    if not host.until_caught_up:
        raise StreamError("Spark ended the stream without saying why")


def _failed(settings: Settings, error: BaseException) -> StreamError:
    if refusal_in(error):
        check_topics(settings)  # Java's clients say that a topic was refused, and not which: this does
    return StreamError(f"the stream failed: {first_line(error)}")


def check_room(checkpoint: str) -> None:
    """A local checkpoint can be written: on a full disk Spark's own attempt takes the JVM's gateway with it, and tells nothing."""
    scheme, _, rest = checkpoint.rpartition("://") if "://" in checkpoint else ("", "", checkpoint.removeprefix("file:"))
    if scheme not in ("", "file"):
        return
    folder = Path(rest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x" * CHECKPOINT_ROOM_BYTES)
    except OSError as error:
        raise StreamError(f"the checkpoint {folder} cannot be written: {error.strerror}") from None


def prepare_database(settings: Settings) -> None:
    """The tables and the ledger are there, or are made, and may be used; raises `StreamError` where something is not to be had."""
    role = "of this login"
    try:
        with connect(settings.database_url, "promo stream, start") as connection:
            role = connection.info.user
            if not ddl_is_applied(connection):
                apply_ddl(settings.database_url)
            if missing := missing_right(connection):
                raise StreamError(
                    f"role {role} lacks {missing} in Postgres: run `promo-assets ledger apply --grant-to {role}` as the owner of the tables"
                )
    except InsufficientPrivilege:
        raise StreamError(
            f"the tables are missing and role {role} may not create them: run `promo-assets ledger apply` as the owner"
        ) from None
    except psycopg.OperationalError as error:
        raise StreamError(f"Postgres gave no connection: {first_line(error)}") from None
    except psycopg.Error as error:
        raise StreamError(f"Postgres refused the stream's tables: {first_line(error)}") from None

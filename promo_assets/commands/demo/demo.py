"""`demo`: all is started, campaigns are sent, what became of them is read from both sinks; then the lake, and what the clients answered."""

import contextlib
import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
from confluent_kafka.admin import AclOperation
from rich.console import Console
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from promo_assets.commands import console
from promo_assets.commands.console import INTERRUPTED, CommandError, spinner, stop_on_signals
from promo_assets.commands.dagster_dev import DagsterDev, stop_leftover
from promo_assets.commands.demo import data as demo_data
from promo_assets.commands.demo.campaigns import show_campaigns
from promo_assets.commands.demo.data import Sample
from promo_assets.commands.demo.lake import show_lake
from promo_assets.commands.demo.results import (
    Position,
    Results,
    count_dead_letters,
    count_rows,
    states,
)
from promo_assets.commands.kafka import AllOrNothing, Topic, end_offsets, find_topic
from promo_assets.local import services
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.ledger.lease import read_heartbeat

POLL_S = 0.5
STREAM_START_TIMEOUT_S = 180
DELIVERY_TIMEOUT_S = 120
LEADER_TIMEOUT_S = 15
WIDTH = 120


def run_demo(stay: bool) -> None:
    settings = load_settings()
    stop = threading.Event()
    with stop_on_signals(stop), _only_demo(settings):
        with spinner("starting Kafka and Postgres") as tell:
            endpoints = services.up(settings, tell)
            settings = load_settings()  # the ports may be new
            if stop_leftover(settings):
                console.info("ended the Dagster that a killed demo had left")
        console.info(
            f"Kafka is up at {endpoints.kafka}, and Postgres too: `promo-assets status` prints its address"
        )
        dagster = DagsterDev(settings)
        seen = False
        try:
            dagster.start()
            _Demo(settings, dagster, stop).show()
            seen = True
            if stay:
                _stay(dagster, stop)
        except _Stopped:
            pass
        finally:
            with spinner("stopping the stream and Dagster"):
                dagster.stop()
    console.info(
        "Dagster and the stream have ended; Kafka and Postgres stay up until `promo-assets down`"
    )
    if not seen:
        sys.exit(INTERRUPTED)


class _Stopped(Exception):
    """The user has seen enough."""


class _Demo:
    def __init__(self, settings: Settings, dagster: DagsterDev, stop: threading.Event):
        self._settings = settings
        self._dagster = dagster
        self._stop = stop
        self._run = f"demo-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.urandom(2).hex()}"

    def show(self) -> None:
        """Prints what it saw; raises `CommandError` where that is not what was promised."""
        settings, database_url = self._settings, self._settings.database_url
        input_topic = find_topic(settings, settings.topic_in, AclOperation.WRITE)
        out, dead_letters = (
            self._position(settings.topic_out),
            self._position(settings.topic_dead_letters),
        )
        with spinner(f"starting Dagster (its log is {self._dagster.log})") as tell:
            added = demo_data.fill_favourites(database_url)
            console.info(
                f"filled {added:,} favourites"
                if added
                else f"the {demo_data.FAVOURITES:,} sample favourites are there"
            )
            audience = demo_data.audiences(database_url)
            self._wait(self._stream_runs, STREAM_START_TIMEOUT_S, "the stream did not start")
            console.info(
                f"Dagster runs at {self._dagster.url}, and its sensor has started the stream"
            )

            tell("sending campaigns: active, sent twice, over, malformed")
            samples = demo_data.first_samples(self._run, int(time.time()))
            self._send(input_topic, samples)
            due = _expected(samples, audience)
            rejected = sum(sample.rejected for sample in samples)
            self._wait(
                lambda: count_rows(database_url, samples) >= due,
                DELIVERY_TIMEOUT_S,
                "not all notifications came",
            )
            self._wait(
                lambda: count_dead_letters(settings, dead_letters, self._run) >= rejected,
                DELIVERY_TIMEOUT_S,
                "not all dead letters came",
            )
            console.info("the active campaigns have notified")

            tell(f"sending a campaign that starts in {demo_data.STARTS_IN_S} s")
            late = demo_data.late_sample(self._run, int(time.time()))
            self._send(input_topic, [late])
            campaign_id = next(iter(late.campaigns))
            self._wait(
                lambda: campaign_id in states(database_url, self._run),
                DELIVERY_TIMEOUT_S,
                "the later campaign was not ingested",
            )
            if states(database_url, self._run)[campaign_id] != "waiting":
                raise CommandError(
                    f"the later campaign was ingested only after its start: this machine is too busy{self._where_to_look()}"
                )
            console.info("the later campaign waits for its start")
            samples.insert(2, late)
            due = _expected(samples, audience)
            self._wait(
                lambda: count_rows(database_url, samples) >= due,
                DELIVERY_TIMEOUT_S,
                "the campaign that waited did not notify",
            )

            tell("reading both sinks")
            results = self._read(samples, audience, out, dead_letters)
        Console(width=None if sys.stdout.isatty() else WIDTH).print(results.table())
        if problems := results.problems():
            raise CommandError(f"not as promised: {'; '.join(problems)}{self._where_to_look()}")
        self._wait(self._dagster.answers, DELIVERY_TIMEOUT_S, "Dagster's UI did not answer")
        print(
            f"Every pair has one row in Postgres and one message in Kafka, and they agree. Dagster: {self._dagster.url}",
            flush=True,
        )
        show_lake(settings, self._dagster, self._wait, self._go_on)
        show_campaigns(settings, self._dagster, self._wait, self._go_on, self._stop, self._run, out)

    def _read(
        self, samples: list[Sample], audience: dict[str, int], out: Position, dead_letters: Position
    ) -> Results:
        def read() -> Results:
            return Results(self._settings, samples, audience, self._run, out, dead_letters)

        results = [read()]

        def complete() -> bool:
            if results[0].missing_messages():
                results[0] = read()
            return not results[0].missing_messages()

        self._wait(complete, DELIVERY_TIMEOUT_S, "Kafka did not get all that Postgres has")
        return results[0]

    @retry(
        retry=retry_if_exception_type(CommandError),
        wait=wait_fixed(POLL_S),
        stop=stop_after_delay(LEADER_TIMEOUT_S),
        reraise=True,
    )
    def _position(self, name: str) -> Position:
        """A topic that was just made has no leader for a moment."""
        topic = find_topic(self._settings, name, AclOperation.READ)
        return Position(topic, end_offsets(self._settings, topic))

    def _send(self, topic: Topic, samples: list[Sample]) -> None:
        producer = AllOrNothing(self._settings, topic)
        with producer.transaction():
            for sample in samples:
                for key, value in sample.messages:
                    producer.send(key, value, f"a message that is {sample.what}")

    def _stream_runs(self) -> bool:
        with psycopg.connect(self._settings.database_url) as connection:
            return read_heartbeat(connection).locked

    def _wait(self, reached: Callable[[], bool], seconds: float, failure: str) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            self._stop.wait(POLL_S)
            self._go_on()
            if not self._dagster.runs():
                raise CommandError(f"Dagster ended by itself{self._where_to_look()}")
            if time.monotonic() > deadline:
                raise CommandError(f"{failure} within {seconds:g} s{self._where_to_look()}")

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _where_to_look(self) -> str:
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(self._settings.database_url) as connection,
        ):
            if last_error := read_heartbeat(connection).last_error:
                return f". The stream's last trouble: {last_error}. See {self._dagster.log}"
        return f". See {self._dagster.log}"


def _expected(samples: list[Sample], audience: dict[str, int]) -> int:
    return sum(audience[name] for sample in samples for name in sample.campaigns.values())


def _stay(dagster: DagsterDev, stop: threading.Event) -> None:
    console.info(
        "the stream goes on: send it campaigns with `promo-assets campaigns send`; Ctrl-C ends it"
    )
    while not stop.wait(POLL_S):
        if not dagster.runs():
            raise CommandError(f"Dagster ended by itself. See {dagster.log}")


@contextlib.contextmanager
def _only_demo(settings: Settings) -> Iterator[None]:
    """One demo a home at a time; the lock goes with the process, however that ends."""
    path = settings.home / "local" / "demo.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"another `promo-assets demo` runs with PROMO_HOME {settings.home}: end that one first"
            ) from None
        yield

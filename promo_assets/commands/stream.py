"""`stream run`: the stream in this process, until it is told to end."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator

import psutil

from promo_assets.commands.talk import CommandError, counted, first_line, keep_noise_in, say, signals_set
from promo_assets.settings import Settings, load_settings
from promo_assets.spark import end_jvm, open_session
from promo_assets.stream.host import Hosted
from promo_assets.stream.turn import StreamError

LOOK_S = 0.2
TELL_EVERY_S = 5


def run_stream_here(until_caught_up: bool) -> None:
    host_stream(load_settings(), "promo-assets stream run", until_caught_up)


def host_stream(settings: Settings, command: str, until_caught_up: bool, again_from: dict[int, int] | None = None) -> None:
    spark_log = settings.home / "logs" / "spark.log"
    stop = threading.Event()
    with signals_set(stop), _log_told():
        keep_noise_in(spark_log)
        holder = f"{command}, process {os.getpid()}"
        host = Hosted(settings, lambda: open_session(settings, "promo stream"), holder, until_caught_up, again_from)
        say(f"starting the stream: topic {settings.topic_in} on Kafka at {settings.bootstrap_servers}; Spark's log is {spark_log}")
        host.start()
        try:
            _watch(host, stop)
            if not host.ended.is_set():
                say("stopping")
        finally:
            host.finish()
            _end_children()
    if host.error and not stop.is_set():
        # What the stream says of itself is for the user; anything else comes with the class and with the log's name.
        raise host.error if isinstance(host.error, StreamError) else CommandError(f"{first_line(host.error)} (Spark's log is {spark_log})")
    if not (stop.is_set() or until_caught_up):
        raise CommandError("the stream ended although nobody asked it to")
    if stop.is_set() and again_from is not None:
        raise CommandError("it was ended before all was read again: run it again")
    say(f"the stream has ended: {_told(host)}")


def _watch(host: Hosted, stop: threading.Event) -> None:
    """Until the stream has ended, or shall; what moved is told every few seconds."""
    told, told_at = "", 0.0
    while not stop.is_set() and not host.ended.wait(LOOK_S):
        if time.monotonic() - told_at < TELL_EVERY_S or not (host.figures.batches or host.figures.notifications):
            continue
        moved = f"{host.figures.sums}{host.figures.waiting}"
        if moved != told:
            say(_told(host))
            told, told_at = moved, time.monotonic()


def _told(host: Hosted) -> str:
    sums = host.figures.sums
    parts = [counted(sums[name], name) for name in ("campaigns", "notifications", "rejected", "repeated", "expired")]
    return ", ".join([*parts, f"{host.figures.waiting:,} waiting"])


@contextlib.contextmanager
def _log_told() -> Iterator[None]:
    """What the stream's modules log is told as any other line."""

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage())

    logger, handler = logging.getLogger("promo_assets"), Told(logging.INFO)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _end_children() -> None:
    """No JVM and no Python worker outlives the command, not even one that was only just being started."""
    children = psutil.Process().children(recursive=True)
    end_jvm()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()

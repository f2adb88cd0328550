"""`stream run`: the stream in this process, until it is told to end."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator

import psutil

from promo_assets.commands import console
from promo_assets.commands.console import (
    CommandError,
    count_of,
    first_line,
    redirect_stderr_to,
    stop_on_signals,
)
from promo_assets.jvm.session import end_jvm, open_session
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.errors import StreamError
from promo_assets.stream.pipeline.run import StreamRun

POLL_S = 0.2
REPORT_INTERVAL_S = 5


def run_stream_command(until_caught_up: bool) -> None:
    run_stream_in_foreground(load_settings(), "promo-assets stream run", until_caught_up)


def run_stream_in_foreground(
    settings: Settings,
    command: str,
    until_caught_up: bool,
    again_from: dict[int, int] | None = None,
) -> None:
    spark_log = settings.home / "logs" / "spark.log"
    stop = threading.Event()
    with stop_on_signals(stop), _log_told():
        redirect_stderr_to(spark_log)
        holder = f"{command}, process {os.getpid()}"
        stream_run = StreamRun(
            settings,
            lambda: open_session(settings, "promo stream"),
            holder,
            until_caught_up,
            again_from,
        )
        console.info(
            f"starting the stream: topic {settings.topic_in} on Kafka at {settings.bootstrap_servers}; Spark's log is {spark_log}"
        )
        stream_run.start()
        try:
            _watch(stream_run, stop)
            if not stream_run.ended.is_set():
                console.info("stopping")
        finally:
            stream_run.finish()
            _end_children()
    if stream_run.error and not stop.is_set():
        # What the stream says of itself is for the user; anything else comes with the class and with the log's name.
        raise (
            stream_run.error
            if isinstance(stream_run.error, StreamError)
            else CommandError(f"{first_line(stream_run.error)} (Spark's log is {spark_log})")
        )
    if not (stop.is_set() or until_caught_up):
        raise CommandError("the stream ended although nobody asked it to")
    if stop.is_set() and again_from is not None:
        raise CommandError("it was ended before all was read again: run it again")
    console.info(f"the stream has ended: {_told(stream_run)}")


def _watch(stream_run: StreamRun, stop: threading.Event) -> None:
    """Until the stream has ended, or shall; what moved is told every few seconds."""
    told, told_at = "", 0.0
    while not stop.is_set() and not stream_run.ended.wait(POLL_S):
        if time.monotonic() - told_at < REPORT_INTERVAL_S or not (
            stream_run.metrics.batches or stream_run.metrics.notifications
        ):
            continue
        moved = f"{stream_run.metrics.sums}{stream_run.metrics.waiting}"
        if moved != told:
            console.info(_told(stream_run))
            told, told_at = moved, time.monotonic()


def _told(stream_run: StreamRun) -> str:
    sums = stream_run.metrics.sums
    parts = [
        count_of(sums[name], name)
        for name in ("campaigns", "notifications", "rejected", "repeated", "expired")
    ]
    return ", ".join([*parts, f"{stream_run.metrics.waiting:,} waiting"])


@contextlib.contextmanager
def _log_told() -> Iterator[None]:
    """What the stream's modules log is told as any other line."""

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.info(record.getMessage())

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

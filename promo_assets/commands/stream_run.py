"""`stream run`: the stream in this process, without Dagster."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from promo_assets.commands import console
from promo_assets.commands.console import (
    CommandError,
    count_of,
    describe_error,
    redirect_stderr_to,
    stop_on_signals,
)
from promo_assets.jvm.session import end_jvm, open_session
from promo_assets.settings import Settings, load_settings
from promo_assets.stream.errors import StreamError
from promo_assets.stream.pipeline.run import StreamRun

POLL_S = 0.2
REPORT_INTERVAL_S = 5
METRICS = ("campaigns", "notifications", "rejected", "repeated", "expired")


def run_stream_command(until_caught_up: bool) -> None:
    run_stream_in_foreground(load_settings(), "promo-assets stream run", until_caught_up)


def run_stream_in_foreground(
    settings: Settings,
    command: str,
    until_caught_up: bool,
    again_from: dict[int, int] | None = None,
) -> None:
    """Run the stream until a signal, or until it has caught up.

    again_from: the offsets, by partition, from which to read the input topic again.
    """
    spark_log = settings.home / "logs" / "spark.log"
    stop = threading.Event()
    with stop_on_signals(stop), _log_to_console():
        redirect_stderr_to(spark_log)
        stream_run = StreamRun(
            settings,
            lambda: open_session(settings, "promo stream"),
            f"{command}, process {os.getpid()}",
            until_caught_up,
            again_from,
        )
        kafka = f"Kafka at {settings.bootstrap_servers}"
        console.info(
            f"starting the stream: topic {settings.topic_in} on {kafka}; Spark's log is {spark_log}"
        )
        stream_run.start()
        try:
            _report_until_end(stream_run, stop)
            if not stream_run.ended.is_set():
                console.info("stopping")
        finally:
            stream_run.finish()
            _kill_children()
    if not stop.is_set():
        _raise_error(stream_run, spark_log, until_caught_up)
    elif again_from is not None:
        raise CommandError(
            "The stream was stopped before it had read everything again: run the command again"
        )
    console.info(f"the stream has ended: {_describe_metrics(stream_run)}")


def _raise_error(stream_run: StreamRun, spark_log: Path, until_caught_up: bool) -> None:
    """Raise why the stream ended although it was not stopped, unless it was to end by itself.

    The stream's own errors are written for users; any other is raised with its class and the log's
    name.
    """
    if isinstance(stream_run.error, StreamError):
        raise stream_run.error
    if stream_run.error:
        raise CommandError(f"{describe_error(stream_run.error)} (Spark's log is {spark_log})")
    if not until_caught_up:
        raise CommandError(f"The stream stopped unexpectedly. See Spark's log, {spark_log}")


def _report_until_end(stream_run: StreamRun, stop: threading.Event) -> None:
    """Report every few seconds what has changed, until the stream ends or `stop` is set."""
    metrics = stream_run.metrics
    reported, reported_at = "", 0.0
    while not stop.is_set() and not stream_run.ended.wait(POLL_S):
        is_due = time.monotonic() - reported_at >= REPORT_INTERVAL_S
        if not is_due or not (metrics.batches or metrics.notifications):
            continue
        values = f"{metrics.sums}{metrics.waiting}"
        if values != reported:
            console.info(_describe_metrics(stream_run))
            reported, reported_at = values, time.monotonic()


def _describe_metrics(stream_run: StreamRun) -> str:
    sums = stream_run.metrics.sums
    counts = [count_of(sums[name], name) for name in METRICS]
    return ", ".join([*counts, f"{stream_run.metrics.waiting:,} waiting"])


class _ConsoleHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        console.info(record.getMessage())


@contextlib.contextmanager
def _log_to_console() -> Iterator[None]:
    """Show what the stream's modules log."""
    logger, handler = logging.getLogger("promo_assets"), _ConsoleHandler(logging.INFO)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _kill_children() -> None:
    """Kill the JVM and the Python workers, including one that was only just being started."""
    children = psutil.Process().children(recursive=True)
    end_jvm()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()

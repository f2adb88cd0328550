"""`demo`: start the services and Dagster, show the stream, the lake and the clients' answers."""

import contextlib
import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator

from promo_assets.commands import console
from promo_assets.commands.console import INTERRUPTED, CommandError, spinner, stop_on_signals
from promo_assets.commands.dagster_dev import DagsterDev, start_dagster, stop_dagster
from promo_assets.commands.demo.campaigns import show_campaigns
from promo_assets.commands.demo.lake import show_lake
from promo_assets.commands.demo.session import POLL_S, DemoSession, DemoStopped
from promo_assets.commands.demo.stream import show_stream
from promo_assets.local import services
from promo_assets.settings import Settings, load_settings


def run_demo(stay: bool) -> None:
    """Run the demo; with `stay`, Dagster and the stream then go on until Ctrl-C."""
    settings = load_settings()
    stop = threading.Event()
    with stop_on_signals(stop), _lock_demo(settings):
        settings = _start_services(settings)
        finished = False
        try:
            dagster = start_dagster(settings)
            name = f"demo-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.urandom(2).hex()}"
            _show_all(DemoSession(settings, dagster, stop, name))
            finished = True
            if stay:
                _stay(dagster, stop)
        except DemoStopped:
            pass
        finally:
            with spinner("stopping the stream and Dagster"):
                stop_dagster(settings)
    console.info(
        "Dagster and the stream have stopped; Kafka and Postgres stay up until `promo-assets down`"
    )
    if not finished:
        sys.exit(INTERRUPTED)


def _start_services(settings: Settings) -> Settings:
    """Start Kafka and Postgres, stop a former Dagster; return the settings with the new ports."""
    with spinner("starting Kafka and Postgres") as show_step:
        endpoints = services.up(settings, show_step)
        settings = load_settings()
        if stop_dagster(settings):
            console.info("stopped the Dagster of a demo that was killed")
    console.info(
        f"Kafka is up at {endpoints.kafka}, and so is Postgres: "
        "`promo-assets status` prints its address"
    )
    return settings


def _show_all(session: DemoSession) -> None:
    output = show_stream(session)
    show_lake(session)
    show_campaigns(session, output)


def _stay(dagster: DagsterDev, stop: threading.Event) -> None:
    console.info(
        "the stream goes on: send campaigns with `promo-assets campaigns send`, end it with Ctrl-C"
    )
    while not stop.wait(POLL_S):
        if not dagster.is_running():
            raise CommandError(f"Dagster stopped unexpectedly. See {dagster.log}")


@contextlib.contextmanager
def _lock_demo(settings: Settings) -> Iterator[None]:
    """Allow one demo per PROMO_HOME; the lock ends with the process, however that ends."""
    path = settings.home / "local" / "demo.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"Another `promo-assets demo` is running with PROMO_HOME {settings.home}. "
                "End that one first"
            ) from None
        yield

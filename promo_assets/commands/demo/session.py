"""A running demo: its settings, its Dagster, and how it waits and ends early."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from promo_assets.commands.console import CommandError
from promo_assets.commands.dagster_dev import DagsterDev
from promo_assets.settings import Settings
from promo_assets.stream.ledger.lease import read_heartbeat

POLL_S = 0.5


class DemoStopped(Exception):
    """The user pressed Ctrl-C."""


@dataclass(frozen=True)
class DemoSession:
    """`stop` is set by Ctrl-C; the name begins all ids and keys that this demo sends."""

    settings: Settings
    dagster: DagsterDev
    stop: threading.Event
    name: str

    def check_stopped(self) -> None:
        """Raise `DemoStopped` after Ctrl-C."""
        if self.stop.is_set():
            raise DemoStopped

    def wait_until(self, is_reached: Callable[[], bool], seconds: float, failure: str) -> None:
        """Wait for a condition; raises `CommandError` with the failure after so many seconds.

        Raises `CommandError` if Dagster ends, and `DemoStopped` after Ctrl-C.
        """
        deadline = time.monotonic() + seconds
        while not is_reached():
            self.stop.wait(POLL_S)
            self.check_stopped()
            if not self.dagster.is_running():
                raise CommandError(f"Dagster stopped unexpectedly{self.where_to_look()}")
            if time.monotonic() > deadline:
                raise CommandError(f"{failure} within {seconds:g} s{self.where_to_look()}")

    def where_to_look(self) -> str:
        """Return the end of an error message: the stream's last error, and Dagster's log."""
        see_log = f". See {self.dagster.log}"
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(self.settings.database_url) as connection,
        ):
            if last_error := read_heartbeat(connection).last_error:
                return f". The stream's last error: {last_error}{see_log}"
        return see_log

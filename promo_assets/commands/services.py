"""`up`, `down`, `status`."""

import contextlib
import json
import sys
import threading
from collections.abc import Iterable
from dataclasses import asdict
from typing import NoReturn

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from promo_assets.commands import console
from promo_assets.commands.console import (
    INTERRUPTED,
    CommandError,
    printable,
    spinner,
    stderr,
    stop_on_signals,
)
from promo_assets.commands.dagster_dev import stop_leftover
from promo_assets.commands.stream_state import Line, State, describe_state, read_state
from promo_assets.local import services
from promo_assets.postgres_url import without_password
from promo_assets.settings import Settings, load_settings

REFRESH_S = 2


def start_services() -> None:
    settings = load_settings()
    with spinner("starting Kafka and Postgres") as tell:
        endpoints = services.up(settings, tell)
    _print(settings, endpoints.kafka, endpoints.postgres_url)


def stop_services() -> None:
    settings = load_settings()
    if stop_leftover(settings):
        console.info("stopped the demo's Dagster")
    services.down(settings, console.info)


def print_status(as_json: bool, watch: bool) -> None:
    if watch:
        _watch(as_json)
    settings = load_settings()
    found, state = _look(settings)
    if as_json:
        print(_as_json(settings, found, state))
    else:
        _print(settings, found.kafka, found.postgres_url)
        sys.stdout.flush()
        _say(describe_state(state))
    if missing := _missing(found):
        raise CommandError(missing)


def _watch(as_json: bool) -> NoReturn:
    """Until Ctrl-C, also where something is away for a while."""
    stop = threading.Event()
    # Standard output stays what it is: on a terminal rich would take it for its own.
    screen = Live(
        console=Console(file=stderr()),
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    pictures = not as_json and screen.console.is_terminal
    with stop_on_signals(stop), screen if pictures else contextlib.nullcontext():
        while not stop.is_set():
            settings = (
                load_settings()
            )  # a local service that was started again may have another port
            found, state = _look(settings)
            lines = list(describe_state(state))
            if missing := _missing(found):
                lines.append(Line("trouble", missing, bad=True))
            if as_json:
                print(_as_json(settings, found, state), flush=True)
            elif pictures:
                screen.update(_as_grid(lines), refresh=True)
            else:
                _say(lines)
            stop.wait(REFRESH_S)
    sys.exit(INTERRUPTED)


def _look(settings: Settings) -> tuple[services.Status, State]:
    found = services.status(settings)
    return found, read_state(settings, found)


def _as_json(settings: Settings, found: services.Status, state: State) -> str:
    url = found.postgres_url and shown_url(settings, found.postgres_url)
    addresses = {"kafka": {"address": found.kafka}, "postgres": {"url": url}}
    return json.dumps(
        {name: addresses.get(name, {}) | part for name, part in asdict(state).items()}
    )


def _say(lines: Iterable[Line]) -> None:
    for line in lines:
        console.info(f"{line.about}: {line.told}" if line.about else f"  {line.told}")


def _as_grid(lines: Iterable[Line]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for line in lines:
        grid.add_row(
            Text(line.about, "bold"), Text(printable(line.told), "red" if line.bad else "")
        )
    return grid


def _missing(found: services.Status) -> str | None:
    missing = [
        name
        for name, where in (("Kafka", found.kafka), ("Postgres", found.postgres_url))
        if where is None
    ]
    verb = "do" if missing[1:] else "does"
    return (
        f"the local {' and '.join(missing)} {verb} not run: `promo-assets up` starts what is missing"
        if missing
        else None
    )


def _print(settings: Settings, kafka: str | None, postgres_url: str | None) -> None:
    if kafka:
        print(f"kafka {kafka}")
    if postgres_url:
        print(f"postgres {shown_url(settings, postgres_url)}")


def shown_url(settings: Settings, postgres_url: str) -> str:
    return postgres_url if settings.local_postgres else without_password(postgres_url)

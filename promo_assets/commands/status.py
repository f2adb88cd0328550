"""`status`: print where Kafka and Postgres are, and describe how the stream is doing."""

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
from promo_assets.commands.addresses import print_addresses, printable_url
from promo_assets.commands.console import (
    INTERRUPTED,
    CommandError,
    printable,
    stderr,
    stop_on_signals,
)
from promo_assets.commands.status_lines import Line, describe_state
from promo_assets.commands.stream_state import State, read_state
from promo_assets.local import services
from promo_assets.settings import Settings, load_settings

REFRESH_S = 2


def print_status(as_json: bool, watch: bool) -> None:
    if watch:
        _watch_status(as_json)
    settings = load_settings()
    addresses, state = _read_status(settings)
    if as_json:
        print(_as_json(settings, addresses, state))
    else:
        print_addresses(settings, addresses.kafka, addresses.postgres_url)
        sys.stdout.flush()
        _print_lines(describe_state(state))
    if problem := _describe_missing(addresses):
        raise CommandError(problem)


def _watch_status(as_json: bool) -> NoReturn:
    """Show the status again and again until Ctrl-C, also while a service is away."""
    stop = threading.Event()
    # rich would take standard output for its own if that is a terminal, too.
    live = Live(
        console=Console(file=stderr()),
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    is_live = not as_json and live.console.is_terminal
    with stop_on_signals(stop), live if is_live else contextlib.nullcontext():
        while not stop.is_set():
            settings = load_settings()  # a local service that was restarted may have another port
            addresses, state = _read_status(settings)
            lines = list(describe_state(state))
            if problem := _describe_missing(addresses):
                lines.append(Line("problem", problem, is_problem=True))
            if as_json:
                print(_as_json(settings, addresses, state), flush=True)
            elif is_live:
                live.update(_as_grid(lines), refresh=True)
            else:
                _print_lines(lines)
            stop.wait(REFRESH_S)
    sys.exit(INTERRUPTED)


def _read_status(settings: Settings) -> tuple[services.Status, State]:
    addresses = services.status(settings)
    return addresses, read_state(settings, addresses)


def _as_json(settings: Settings, addresses: services.Status, state: State) -> str:
    url = addresses.postgres_url and printable_url(settings, addresses.postgres_url)
    return json.dumps(
        {
            "kafka": {"address": addresses.kafka, **asdict(state.kafka)},
            "postgres": {"url": url, **asdict(state.postgres)},
            "stream": asdict(state.stream),
        }
    )


def _print_lines(lines: Iterable[Line]) -> None:
    for line in lines:
        console.info(f"{line.label}: {line.text}" if line.label else f"  {line.text}")


def _as_grid(lines: Iterable[Line]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for line in lines:
        style = "red" if line.is_problem else ""
        grid.add_row(Text(line.label, "bold"), Text(printable(line.text), style))
    return grid


def _describe_missing(addresses: services.Status) -> str | None:
    """Say which of the local services are not running; None where all are, or are elsewhere."""
    names = {"Kafka": addresses.kafka, "Postgres": addresses.postgres_url}
    missing = [name for name, address in names.items() if address is None]
    if not missing:
        return None
    verb = "are" if len(missing) > 1 else "is"
    return (
        f"the local {' and '.join(missing)} {verb} not running: "
        "`promo-assets up` starts what is missing"
    )

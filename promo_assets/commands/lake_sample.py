"""`lake sample`: write made-up RAW events into the lake."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from promo_assets.commands import console
from promo_assets.commands.console import INTERRUPTED, UserError, count_of, stderr, stop_on_signals
from promo_assets.commands.raw_days import RawDays, open_raw_days
from promo_assets.lake.tables import day_folder
from promo_assets.local.sample.days import Sample, write_day
from promo_assets.settings import load_settings

FILE = "lake-sample.parquet"  # a file of this name was written by this command, and is replaced
BYTES_PER_EVENT = 30

Advance = Callable[[int], None]  # takes the number of events that were written since the last call


class _Stopped(Exception):
    """The user pressed Ctrl-C."""


def write_sample(sample: Sample, number_of_days: int, last_day: str | None) -> None:
    settings = load_settings()
    days = _list_days(number_of_days, last_day)
    span = str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
    events = count_of(len(days) * sample.events_per_day, "events")
    summary = f"{count_of(len(days), 'days')} ({span}), {events}"
    sizes: list[int] = []  # bytes of each day that is in its place
    stop = threading.Event()
    with stop_on_signals(stop), open_raw_days(settings) as raw:
        _check_days(raw, sample, days)
        with (
            contextlib.suppress(_Stopped),
            raw.scratch() as scratch,
            _show_progress(summary, len(days) * sample.events_per_day, stop) as advance,
        ):
            for day in days:
                sizes.append(_write_day(raw, sample, day, scratch, advance))
    if len(sizes) < len(days):
        written = f"{len(sizes):,} of {count_of(len(days), 'days')} written"
        console.info(f"stopped: {written}, the others are as they were")
        sys.exit(INTERRUPTED)
    print(f"wrote {summary}, {sum(sizes) / 1e6:,.1f} MB to {raw.place}")
    print("load them with: .venv/bin/dg launch --job initial_load")


def _list_days(number: int, last_day: str | None) -> list[date]:
    last = datetime.now(UTC).date() - timedelta(days=1)
    if last_day is not None:
        try:
            last = datetime.strptime(last_day, "%Y-%m-%d").date()
        except ValueError:
            raise UserError(f"--last-day {last_day}: not a day such as 2026-01-31") from None
    if number > last.toordinal():
        raise UserError(
            f"--days {number}: the calendar begins with year 1, "
            f"so there are only {last.toordinal():,} days up to {last}"
        )
    return [last - timedelta(days=back) for back in reversed(range(number))]


def _check_days(raw: RawDays, sample: Sample, days: list[date]) -> None:
    """Raise `UserError` if the sample does not fit, or would replace what others wrote."""
    for day in days:
        _check_files(raw, day)
    needed = len(days) * sample.events_per_day * BYTES_PER_EVENT
    if raw.free_bytes is not None and needed > raw.free_bytes:
        raise UserError(
            f"The sample needs about {needed / 1e6:,.0f} MB, "
            f"and {raw.place} has {raw.free_bytes / 1e6:,.0f} MB free. Choose a smaller one"
        )


def _check_files(raw: RawDays, day: date) -> None:
    foreign = [name for name in raw.list_files(day) if name != FILE]
    if foreign:
        raise UserError(
            f"{raw.place}/{day_folder(day)} holds {foreign[0]}, which `lake sample` did not write: "
            "choose other days"
        )


def _write_day(raw: RawDays, sample: Sample, day: date, scratch: Path, advance: Advance) -> int:
    """Write a day and return its size in bytes."""
    folder = scratch / day_folder(day)
    folder.mkdir()
    write_day(sample, day, folder / FILE, advance)
    size = (folder / FILE).stat().st_size
    _check_files(raw, day)  # again, because others may have written it in the meantime
    raw.replace_day(day, folder)
    return size


@contextlib.contextmanager
def _show_progress(summary: str, events: int, stop: threading.Event) -> Iterator[Advance]:
    """Show a progress bar on a terminal, one line elsewhere.

    The function that it yields raises `_Stopped` once `stop` is set.
    """
    terminal = Console(file=stderr())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=terminal, transient=True, disable=not terminal.is_terminal
    ) as progress:
        task = progress.add_task(f"writing {summary}", total=events)

        def advance(written: int) -> None:
            progress.advance(task, written)
            if stop.is_set():
                raise _Stopped

        if not terminal.is_terminal:
            console.info(f"writing {summary}")
        yield advance

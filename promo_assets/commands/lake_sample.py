"""`lake sample`."""

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
from promo_assets.commands.raw_days import RawDays, raw_days
from promo_assets.lake.tables import day_folder
from promo_assets.local.sample.days import Sample, write_day
from promo_assets.settings import load_settings

FILE = "lake-sample.parquet"  # a file of this name is ours and may be replaced
BYTES_PER_EVENT = 30

Tell = Callable[[int], None]  # hears of the number of events written


class _Stopped(Exception):
    """By Ctrl-C."""


def write_sample(sample: Sample, number: int, last_day: str | None) -> None:
    settings = load_settings()
    days = _days(number, last_day)
    what = f"{count_of(len(days), 'days')} ({_span(days)}), {count_of(len(days) * sample.events_per_day, 'events')}"
    sizes: list[int] = []  # of each day that is in its place, bytes
    stop = threading.Event()
    with stop_on_signals(stop), raw_days(settings) as raw:
        _check_place(raw, sample, days)
        with (
            contextlib.suppress(_Stopped),
            raw.scratch() as scratch,
            _progress(what, sample, days, stop) as tell,
        ):
            for day in days:
                sizes.append(_write(raw, sample, day, scratch, tell))
    if len(sizes) < len(days):
        console.info(
            f"stopped: {len(sizes):,} of {count_of(len(days), 'days')} written, the others are as they were"
        )
        sys.exit(INTERRUPTED)
    print(f"wrote {what}, {sum(sizes) / 1e6:,.1f} MB to {raw.place}")
    print("load them with: .venv/bin/dg launch --job initial_load")


def _days(number: int, last_day: str | None) -> list[date]:
    last = datetime.now(UTC).date() - timedelta(days=1)
    if last_day is not None:
        try:
            last = datetime.strptime(last_day, "%Y-%m-%d").date()
        except ValueError:
            raise UserError(f"--last-day {last_day}: a day as YYYY-MM-DD is needed") from None
    if number > last.toordinal():
        raise UserError(
            f"--days {number}: the calendar begins with year 1, so there are only {last.toordinal():,} days up to {last}"
        )
    return [last - timedelta(days=back) for back in reversed(range(number))]


def _check_place(raw: RawDays, sample: Sample, days: list[date]) -> None:
    """Raises `UserError` where the sample does not fit or would touch what others wrote."""
    for day in days:
        _refuse_foreign(raw, day)
    needed = len(days) * sample.events_per_day * BYTES_PER_EVENT
    if raw.free_bytes is not None and needed > raw.free_bytes:
        raise UserError(
            f"the sample needs about {needed / 1e6:,.0f} MB, and {raw.place} has {raw.free_bytes / 1e6:,.0f} MB free"
        )


def _refuse_foreign(raw: RawDays, day: date) -> None:
    foreign = [name for name in raw.names(day) if name != FILE]
    if foreign:
        raise UserError(
            f"{raw.place}/{day_folder(day)} holds what `lake sample` did not write ({foreign[0]}): choose other days"
        )


def _write(raw: RawDays, sample: Sample, day: date, scratch: Path, tell: Tell) -> int:
    folder = scratch / day_folder(day)
    folder.mkdir()
    write_day(sample, day, folder / FILE, tell)
    size = (folder / FILE).stat().st_size
    _refuse_foreign(raw, day)  # again: much time may have passed
    raw.put(day, folder)
    return size


@contextlib.contextmanager
def _progress(what: str, sample: Sample, days: list[date], stop: threading.Event) -> Iterator[Tell]:
    """A bar on a terminal, else one line; what it yields raises `_Stopped` once `stop` is set."""
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
        task = progress.add_task(f"writing {what}", total=len(days) * sample.events_per_day)

        def tell(events: int) -> None:
            progress.advance(task, events)
            if stop.is_set():
                raise _Stopped

        if not terminal.is_terminal:
            console.info(f"writing {what}")
        yield tell


def _span(days: list[date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"

"""The demo's lake: RAW is made up and loaded, one day's marts are made, Dagster's counts shown."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, UserError, spinner
from promo_assets.commands.demo.runs import Runs
from promo_assets.commands.demo.session import DemoSession
from promo_assets.commands.lake_sample import FILE
from promo_assets.commands.raw_days import RawDays, open_raw_days
from promo_assets.lake.tables import day_folder
from promo_assets.lake.transform.calendar_days import days_between
from promo_assets.local.sample.days import Sample, write_day
from promo_assets.settings import Settings

DAYS = 28
SAMPLE = Sample(events_per_day=5_000, users=3_000, channels=500)
WIDTH = 120

READ, KEPT, REJECTED = "stg/events", "dds/events", "dds/rejected_events"
EVENTS = {READ: "events read from RAW", KEPT: "events kept", REJECTED: "events rejected"}
MARTS = {
    "mart/users": "users",
    "mart/geo": "zones by week and month",
    "mart/friend_recomendation": "friends to recommend",
}
LOAD_AGAIN = {"ops": {"load_every_day": {"config": {"again": True}}}}


def show_lake(session: DemoSession) -> None:
    """Load the lake and print what came out; raises `CommandError` if it is not as promised."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    days = fill_raw(session.settings, yesterday, session.check_stopped)
    last, runs = days[-1], Runs(session)
    with spinner("the job initial_load loads RAW into STG and DDS") as show_step:
        runs.run("initial_load")
        if len(runs.count_rows(READ, days)) < len(days):
            show_step("some days were loaded without this Dagster: they are loaded again")
            runs.run("initial_load", config=LOAD_AGAIN)
        show_step(f"the job daily_lake makes the marts as of {last}")
        runs.run("daily_lake", last)
        event_rows = {asset: runs.count_rows(asset, days) for asset in EVENTS}
        mart_rows = {asset: runs.count_rows(asset, [last]) for asset in MARTS}
    results = LakeResults(days, event_rows | mart_rows)
    dagster = session.dagster
    Console(width=None if sys.stdout.isatty() else WIDTH).print(results.as_table())
    if problems := results.find_problems():
        raise CommandError(f"Not as promised: {'; '.join(problems)}. See {dagster.log}")
    print(
        f"Every event read was either kept or rejected. The marts as of {last}: "
        f"{dagster.url}/assets/mart/users",
        flush=True,
    )


def fill_raw(settings: Settings, last: date, check_stopped: Callable[[], None]) -> list[date]:
    """Return the days of RAW that the demo shows, and make up those that are missing.

    They are `DAYS` days of the sample up to `last`. Where RAW holds files of others, the days that
    exist are returned and nothing is written. `check_stopped` is called often, and may raise.
    """
    if last < settings.lake_start:
        raise UserError(
            f"PROMO_LAKE_START: {settings.lake_start} is not over, and the demo needs a day. "
            "Choose an earlier one"
        )
    days = days_between(max(settings.lake_start, last - timedelta(days=DAYS - 1)), last)
    with open_raw_days(settings) as raw:
        files = {day: raw.list_files(day) for day in days_between(settings.lake_start, last)}
        present = {day: names for day, names in files.items() if names}
        if foreign := [day for day, names in present.items() if names != [FILE]]:
            console.info(
                f"{raw.place}/{day_folder(foreign[0])} was not written by `lake sample`: "
                "RAW is used as it is, and nothing is added to it"
            )
            return list(present)
        if missing := [day for day in days if day not in present]:
            count = f"{len(missing)} days of {SAMPLE.events_per_day:,} events"
            with spinner(f"making up RAW: {count}, up to {missing[-1]}"):
                _write_days(raw, missing, check_stopped)
    console.info(f"the {len(days)} days of the sample are in RAW, {days[0]} to {last}")
    return days


def _write_days(raw: RawDays, days: list[date], check_stopped: Callable[[], None]) -> None:
    with raw.scratch() as scratch:
        for day in days:
            folder = scratch / day_folder(day)
            folder.mkdir()
            write_day(SAMPLE, day, folder / FILE, lambda _: check_stopped())
            if not raw.list_files(day):  # others may have written it in the meantime
                raw.replace_day(day, folder)


@dataclass(frozen=True)
class LakeResults:
    """The rows of each asset by day, as Dagster recorded them; the marts are as of the last day."""

    days: list[date]
    rows: Mapping[str, Mapping[date, int]]

    def find_problems(self) -> list[str]:
        """Return in words what is not as promised."""
        problems = []
        for day in self.days:
            read, kept, rejected = (self.rows[asset].get(day) for asset in EVENTS)
            if read is None or kept is None or rejected is None or read != kept + rejected:
                problems.append(
                    f"of {day}, {_format_rows(read)} events were read, "
                    f"{_format_rows(kept)} kept and {_format_rows(rejected)} rejected"
                )
        last = self.days[-1]
        empty = [asset for asset in MARTS if not self.rows[asset].get(last)]
        return problems + [f"{asset} has no row of {last}" for asset in empty]

    def as_table(self) -> Table:
        caption = "rows are what Dagster recorded, counted in the files' footers"
        table = Table("lake", caption=caption, caption_justify="left", box=SIMPLE_HEAD)
        table.add_column("days", justify="right")
        table.add_column("rows", justify="right")
        table.add_column("asset")
        for asset, label in (EVENTS | MARTS).items():
            rows = self.rows[asset]
            cells = (label, str(len(rows)), f"{sum(rows.values()):,}", asset)
            table.add_row(*cells, end_section=asset == REJECTED)
        return table


def _format_rows(rows: int | None) -> str:
    return "unknown" if rows is None else f"{rows:,}"

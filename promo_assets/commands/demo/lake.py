"""The demo's lake: some weeks of RAW are made up and loaded, one day's marts are made, and it shows what Dagster recorded of that."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, UserError, spinner
from promo_assets.commands.dagster_dev import DagsterDev
from promo_assets.commands.demo.runs import Runs, Wait
from promo_assets.commands.lake_sample import FILE
from promo_assets.commands.raw_days import RawDays, raw_days
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


def show_lake(
    settings: Settings, dagster: DagsterDev, wait: Wait, go_on: Callable[[], None]
) -> None:
    """Prints what came out; raises `CommandError` where that is not what was promised.

    `wait` and `go_on` raise what ends the demo when the user has seen enough.
    """
    days = fill_raw(settings, datetime.now(UTC).date() - timedelta(days=1), go_on)
    last, runs = days[-1], Runs(dagster, wait)
    with spinner("the job initial_load takes RAW to STG and DDS") as tell:
        runs.run("initial_load")
        if len(runs.rows(READ, days)) < len(days):
            tell("some days were loaded when this Dagster did not see it: they are loaded again")
            runs.run("initial_load", config=LOAD_AGAIN)
        tell(f"the job daily_lake makes the marts as of {last}")
        runs.run("daily_lake", last)
        results = LakeResults(
            days,
            {
                asset: runs.rows(asset, [last] if asset in MARTS else days)
                for asset in EVENTS | MARTS
            },
        )
    Console(width=None if sys.stdout.isatty() else WIDTH).print(results.table())
    if problems := results.problems():
        raise CommandError(f"not as promised: {'; '.join(problems)}. See {dagster.log}")
    print(
        f"Every event read was either kept or rejected. The marts as of {last}: {dagster.url}/assets/mart/users",
        flush=True,
    )


def fill_raw(settings: Settings, last: date, go_on: Callable[[], None]) -> list[date]:
    """The days of RAW that the demo shows: of a sample up to `last`, or what there is where somebody else wrote."""
    if last < settings.lake_start:
        raise UserError(
            f"PROMO_LAKE_START: {settings.lake_start} is not over, and the demo needs a day"
        )
    days = days_between(max(settings.lake_start, last - timedelta(days=DAYS - 1)), last)
    with raw_days(settings) as raw:
        present = {
            day: names
            for day in days_between(settings.lake_start, last)
            if (names := raw.names(day))
        }
        if foreign := [day for day, names in present.items() if names != [FILE]]:
            console.info(
                f"{raw.place}/{day_folder(foreign[0])} is not of the sample: RAW is used as it is, nothing is added to it"
            )
            return list(present)
        if missing := [day for day in days if day not in present]:
            with spinner(
                f"making up RAW: {len(missing)} days of {SAMPLE.events_per_day:,} events, up to {missing[-1]}"
            ):
                _write(raw, missing, go_on)
    console.info(f"the {len(days)} days of the sample are in RAW, {days[0]} to {last}")
    return days


def _write(raw: RawDays, days: list[date], go_on: Callable[[], None]) -> None:
    with raw.scratch() as scratch:
        for day in days:
            folder = scratch / day_folder(day)
            folder.mkdir()
            write_day(SAMPLE, day, folder / FILE, lambda _: go_on())
            if not raw.names(day):  # still
                raw.put(day, folder)


@dataclass(frozen=True)
class LakeResults:
    """Rows of each asset by day, as Dagster recorded them; the marts' day is the last."""

    days: list[date]
    rows: Mapping[str, Mapping[date, int]]

    def problems(self) -> list[str]:
        """What is not as promised, in words; nothing where all is."""
        problems = []
        for day in self.days:
            read, kept, rejected = (self.rows[asset].get(day) for asset in EVENTS)
            if read is None or kept is None or rejected is None or read != kept + rejected:
                problems.append(
                    f"of {day} {_counted(read)} events were read, {_counted(kept)} kept and {_counted(rejected)} rejected"
                )
        return problems + [
            f"{asset} has no row of {self.days[-1]}"
            for asset in MARTS
            if not self.rows[asset].get(self.days[-1])
        ]

    def table(self) -> Table:
        caption = "rows are what Dagster recorded, counted in the files' footers"
        table = Table("lake", caption=caption, caption_justify="left", box=SIMPLE_HEAD)
        for name in ("days", "rows", "asset"):
            table.add_column(name, justify="left" if name == "asset" else "right")
        for asset, what in (EVENTS | MARTS).items():
            rows = self.rows[asset]
            table.add_row(
                what,
                str(len(rows)),
                f"{sum(rows.values()):,}",
                asset,
                end_section=asset == REJECTED,
            )
        return table


def _counted(rows: int | None) -> str:
    return "unknown" if rows is None else f"{rows:,}"

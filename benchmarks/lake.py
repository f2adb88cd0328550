"""Measures the lake against other ways to compute the same tables: `python benchmarks/lake.py`.

It takes 15 minutes, or five with `--small-only`. The data are 28 days of the sample's events, 0.5 M
(20,000 users) and 5 M (200,000 users), with 2,000 channels; the marts are those of the last day.

*textbook* is the Spark jobs that tutorials show: plain reads of RAW, in each job a cross join with
the cities, a Python UDF for the distance and a window that keeps the nearest; pairs of friends by a
self-join of the subscriptions. It runs once, with 0.5 M events.

*duckdb* uses two threads, and each table is computed by the fastest SQL found for it, from parquet
to parquet. It reads our STG and DDS; it keeps no tables per day and no days apart, and promises
nothing to concurrent readers.

Each contestant is a process of its own; they take turns, one step at a time. The benchmark ends if
a contestant's rows differ from ours.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from lake_race.comparison import compare_tables
from lake_race.process import Contestant, Result, console, serve_steps
from lake_race.report import print_targets, print_times
from lake_race.steps import AS_OF, DDS, DUCKDB_STEPS, FRIENDS, GEO, OUR_STEPS, START, USERS, Steps

from promo_assets.lake import tables
from promo_assets.lake.transform.calendar_days import days_between
from promo_assets.local.sample.days import Sample, write_day

SIZES = {"0.5 M": (500_000, 20_000), "5 M": (5_000_000, 200_000)}  # events, users
CHANNELS = 2_000


def main() -> None:
    arguments = parse_arguments()
    if arguments.contestant:
        name, root = arguments.contestant
        serve_steps(load_contestant(name), Path(root))
        return
    results = {}
    for size in list(SIZES)[: 1 if arguments.small_only else None]:
        with tempfile.TemporaryDirectory(prefix="promo-bench-") as folder:
            make_sample(Path(folder), *SIZES[size])
            results[size] = race(Path(folder), arguments.rounds)
            if size == "0.5 M" and not arguments.skip_textbook:
                results[size]["textbook"] = run_textbook(Path(folder), arguments.friends_limit)
    for size, results_of_size in results.items():
        print_times(size, results_of_size)
    print_targets(results)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="warm rounds, after the cold one")
    parser.add_argument("--small-only", action="store_true", help="leave out the 5 M events")
    parser.add_argument("--skip-textbook", action="store_true", help="leave out the textbook jobs")
    parser.add_argument(
        "--friends-limit",
        type=int,
        default=180,
        help="seconds after which the textbook's friends count as not finished",
    )
    parser.add_argument("--contestant", nargs=2, metavar=("NAME", "ROOT"), help=argparse.SUPPRESS)
    return parser.parse_args()


def load_contestant(name: str) -> Callable[[Path], Steps]:
    """Import only what the contestant needs, so that its memory is its own."""
    if name == "ours":
        from lake_race.ours import open_ours as open_contestant
    elif name == "textbook":
        from lake_race.textbook import open_textbook as open_contestant
    elif name == "duckdb":
        from lake_race.duckdb_marts import open_duckdb as open_contestant
    else:
        sys.exit(f"--contestant: expected ours, textbook or duckdb, got {name}")
    return open_contestant


def make_sample(root: Path, events: int, users: int) -> None:
    days = days_between(START, AS_OF)
    console.log(f"{events:,} events")
    for number, day in enumerate(days):
        events_of_day = events // len(days) + (number < events % len(days))
        folder = root / tables.RAW_EVENTS.path.lstrip("/") / tables.day_folder(day)
        folder.mkdir(parents=True)
        sample = Sample(events_of_day, users, CHANNELS, seed=1)
        write_day(sample, day, folder / "part-0.parquet", lambda _: None)


def race(root: Path, rounds: int) -> dict[str, Result]:
    with Contestant("ours", root) as ours, Contestant("duckdb", root) as duck:
        for number in range(1 + rounds):
            for contestant, steps in ((ours, OUR_STEPS), (duck, DUCKDB_STEPS)):
                for step in steps:
                    contestant.take_step(step)
            if number == 0:
                compare_tables(root, "duckdb", DUCKDB_STEPS)
            seconds = (
                f"{each.name} {sum(times[-1] for times in each.seconds.values()):.1f} s"
                for each in (ours, duck)
            )
            console.log(f"round {number} of {rounds}: {', '.join(seconds)}")
        return {contestant.name: contestant.result() for contestant in (ours, duck)}


def run_textbook(root: Path, friends_limit: int) -> Result:
    with Contestant("textbook", root) as textbook:
        for step in (DDS, USERS, GEO):
            textbook.take_step(step)
        compare_tables(root, "textbook", [DDS, USERS, GEO])
        textbook.take_step(FRIENDS, friends_limit)
        return textbook.result()


if __name__ == "__main__":
    main()

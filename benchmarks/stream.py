"""Measures the stream against other ways to do the same: `python benchmarks/stream.py`.

It takes about ten minutes. *textbook* is the Spark job that tutorials show: it reads the whole
favourites table over JDBC in each batch, appends over JDBC, and uses Spark's Kafka sink. *loop* is
one plain Python process: a Kafka transaction of confluent-kafka and COPY of psycopg. Neither
survives a crash as ours does.

Each contestant is a process of its own with its own topics and feedback table. All are warm, and
get the same load in turn.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from stream_race.load import CAMPAIGNS, PAIRS, fill_favourites
from stream_race.process import Contestant

from promo_assets.local import services
from promo_assets.local.postgres_account import remove_data_folder
from promo_assets.settings import Settings

CONTESTANTS = ("ours", "textbook", "loop")
MANY_FAVOURITES = "ours, 10 M favourites"
WARM_UP_ROUNDS, WARM_UP_SINGLES, WARM_UP_LARGE = 3, 5, 3
Measurements = dict[str, list[float]]  # by contestant
console = Console(stderr=True)


def main() -> None:
    arguments = parse_arguments()
    if arguments.contestant:
        load_contestant(arguments.contestant)(Settings())
        return
    with tempfile.TemporaryDirectory(prefix="promo-bench-") as folder:
        settings = Settings(home=Path(folder))
        try:
            services.up(settings, console.log)
            # These settings have the ports that `up` chose.
            started = Settings(home=Path(folder))
            race(started, arguments.rounds, arguments.singles, not arguments.skip_large)
        finally:
            services.down(settings, console.log)
            remove_data_folder(settings.home / "local" / "postgres")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the catch-up measurement")
    parser.add_argument(
        "--singles", type=int, default=30, help="campaigns sent one by one for the latency"
    )
    parser.add_argument("--skip-large", action="store_true", help="leave out the 10 M favourites")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def load_contestant(name: str) -> Callable[[Settings], None]:
    """Import only what the contestant needs."""
    if name == "ours":
        from stream_race.ours import run_ours as run
    elif name == "textbook":
        from stream_race.textbook import run_textbook as run
    elif name == "loop":
        from stream_race.loop import run_loop as run
    else:
        sys.exit(f"--contestant: expected one of {', '.join(CONTESTANTS)}, got {name}")
    return run


def race(settings: Settings, rounds: int, singles: int, large: bool) -> None:
    fill_favourites(settings, 0, 1_000_000)
    contestants = {name: Contestant(name, settings) for name in CONTESTANTS}
    try:
        for contestant in contestants.values():
            contestant.wait_until_ready()
            for _ in range(WARM_UP_ROUNDS):
                contestant.send_and_wait(CAMPAIGNS)
        rates = measure_rates(contestants, rounds)
        delays = measure_delays(contestants, singles)
        if large:
            console.log("adding 9,000,000 favourites")
            fill_favourites(settings, 1_000_000, 10_000_000)
            ours = contestants["ours"]
            for _ in range(WARM_UP_LARGE):
                ours.send_and_wait(1)
            delays[MANY_FAVOURITES] = [ours.send_and_wait(1) for _ in range(singles)]
        for contestant in contestants.values():
            contestant.check_sinks(settings)
    finally:
        for contestant in contestants.values():
            contestant.process.kill()
    print_results(rates, delays)


def measure_rates(contestants: dict[str, Contestant], rounds: int) -> Measurements:
    """Return notifications per second while a contestant catches up with 1,000 campaigns."""
    rates: Measurements = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            rates[name].append(PAIRS / contestant.send_and_wait(CAMPAIGNS))
            console.log(f"catch-up, {name}: {rates[name][-1]:,.0f} notifications/s")
    return rates


def measure_delays(contestants: dict[str, Contestant], singles: int) -> Measurements:
    """Return the seconds until a single campaign is delivered."""
    for contestant in contestants.values():
        for _ in range(WARM_UP_SINGLES):
            contestant.send_and_wait(1)
    delays: Measurements = {name: [] for name in contestants}
    for _ in range(singles):
        for name, contestant in contestants.items():
            delays[name].append(contestant.send_and_wait(1))
    return delays


def print_results(rates: Measurements, delays: Measurements) -> None:
    rounds = len(rates["ours"])
    load = f"{CAMPAIGNS:,} campaigns to {PAIRS:,} pairs, 1 M favourites"
    table = Table(title=f"{load}; {rounds} rounds, medians")
    for column in ("", "notifications/s", "ours is", "one campaign p50", "p95"):
        table.add_column(column, justify="left" if not column else "right")
    for name, delays_of_name in delays.items():
        pairs = zip(rates["ours"], rates.get(name, []), strict=False)
        ratios = [ours / theirs for ours, theirs in pairs]
        table.add_row(
            name,
            f"{statistics.median(rates[name]):,.0f}" if name in rates else "",
            f"{statistics.median(ratios):.2f} x" if name in rates and name != "ours" else "",
            f"{statistics.median(delays_of_name):.3f} s",
            f"{statistics.quantiles(delays_of_name, n=20)[-1]:.3f} s",
        )
    Console().print(table)
    if MANY_FAVOURITES in delays:
        ratio = statistics.median(delays[MANY_FAVOURITES]) / statistics.median(delays["ours"])
        print(f"10 M favourites / 1 M, p50: {ratio:.2f} x")


if __name__ == "__main__":
    main()

"""Measures CPU and bytes per campaign and per notification: `python benchmarks/cost.py`.

It takes two minutes. Two loads have the same number of pairs, in many small campaigns and in few
large ones. Together they give both prices of cost = campaigns * a + pairs * b. docs/scaling.md uses
the results.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from promo_assets.local import processes, services
from promo_assets.local.postgres_account import remove_data_folder
from promo_assets.settings import Settings

SMALL, LARGE = (1_000, 100), (10, 10_000)  # (campaigns in a round, followers of each)
PROGRAMS = ("Postgres", "Kafka", "Spark's JVM", "Python")
WARM_UP_ROUNDS = 3
DELIVERY_TIMEOUT_S = 120
TEXT = "Two bowls of noodles for the price of one, today until six, at all our places in town. " * 2
DELIVERED = """SELECT coalesce(sum(campaigns), 0) FROM promo_ledger.dispatches
    WHERE finished_at IS NOT NULL"""
console = Console(stderr=True)


@dataclass
class Cost:
    """What was used up to a moment, or between two moments.

    `cpu` has seconds by program. `wal`, `table` and `topic` are bytes: of Postgres's write-ahead
    log, of the feedback table with its indexes, and of Kafka's output topic.
    """

    cpu: dict[str, float]
    wal: int
    table: int
    topic: int
    seconds: float

    def since(self, before: "Cost") -> "Cost":
        cpu = {name: self.cpu[name] - before.cpu[name] for name in self.cpu}
        return Cost(
            cpu,
            self.wal - before.wal,
            self.table - before.table,
            self.topic - before.topic,
            self.seconds - before.seconds,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=10, help="rounds of each load, 100,000 pairs each"
    )
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="promo-bench-") as folder:
        home = Path(folder)
        try:
            services.up(Settings(home=home), console.log)
            measure(Settings(home=home), rounds)
        finally:
            services.down(Settings(home=home), console.log)
            remove_data_folder(home / "local" / "postgres")


def measure(settings: Settings, rounds: int) -> None:
    fill_favourites(settings)
    command = [str(Path(sys.executable).with_name("promo-assets")), "stream", "run"]
    with subprocess.Popen(
        command, env={**os.environ, "PROMO_HOME": str(settings.home)}, stderr=subprocess.DEVNULL
    ) as stream:
        try:
            load = Load(settings, stream.pid)
            for shape in (SMALL, LARGE) * WARM_UP_ROUNDS:
                load.run(*shape)
            costs: dict[tuple[int, int], list[Cost]] = {SMALL: [], LARGE: []}
            for number in range(rounds):
                for shape in costs:
                    costs[shape].append(load.run(*shape))
                small_s, large_s = (costs[shape][-1].seconds for shape in (SMALL, LARGE))
                console.log(f"round {number + 1} of {rounds}: {small_s:.2f} s, {large_s:.2f} s")
        finally:
            stream.terminate()
    print_prices(costs)


def fill_favourites(settings: Settings) -> None:
    console.log("inserting favourites")
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        for campaigns, followers in (SMALL, LARGE):
            connection.execute(
                """INSERT INTO subscribers_restaurants (client_id, restaurant_id)
                SELECT 'client-' || lpad(client::text, 8, '0'),
                    'restaurant-' || %(followers)s || '-' || restaurant
                FROM generate_series(1, %(campaigns)s) restaurant,
                    generate_series(1, %(followers)s) client""",
                {"campaigns": campaigns, "followers": followers},
            )
        connection.execute("VACUUM ANALYZE subscribers_restaurants")


class Load:
    def __init__(self, settings: Settings, stream: int):
        self._settings = settings
        self._stream = psutil.Process(stream)
        self._producer = Producer(settings.kafka_client())
        self._connection = psycopg.connect(settings.database_url, autocommit=True)
        self._sent = 0

    def run(self, campaigns: int, followers: int) -> Cost:
        """Send a round of campaigns and return what its delivery to both sinks cost."""
        before, now = self._read_totals(), int(time.time())
        for number in range(1, campaigns + 1):
            self._sent += 1
            value = {
                "restaurant_id": f"restaurant-{followers}-{number}",
                "adv_campaign_id": f"campaign-{self._sent}",
                "adv_campaign_content": TEXT,
                "adv_campaign_owner": "Ivan Petrov",
                "adv_campaign_owner_contact": "ivan.petrov@restaurant.example",
                "adv_campaign_datetime_start": now - 60,
                "adv_campaign_datetime_end": now + 86_400,
                "datetime_created": now,
            }
            self._producer.produce(self._settings.topic_in, json.dumps(value).encode())
        self._producer.flush()
        self._wait_until_delivered()
        return self._read_totals().since(before)

    def _wait_until_delivered(self) -> None:
        deadline = time.monotonic() + DELIVERY_TIMEOUT_S
        while (delivered := self._count_delivered()) < self._sent:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{delivered} of {self._sent} campaigns were delivered")
            time.sleep(0.02)

    def _count_delivered(self) -> int:
        ((campaigns,),) = self._connection.execute(DELIVERED).fetchall()
        return campaigns

    def _read_totals(self) -> Cost:
        """Return what was used since the services and the stream started."""
        local = self._settings.home / "local"
        roots = {"Postgres": local / "postgres.pid", "Kafka": local / "kafka.pid"}
        cpu = dict.fromkeys(PROGRAMS, 0.0)
        for program, record in roots.items():
            if running := processes.running(record):
                cpu[program] = sum(map(_cpu_seconds, _list_family(running[0])))
        for process in _list_family(self._stream):
            program = "Spark's JVM" if process.name() == "java" else "Python"
            cpu[program] += _cpu_seconds(process)
        sizes = (
            "SELECT pg_current_wal_lsn() - '0/0', pg_total_relation_size('subscribers_feedback')"
        )
        wal, table = self._connection.execute(sizes).fetchone() or (0, 0)
        folders = (local / "kafka" / "data").glob(f"{self._settings.topic_out}-*")
        topic = sum(file.stat().st_size for folder in folders for file in folder.glob("*.log"))
        return Cost(cpu, int(wal), table, topic, time.monotonic())


def _list_family(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def _cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of the process and of its children that have ended."""
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def print_prices(costs: dict[tuple[int, int], list[Cost]]) -> None:
    shapes = " and ".join(f"{campaigns:,} x {pairs:,}" for campaigns, pairs in (SMALL, LARGE))
    rounds = len(costs[SMALL])
    table = Table(title=f"medians of {rounds} rounds; {shapes} (campaigns x pairs)")
    for column in ("", "a campaign", "a notification"):
        table.add_column(column, justify="left" if not column else "right")

    def compute_prices(read: Callable[[Cost], float]) -> tuple[float, float]:
        small, large = (statistics.median(map(read, costs[shape])) for shape in (SMALL, LARGE))
        return solve_prices(small, large)

    for name in PROGRAMS:
        campaign, pair = compute_prices(lambda cost, name=name: cost.cpu[name])
        table.add_row(f"CPU of {name}", f"{campaign * 1e6:,.0f} µs", f"{pair * 1e6:,.1f} µs")
    for name in ("wal", "table", "topic"):
        campaign, pair = compute_prices(lambda cost, name=name: getattr(cost, name))
        table.add_row(f"bytes of {name}", f"{campaign:,.0f}", f"{pair:,.0f}")
    campaign, pair = compute_prices(lambda cost: cost.seconds)
    table.add_row("time, both shards", f"{campaign * 1e6:,.0f} µs", f"{pair * 1e6:,.1f} µs")
    Console().print(table)


def solve_prices(small: float, large: float) -> tuple[float, float]:
    """Return the prices of a campaign and of a pair, given what the two loads cost."""
    pairs = SMALL[0] * SMALL[1]
    assert pairs == LARGE[0] * LARGE[1]
    campaign = (small - large) / (SMALL[0] - LARGE[0])
    return campaign, (large - LARGE[0] * campaign) / pairs


if __name__ == "__main__":
    main()

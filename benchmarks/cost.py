"""What the stream costs, in CPU and bytes per campaign and per notification: `python benchmarks/cost.py` (two minutes).

Two loads of as many pairs, many small campaigns and few large ones, tell the two prices apart: cost = campaigns x a + pairs x b.
docs/scaling.md reckons with what this prints.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
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

SMALL, LARGE = (1_000, 100), (10, 10_000)  # (campaigns a round, followers of each)
SPENDERS = ("Postgres", "Kafka", "Spark's JVM", "Python")
console = Console(stderr=True)


@dataclass
class Spent:
    """CPU seconds by who spent them, bytes of Postgres's write-ahead log, of the feedback table and of Kafka's topic, and the time."""

    cpu: dict[str, float]
    wal: int
    table: int
    topic: int
    seconds: float

    def since(self, before: "Spent") -> "Spent":
        cpu = {name: self.cpu[name] - before.cpu[name] for name in self.cpu}
        return Spent(
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
    fill(settings)
    command = [str(Path(sys.executable).with_name("promo-assets")), "stream", "run"]
    with subprocess.Popen(
        command, env={**os.environ, "PROMO_HOME": str(settings.home)}, stderr=subprocess.DEVNULL
    ) as stream:
        try:
            load = Load(settings, stream.pid)
            for shape in (SMALL, LARGE) * 3:  # warm
                load.run(*shape)
            spent: dict[tuple[int, int], list[Spent]] = {SMALL: [], LARGE: []}
            for number in range(rounds):
                for shape in spent:
                    spent[shape].append(load.run(*shape))
                console.log(
                    f"round {number + 1} of {rounds}: {spent[SMALL][-1].seconds:.2f} s, {spent[LARGE][-1].seconds:.2f} s"
                )
        finally:
            stream.terminate()
    print_prices(spent)


def fill(settings: Settings) -> None:
    console.log("filling favourites")
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        for campaigns, followers in (SMALL, LARGE):
            connection.execute(
                """INSERT INTO subscribers_restaurants (client_id, restaurant_id)
                SELECT 'client-' || lpad(client::text, 8, '0'), 'restaurant-' || %(followers)s || '-' || restaurant
                FROM generate_series(1, %(campaigns)s) restaurant, generate_series(1, %(followers)s) client""",
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

    def run(self, campaigns: int, followers: int) -> Spent:
        """What it cost to bring a round to both sinks."""
        before, now = self._look(), int(time.time())
        for number in range(1, campaigns + 1):
            self._sent += 1
            value = {
                "restaurant_id": f"restaurant-{followers}-{number}",
                "adv_campaign_id": f"campaign-{self._sent}",
                "adv_campaign_content": "Two bowls of noodles for the price of one, today until six, at all our places in town. "
                * 2,
                "adv_campaign_owner": "Ivan Petrov",
                "adv_campaign_owner_contact": "ivan.petrov@restaurant.example",
                "adv_campaign_datetime_start": now - 60,
                "adv_campaign_datetime_end": now + 86_400,
                "datetime_created": now,
            }
            self._producer.produce(self._settings.topic_in, json.dumps(value).encode())
        self._producer.flush()
        delivered = "SELECT coalesce(sum(campaigns), 0) FROM promo_ledger.dispatches WHERE finished_at IS NOT NULL"
        deadline = time.monotonic() + 120
        while (found := self._connection.execute(delivered).fetchone()) is None or found[
            0
        ] < self._sent:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found} of {self._sent} campaigns")
            time.sleep(0.02)
        return self._look().since(before)

    def _look(self) -> Spent:
        local = self._settings.home / "local"
        roots = {"Postgres": local / "postgres.pid", "Kafka": local / "kafka.pid"}
        found = {
            name: running[0]
            for name, record in roots.items()
            if (running := processes.running(record))
        }
        cpu = {
            name: sum(map(_cpu, [root, *root.children(recursive=True)]))
            for name, root in found.items()
        }
        family = [self._stream, *self._stream.children(recursive=True)]
        cpu["Spark's JVM"] = sum(_cpu(each) for each in family if each.name() == "java")
        cpu["Python"] = sum(_cpu(each) for each in family if each.name() != "java")
        sizes = (
            "SELECT pg_current_wal_lsn() - '0/0', pg_total_relation_size('subscribers_feedback')"
        )
        wal, table = self._connection.execute(sizes).fetchone() or (0, 0)
        folders = (local / "kafka" / "data").glob(f"{self._settings.topic_out}-*")
        topic = sum(file.stat().st_size for folder in folders for file in folder.glob("*.log"))
        return Spent(cpu, int(wal), table, topic, time.monotonic())


def _cpu(process: psutil.Process) -> float:
    """Of the process and of its children that have ended."""
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def print_prices(spent: dict[tuple[int, int], list[Spent]]) -> None:
    table = Table(
        title=f"medians of {len(spent[SMALL])} rounds; {SMALL[0]:,} x {SMALL[1]:,} and {LARGE[0]:,} x {LARGE[1]:,} (campaigns x pairs)"
    )
    for column in ("", "a campaign", "a notification"):
        table.add_column(column, justify="left" if not column else "right")
    for name in SPENDERS:
        campaign, pair = prices(
            *(
                statistics.median(each.cpu[name] for each in spent[shape])
                for shape in (SMALL, LARGE)
            )
        )
        table.add_row(f"CPU of {name}", f"{campaign * 1e6:,.0f} µs", f"{pair * 1e6:,.1f} µs")
    for name in ("wal", "table", "topic"):
        campaign, pair = prices(
            *(
                statistics.median(getattr(each, name) for each in spent[shape])
                for shape in (SMALL, LARGE)
            )
        )
        table.add_row(f"bytes of {name}", f"{campaign:,.0f}", f"{pair:,.0f}")
    campaign, pair = prices(
        *(statistics.median(each.seconds for each in spent[shape]) for shape in (SMALL, LARGE))
    )
    table.add_row("time, both shards", f"{campaign * 1e6:,.0f} µs", f"{pair * 1e6:,.1f} µs")
    Console().print(table)


def prices(of_small: float, of_large: float) -> tuple[float, float]:
    """(of a campaign, of a pair) from what the two loads cost."""
    pairs = SMALL[0] * SMALL[1]
    assert pairs == LARGE[0] * LARGE[1]
    campaign = (of_small - of_large) / (SMALL[0] - LARGE[0])
    return campaign, (of_large - LARGE[0] * campaign) / pairs


if __name__ == "__main__":
    main()

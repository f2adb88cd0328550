"""The stream against its peers, on the same data, in one run: `python benchmarks/stream.py` (about ten minutes).

Peers: *textbook*, the Spark job that tutorials show (whole favourites table over JDBC in each batch, JDBC append, Spark's Kafka sink), and
*loop*, one plain Python process (confluent-kafka transaction + psycopg COPY). Neither survives a crash as ours does.
Each contestant is a process of its own with its own topics and feedback table; all are warm and in turn get the same load.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console
from rich.table import Table

from promo_assets.local import services
from promo_assets.local.postgres_account import remove_data_folder
from promo_assets.settings import Settings
from promo_assets.stream.messages import FIELDS, NotificationTemplate, client_json, parse_campaign

RESTAURANTS = 10_000
CAMPAIGNS = 1_000
PAIRS = 100_000
COLUMNS = (*FIELDS, "client_id", "trigger_datetime_created")
console = Console(stderr=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the catch-up measurement")
    parser.add_argument(
        "--singles", type=int, default=30, help="campaigns sent one by one for the latency"
    )
    parser.add_argument("--skip-large", action="store_true", help="leave out the 10 M favourites")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        CONTESTANTS[arguments.contestant](Settings())
        return
    with tempfile.TemporaryDirectory(prefix="promo-bench-") as folder:
        settings = Settings(home=Path(folder))
        try:
            services.up(settings, console.log)
            race(
                Settings(home=Path(folder)),
                arguments.rounds,
                arguments.singles,
                not arguments.skip_large,
            )
        finally:
            services.down(settings, console.log)
            remove_data_folder(settings.home / "local" / "postgres")


def race(settings: Settings, rounds: int, singles: int, large: bool) -> None:
    fill_favourites(settings, 0, 1_000_000)
    contestants = {name: Contestant(name, settings) for name in CONTESTANTS}
    try:
        for contestant in contestants.values():
            contestant.wait_until_ready()
            for _ in range(3):  # warm
                contestant.send_and_wait(CAMPAIGNS)
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, contestant in contestants.items():
                rates[name].append(PAIRS / contestant.send_and_wait(CAMPAIGNS))
                console.log(f"catch-up, {name}: {rates[name][-1]:,.0f} notifications/s")
        for contestant in contestants.values():
            for _ in range(5):
                contestant.send_and_wait(1)
        delays: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(singles):
            for name, contestant in contestants.items():
                delays[name].append(contestant.send_and_wait(1))
        if large:
            console.log("9,000,000 more favourites")
            fill_favourites(settings, 1_000_000, 10_000_000)
            delays["ours, 10 M favourites"] = [
                contestants["ours"].send_and_wait(1) for _ in range(singles + 3)
            ][3:]
        for contestant in contestants.values():
            contestant.check(settings)
    finally:
        for contestant in contestants.values():
            contestant.process.kill()
    print_results(rates, delays)


def print_results(rates: dict[str, list[float]], delays: dict[str, list[float]]) -> None:
    table = Table(
        title=f"{CAMPAIGNS:,} campaigns to {PAIRS:,} pairs, 1 M favourites; {len(rates['ours'])} rounds, medians"
    )
    for column in ("", "notifications/s", "ours is", "one campaign p50", "p95"):
        table.add_column(column, justify="left" if not column else "right")
    for name, of_name in delays.items():
        pairwise = [
            mine / theirs for mine, theirs in zip(rates["ours"], rates.get(name, []), strict=False)
        ]
        table.add_row(
            name,
            f"{statistics.median(rates[name]):,.0f}" if name in rates else "",
            f"{statistics.median(pairwise):.2f} x" if name in rates and name != "ours" else "",
            f"{statistics.median(of_name):.3f} s",
            f"{statistics.quantiles(of_name, n=20)[-1]:.3f} s",
        )
    Console().print(table)
    if (name := "ours, 10 M favourites") in delays:
        print(
            f"10 M favourites / 1 M, p50: {statistics.median(delays[name]) / statistics.median(delays['ours']):.2f} x"
        )


def fill_favourites(settings: Settings, first: int, last: int) -> None:
    """Favourite n is client n/10000's of restaurant n%10000; the first million has 100 followers a restaurant."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO subscribers_restaurants (client_id, restaurant_id)
            SELECT 'client-' || lpad((n / %(restaurants)s)::text, 8, '0'),
                   'restaurant-' || (n / 1000000) || lpad((n %% %(restaurants)s)::text, 5, '0')
            FROM generate_series(%(first)s, %(last)s - 1) n""",
            {"restaurants": RESTAURANTS, "first": first, "last": last},
        )
        connection.execute("VACUUM ANALYZE subscribers_restaurants")


class Contestant:
    """A peer in its own process; it says on its standard output how many pairs both of its sinks have."""

    def __init__(self, name: str, settings: Settings):
        self.name = name
        self.topic_in, self.topic_out = f"{name}_in", f"{name}_out"
        admin = AdminClient(settings.kafka_client())
        for future in admin.create_topics(
            [NewTopic(topic, 3, 1) for topic in (self.topic_in, self.topic_out, f"{name}_dead")]
        ).values():
            future.result()
        env = {
            **os.environ,
            "PROMO_HOME": str(settings.home),
            "PROMO_TOPIC_IN": self.topic_in,
            "PROMO_TOPIC_OUT": self.topic_out,
            "PROMO_TOPIC_DEAD_LETTERS": f"{name}_dead",
        }
        with (settings.home / f"{name}.log").open("w") as log:
            command = [sys.executable, __file__, "--contestant", name]
            self.process = subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._producer = Producer(settings.kafka_client() | {"linger.ms": "0"})
        self._delivered = 0
        self._sent = 0
        self._moved = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("{"):
                with self._moved:
                    self._delivered = json.loads(line)["delivered"]
                    self._moved.notify_all()

    def wait_until_ready(self) -> None:
        self.send_and_wait(1)

    def send_and_wait(self, campaigns: int) -> float:
        """Seconds from the first campaign's sending until both sinks have all pairs."""
        now = int(time.time())
        values = []
        for _ in range(campaigns):
            self._sent += 1
            value = {
                "restaurant_id": f"restaurant-0{self._sent * 7 % RESTAURANTS:05d}",
                "adv_campaign_id": f"{self.name}-{self._sent}",
                "adv_campaign_content": "Two bowls of noodles for the price of one, today until six, at all our places in town. "
                * 2,
                "adv_campaign_owner": "Ivan Petrov",
                "adv_campaign_owner_contact": "ivan.petrov@restaurant.example",
                "adv_campaign_datetime_start": now - 60,
                "adv_campaign_datetime_end": now + 86_400,
                "datetime_created": now,
            }
            values.append(json.dumps(value).encode())
        awaited = self._sent * 100
        started = time.perf_counter()
        for value in values:
            self._producer.produce(self.topic_in, value=value)
        self._producer.flush()
        with self._moved:
            if not self._moved.wait_for(
                lambda: self._delivered >= awaited or self.process.poll() is not None, 300
            ):
                raise TimeoutError(f"{self.name}: {self._delivered} of {awaited} pairs")
        assert self.process.poll() is None, f"{self.name} has ended"
        return time.perf_counter() - started

    def check(self, settings: Settings) -> None:
        """Both sinks really have what was said."""
        table = "subscribers_feedback" if self.name == "ours" else f"{self.name}_feedback"
        with psycopg.connect(settings.database_url) as connection:
            counted = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        reader = Consumer(
            settings.kafka_client()
            | {
                "group.id": "check",
                "isolation.level": "read_committed",
                "enable.partition.eof": "true",
            }
        )
        reader.assign([TopicPartition(self.topic_out, partition, 0) for partition in range(3)])
        messages = ends = 0
        while ends < 3:
            for message in reader.consume(10_000, 1):
                ends, messages = (ends + 1, messages) if message.error() else (ends, messages + 1)
        reader.close()
        assert counted == (messages,) == (self._sent * 100,), (
            f"{self.name}: {counted} rows, {messages} messages, {self._sent * 100} expected"
        )


def say_delivered(pairs: int) -> None:
    print(json.dumps({"delivered": pairs}), flush=True)


def run_ours(settings: Settings) -> None:
    from promo_assets.jvm.session import open_session
    from promo_assets.stream.pipeline.run import StreamRun

    stream_run = StreamRun(settings, lambda: open_session(settings, "bench"), "bench")
    stream_run.start()
    told = 0
    while not stream_run.ended.wait(0.01):
        if (pairs := stream_run.metrics.notifications) != told:
            say_delivered(told := pairs)
    raise SystemExit(str(stream_run.error))


def run_textbook(settings: Settings) -> None:
    from pyspark.sql import DataFrame
    from pyspark.sql import functions as F

    from promo_assets.jvm.session import open_session

    make_feedback_table(settings, "textbook")
    spark = open_session(settings, "textbook")
    parts = psycopg.conninfo.conninfo_to_dict(settings.database_url)
    jdbc = {
        "url": f"jdbc:postgresql://{parts['host']}:{parts['port']}/{parts['dbname']}",
        "user": parts["user"],
        "password": parts["password"],
        "driver": "org.postgresql.Driver",
    }
    schema = ", ".join(f"{name} {'long' if name in FIELDS[5:] else 'string'}" for name in FIELDS)
    delivered = 0

    def deliver(batch: DataFrame, _: int) -> None:
        nonlocal delivered
        subscribers = (
            spark.read.format("jdbc").options(**jdbc, dbtable="subscribers_restaurants").load()
        )
        pairs = batch.join(
            subscribers.select("restaurant_id", "client_id").distinct(), "restaurant_id"
        ).select(*COLUMNS)
        pairs.persist()
        pairs.withColumn("feedback", F.lit(None).cast("string")).write.format("jdbc").options(
            **jdbc, dbtable="textbook_feedback"
        ).mode("append").save()
        messages = pairs.select(F.to_json(F.struct(*COLUMNS)).alias("value"))
        messages.write.format("kafka").options(
            **{"kafka.bootstrap.servers": settings.bootstrap_servers, "topic": settings.topic_out}
        ).save()
        delivered += pairs.count()
        pairs.unpersist()
        say_delivered(delivered)

    source = {
        "kafka.bootstrap.servers": settings.bootstrap_servers,
        "subscribe": settings.topic_in,
        "startingOffsets": "earliest",
    }
    now = F.unix_timestamp(F.current_timestamp())
    campaigns = (
        spark.readStream.format("kafka").options(**source).load()
        .select(F.from_json(F.col("value").cast("string"), schema).alias("campaign")).select("campaign.*")
        .where((F.col("adv_campaign_datetime_start") <= now) & (now < F.col("adv_campaign_datetime_end")))
        .withColumn("trigger_datetime_created", now.cast("int"))
    )  # fmt: skip
    writer = campaigns.writeStream.foreachBatch(deliver).option(
        "checkpointLocation", str(settings.home / "textbook-checkpoint")
    )
    writer.trigger(processingTime="100 milliseconds").start().awaitTermination()


def run_loop(settings: Settings) -> None:
    make_feedback_table(settings, "loop")
    group = {
        "group.id": "loop",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": "false",
        "fetch.wait.max.ms": "20",
    }
    consumer = Consumer(settings.kafka_client() | group)
    consumer.subscribe([settings.topic_in])
    producer = Producer(
        settings.kafka_client()
        | {"transactional.id": "loop", "linger.ms": "5", "compression.type": "lz4"}
    )
    producer.init_transactions()
    connection = psycopg.connect(settings.database_url)
    delivered = 0
    while True:
        messages = [message for message in consumer.consume(CAMPAIGNS, 0.05) if not message.error()]
        if not messages:
            continue
        now = int(time.time())
        campaigns = [parse_campaign(message.value()) for message in messages]
        due = [campaign for campaign in campaigns if campaign.state_at(now) == "due"]
        query = "SELECT DISTINCT restaurant_id, client_id FROM subscribers_restaurants WHERE restaurant_id = ANY(%s)"
        followers: dict[str, list[str]] = {}
        for restaurant, client in connection.execute(
            query, ([campaign.restaurant_id for campaign in due],)
        ):
            followers.setdefault(restaurant, []).append(client)
        producer.begin_transaction()
        with connection.cursor().copy(
            f"COPY loop_feedback ({', '.join(COLUMNS)}) FROM STDIN"
        ) as copy:
            for campaign in due:
                notification = NotificationTemplate(campaign, now)
                for client in followers.get(campaign.restaurant_id, []):
                    copy.write_row((*campaign, client, now))
                    encoded = client_json(client)
                    headers = [("notification_id", notification.notification_id(encoded))]
                    producer.produce(
                        settings.topic_out,
                        json.dumps(
                            {
                                **campaign._asdict(),
                                "client_id": client,
                                "trigger_datetime_created": now,
                            }
                        ).encode(),
                        client.encode(),
                        headers=headers,
                    )
                    delivered += 1
                producer.poll(0)
        connection.commit()
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata()
        )
        producer.commit_transaction()
        say_delivered(delivered)


def make_feedback_table(settings: Settings, name: str) -> None:
    with psycopg.connect(settings.database_url) as connection:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {name}_feedback (LIKE subscribers_feedback INCLUDING ALL)"
        )


CONTESTANTS = {"ours": run_ours, "textbook": run_textbook, "loop": run_loop}

if __name__ == "__main__":
    main()

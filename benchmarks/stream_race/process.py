"""Runs each contestant in a process of its own, and measures how fast it delivers."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from promo_assets.settings import Settings
from stream_race.load import FOLLOWERS, make_campaign

SCRIPT = Path(__file__).parents[1] / "stream.py"
PARTITIONS = 3
DELIVERY_TIMEOUT_S = 300


class Contestant:
    """A process with its own topics and feedback table.

    It prints how many pairs it has delivered to both sinks, each time that the number grows.
    """

    def __init__(self, name: str, settings: Settings):
        self.name = name
        self.topic_in, self.topic_out = f"{name}_in", f"{name}_out"
        topics = (self.topic_in, self.topic_out, f"{name}_dead")
        admin = AdminClient(settings.kafka_client())
        created = admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
        for future in created.values():
            future.result()
        env = {
            **os.environ,
            "PROMO_HOME": str(settings.home),
            "PROMO_TOPIC_IN": self.topic_in,
            "PROMO_TOPIC_OUT": self.topic_out,
            "PROMO_TOPIC_DEAD_LETTERS": f"{name}_dead",
        }
        with (settings.home / f"{name}.log").open("w") as log:
            command = [sys.executable, SCRIPT, "--contestant", name]
            self.process = subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._producer = Producer(settings.kafka_client() | {"linger.ms": "0"})
        self._delivered = 0
        self._sent = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._read_output, daemon=True).start()

    def _read_output(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("{"):
                with self._changed:
                    self._delivered = json.loads(line)["delivered"]
                    self._changed.notify_all()

    def wait_until_ready(self) -> None:
        self.send_and_wait(1)

    def send_and_wait(self, campaigns: int) -> float:
        """Return the seconds from sending the campaigns until both sinks have all their pairs."""
        first = self._sent + 1
        self._sent += campaigns
        values = [make_campaign(self.name, number) for number in range(first, self._sent + 1)]
        expected = self._sent * FOLLOWERS
        started = time.perf_counter()
        for value in values:
            self._producer.produce(self.topic_in, value=value)
        self._producer.flush()
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._delivered >= expected or self.process.poll() is not None,
                DELIVERY_TIMEOUT_S,
            ):
                raise TimeoutError(f"{self.name}: {self._delivered} of {expected} pairs")
        assert self.process.poll() is None, f"{self.name} has exited"
        return time.perf_counter() - started

    def check_sinks(self, settings: Settings) -> None:
        """Check that both sinks really have as many pairs as were sent."""
        table = "subscribers_feedback" if self.name == "ours" else f"{self.name}_feedback"
        with psycopg.connect(settings.database_url) as connection:
            ((rows,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
        messages = self._count_messages(settings)
        expected = self._sent * FOLLOWERS
        assert rows == messages == expected, (
            f"{self.name}: {rows} rows, {messages} messages, {expected} expected"
        )

    def _count_messages(self, settings: Settings) -> int:
        conf = {
            "group.id": "check",
            "isolation.level": "read_committed",
            "enable.partition.eof": "true",
        }
        reader = Consumer(settings.kafka_client() | conf)
        reader.assign([TopicPartition(self.topic_out, number, 0) for number in range(PARTITIONS)])
        messages = ends = 0
        while ends < PARTITIONS:
            for message in reader.consume(10_000, 1):
                if message.error():
                    ends += 1
                else:
                    messages += 1
        reader.close()
        return messages


def print_delivered(pairs: int) -> None:
    """Report from a contestant's process how many pairs both sinks have."""
    print(json.dumps({"delivered": pairs}), flush=True)


def create_feedback_table(settings: Settings, name: str) -> None:
    with psycopg.connect(settings.database_url) as connection:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {name}_feedback (LIKE subscribers_feedback INCLUDING ALL)"
        )

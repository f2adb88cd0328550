"""A world of its own for a test: a database and three topics in the shared services.

A `World` sends what goes into the stream and reads what came out of it.
"""

import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from psycopg import sql

from promo_assets.settings import Settings
from promo_assets.stream.ledger.schema import apply_ddl

ROW_FIELDS = (
    "restaurant_id",
    "adv_campaign_id",
    "adv_campaign_content",
    "adv_campaign_owner",
    "adv_campaign_owner_contact",
    "adv_campaign_datetime_start",
    "adv_campaign_datetime_end",
    "datetime_created",
    "client_id",
    "trigger_datetime_created",
)


@dataclass
class World:
    """The endpoints, topics and folder of a test. `env` and `settings` lead the project to them."""

    kafka: str
    postgres_url: str
    home: Path
    topic_in: str
    topic_out: str
    topic_dead_letters: str
    extra_env: dict[str, str] = field(default_factory=dict)
    kafka_login: dict[str, str] = field(default_factory=dict)
    """The login of the test's own clients. `extra_env` has that of the project's processes."""

    @property
    def env(self) -> dict[str, str]:
        """The environment of the project's processes in this world."""
        return {
            **os.environ,
            "PROMO_HOME": str(self.home),
            "PROMO_KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "PROMO_POSTGRES_URL": self.postgres_url,
            "PROMO_TOPIC_IN": self.topic_in,
            "PROMO_TOPIC_OUT": self.topic_out,
            "PROMO_TOPIC_DEAD_LETTERS": self.topic_dead_letters,
            "PROMO_CHECKPOINT_DIR": str(self.home / "checkpoint"),
            "PROMO_SPARK_MASTER": "local[2]",
            **self.extra_env,
        }

    @property
    def settings(self) -> Settings:
        values = {
            name.removeprefix("PROMO_").lower(): value
            for name, value in self.env.items()
            if name.startswith("PROMO_")
        }
        return Settings(**values)  # pyright: ignore[reportArgumentType]

    @property
    def kafka_client(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.kafka, **self.kafka_login}

    def create_topics(self, *names: str) -> None:
        admin = AdminClient(self.kafka_client)
        for future in admin.create_topics([NewTopic(name, 3, 1) for name in names]).values():
            future.result()

    def delete_topics(self, *names: str) -> None:
        admin = AdminClient(self.kafka_client)
        for future in admin.delete_topics(list(names)).values():
            future.result()

    def execute(self, query: str, parameters: tuple = ()) -> list[tuple]:
        with psycopg.connect(self.postgres_url, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)  # pyright: ignore[reportArgumentType]
            return cursor.fetchall() if cursor.description else []

    def favour(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Insert favourites: pairs (client_id, restaurant_id)."""
        into = "COPY subscribers_restaurants (client_id, restaurant_id) FROM STDIN"
        with (
            psycopg.connect(self.postgres_url) as connection,
            connection.cursor().copy(into) as copy,
        ):
            for pair in pairs:
                copy.write_row(pair)

    def send(
        self,
        *values: bytes | dict | None,
        topic: str | None = None,
        partition: int | None = None,
        key: bytes | None = b"key",
        at_ms: int = 0,
    ) -> None:
        """Send messages to the input topic, in order, and wait for their acknowledgement.

        A dict is sent as JSON. `at_ms` is the sender's clock in unix milliseconds, 0 for now.
        """
        conf = {**self.kafka_client, "enable.idempotence": True, "message.max.bytes": 2_000_000}
        producer = Producer(conf)
        errors: list[object] = []

        def keep_error(error: object, _: Message) -> None:
            if error:
                errors.append(error)

        options = {"key": key, "timestamp": at_ms, "on_delivery": keep_error}
        if partition is not None:
            options["partition"] = partition
        for value in values:
            encoded = json.dumps(value).encode() if isinstance(value, dict) else value
            producer.produce(topic or self.topic_in, value=encoded, **options)
            producer.poll(0)
        assert producer.flush(60) == 0
        assert not errors

    def rows(self) -> list[dict]:
        """Return all rows of `subscribers_feedback`. Their `feedback` must be empty."""
        rows = self.execute(f"SELECT {', '.join(ROW_FIELDS)}, feedback FROM subscribers_feedback")
        assert all(row[-1] is None for row in rows)
        return [dict(zip(ROW_FIELDS, row[:-1], strict=True)) for row in rows]

    def messages(self, topic: str | None = None) -> list[Message]:
        """Return all that a `read_committed` consumer sees of the output topic, or of `topic`."""
        return list(self._read(topic or self.topic_out))

    def dead_letters(self) -> list[Message]:
        return list(self._read(self.topic_dead_letters))

    def _read(self, topic: str) -> Iterator[Message]:
        consumer = Consumer(
            {
                **self.kafka_client,
                "group.id": f"test-{uuid.uuid4()}",
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        at_end = 0
        try:
            while at_end < len(partitions):
                message = consumer.poll(30)
                assert message is not None, f"{topic}: no message for 30 s (open transaction?)"
                if not message.error():
                    yield message
                elif message.error().name() == "_PARTITION_EOF":
                    at_end += 1
                else:
                    raise AssertionError(message.error())
        finally:
            consumer.close()


def make_database(postgres_url: str, name: str) -> str:
    """Create a database with the stream's tables on a server and return its URL."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    base, _, _ = postgres_url.rpartition("/")
    apply_ddl(f"{base}/{name}")
    return f"{base}/{name}"


@contextmanager
def database(postgres_url: str, name: str) -> Iterator[str]:
    """Create such a database, and drop it at the end of the block."""
    yield make_database(postgres_url, name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


@pytest.fixture
def world(services, tmp_path: Path) -> Iterator[World]:
    with new_world(services, tmp_path) as made:
        yield made


@contextmanager
def new_world(services, home: Path) -> Iterator[World]:
    """Create a database and topics of random names, and delete them at the end of the block."""
    name = f"w{uuid.uuid4().hex[:10]}"
    with database(services.postgres_url, name) as url:
        made = World(services.kafka, url, home, f"{name}.in", f"{name}.out", f"{name}.dead")
        made.create_topics(made.topic_in, made.topic_out, made.topic_dead_letters)
        yield made
        made.delete_topics(made.topic_in, made.topic_out, made.topic_dead_letters)

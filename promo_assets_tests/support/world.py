"""A world of its own for a test: a database and three topics in the shared services, what is put in and what came out."""

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
from promo_assets.stream.ledger.ledger import apply_ddl

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
    kafka: str
    postgres_url: str
    home: Path
    topic_in: str
    topic_out: str
    topic_dead_letters: str
    extra_env: dict[str, str] = field(default_factory=dict)
    kafka_login: dict[str, str] = field(
        default_factory=dict
    )  # the test's own; the project's processes have theirs in extra_env

    @property
    def env(self) -> dict[str, str]:
        """The environment in which the project's processes live in this world."""
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
        """(client_id, restaurant_id) become favourites."""
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
        """Messages into the input topic, in order, acknowledged; a dict is sent as JSON. `at_ms` is the sender's clock, if not this one."""
        producer = Producer(
            {**self.kafka_client, "enable.idempotence": True, "message.max.bytes": 2_000_000}
        )
        where = {} if partition is None else {"partition": partition}
        failed: list[object] = []
        for value in values:
            encoded = json.dumps(value).encode() if isinstance(value, dict) else value
            note = lambda error, _: failed.append(error) if error else None  # noqa: E731
            producer.produce(
                topic or self.topic_in,
                value=encoded,
                key=key,
                on_delivery=note,
                timestamp=at_ms,
                **where,
            )
            producer.poll(0)
        assert producer.flush(60) == 0
        assert not failed

    def rows(self) -> list[dict]:
        """`subscribers_feedback`, whole; feedback must be empty."""
        found = self.execute(f"SELECT {', '.join(ROW_FIELDS)}, feedback FROM subscribers_feedback")
        assert all(row[-1] is None for row in found)
        return [dict(zip(ROW_FIELDS, row[:-1], strict=True)) for row in found]

    def messages(self, topic: str | None = None) -> list[Message]:
        """All that a `read_committed` consumer sees of the output topic."""
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
                assert message is not None, (
                    f"{topic}: no answer, or an open transaction, within 30 s"
                )
                if not message.error():
                    yield message
                elif message.error().name() == "_PARTITION_EOF":
                    at_end += 1
                else:
                    raise AssertionError(message.error())
        finally:
            consumer.close()


def make_database(postgres_url: str, name: str) -> str:
    """URL of a database of its own on that server, with the stream's tables."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    base, _, _ = postgres_url.rpartition("/")
    apply_ddl(f"{base}/{name}")
    return f"{base}/{name}"


@contextmanager
def database(postgres_url: str, name: str) -> Iterator[str]:
    """The same for a server that lives on."""
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
    name = f"w{uuid.uuid4().hex[:10]}"
    with database(services.postgres_url, name) as url:
        made = World(services.kafka, url, home, f"{name}.in", f"{name}.out", f"{name}.dead")
        made.create_topics(made.topic_in, made.topic_out, made.topic_dead_letters)
        yield made
        made.delete_topics(made.topic_in, made.topic_out, made.topic_dead_letters)

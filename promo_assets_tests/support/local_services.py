"""Helpers for tests that start Kafka and Postgres in a home of their own."""

import os
from pathlib import Path

import psutil
import psycopg
from confluent_kafka import Consumer, Producer

from promo_assets.local import services
from promo_assets.settings import Settings


def make_settings(home: Path, **values: str) -> Settings:
    return Settings(home=home, _env_file=None, **values)  # pyright: ignore[reportCallIssue, reportArgumentType]


def ignore_progress(_: str) -> None:
    pass


def find_pids(home: Path) -> list[int]:
    """Return the pids of all processes with the home's folders in their command line."""
    folders = {str(home), str((home / "local" / "postgres").resolve())}
    return [
        process.pid
        for process in psutil.process_iter()
        if any(folder in part for part in read_arguments(process) for folder in folders)
    ]


def read_arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def write_row_and_message(endpoints: services.Endpoints, name: str) -> None:
    with psycopg.connect(endpoints.postgres_url) as connection:
        connection.execute(
            "INSERT INTO subscribers_restaurants (client_id, restaurant_id) VALUES (%s, 'r')",
            [name],
        )
    producer = Producer({"bootstrap.servers": endpoints.kafka})
    producer.produce("promo_campaigns", name)
    assert producer.flush(20) == 0


def read_rows(endpoints: services.Endpoints) -> list[str]:
    query = "SELECT client_id FROM subscribers_restaurants ORDER BY id"
    with psycopg.connect(endpoints.postgres_url) as connection:
        return [client_id for (client_id,) in connection.execute(query)]


def read_messages(endpoints: services.Endpoints, count: int) -> list[str]:
    new_group = {"group.id": os.urandom(4).hex(), "auto.offset.reset": "earliest"}
    consumer = Consumer({"bootstrap.servers": endpoints.kafka, **new_group})
    consumer.subscribe(["promo_campaigns"])
    try:
        return sorted(
            (message.value() or b"").decode() for message in consumer.consume(count, timeout=20)
        )
    finally:
        consumer.close()

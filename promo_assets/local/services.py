"""Implements `promo-assets up`, `down` and `status`: the background services of one PROMO_HOME."""

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from promo_assets.jvm.ivy import SetupError
from promo_assets.jvm.java import JavaError
from promo_assets.local import processes
from promo_assets.local.kafka import LocalKafka
from promo_assets.local.postgres import LocalPostgres
from promo_assets.local.processes import PortTaken, ServiceError
from promo_assets.local.topics import create_topics
from promo_assets.settings import DEFAULT_KAFKA_PORT, DEFAULT_POSTGRES_PORT, Settings

__all__ = ["Endpoints", "ServiceError", "Status", "down", "status", "up"]

START_ATTEMPTS = 3
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Endpoints:
    kafka: str
    postgres_url: str  # with the password: show it to the user, never log it


@dataclass(frozen=True)
class Status:
    """Addresses of the services; None means a local service that is not running.

    A service that the settings name is not contacted: its address is the one that is set.
    """

    kafka: str | None
    postgres_url: str | None


def up(settings: Settings, progress: Progress) -> Endpoints:
    """Start the services that are not running, then create topics and tables that are missing.

    The ports may change: settings that were loaded before still have the old ones. Raises
    `ServiceError`.
    """
    with _convert_errors(), _lock_home(settings.home):
        with ThreadPoolExecutor() as pool:
            # Both start before either is waited for.
            kafka = pool.submit(_up_kafka, settings, progress) if settings.local_kafka else None
            postgres = (
                pool.submit(_up_postgres, settings, progress) if settings.local_postgres else None
            )
        state = _read_state(settings.home)
        endpoints = Endpoints(settings.bootstrap_servers, settings.database_url)
        if kafka:
            state["kafka_port"] = kafka.result()
            endpoints = replace(endpoints, kafka=f"127.0.0.1:{kafka.result()}")
        if postgres:
            state["postgres_port"] = postgres.result()
            state["postgres_url"] = LocalPostgres(settings.home).url(postgres.result())
            endpoints = replace(endpoints, postgres_url=state["postgres_url"])
        processes.write_atomically(_state_file(settings.home), json.dumps(state, indent=1))
        create_topics(settings, endpoints.kafka)
        _create_tables(endpoints.postgres_url)
    return endpoints


def down(settings: Settings, progress: Progress) -> None:
    """Stop the services that `up` started for this home, and no others. Raises `ServiceError`."""
    if not settings.home.exists():
        return
    with _convert_errors(), _lock_home(settings.home), ThreadPoolExecutor() as pool:
        postgres = pool.submit(LocalPostgres(settings.home).stop)
        if processes.stop(LocalKafka(settings.home).record):
            progress("stopped the local Kafka")
        if postgres.result():
            progress("stopped the local Postgres")


def status(settings: Settings) -> Status:
    kafka, postgres = LocalKafka(settings.home), LocalPostgres(settings.home)
    with _convert_errors():
        running_kafka = processes.running(kafka.record)
        running_postgres = processes.running(postgres.record)
        local_kafka = f"127.0.0.1:{running_kafka[1].port}" if running_kafka else None
        local_postgres = postgres.url(running_postgres[1].port) if running_postgres else None
    return Status(
        kafka=local_kafka if settings.local_kafka else settings.bootstrap_servers,
        postgres_url=local_postgres if settings.local_postgres else settings.database_url,
    )


def _up_kafka(settings: Settings, progress: Progress) -> int:
    return _up(
        LocalKafka(settings.home),
        _read_state(settings.home).get("kafka_port", DEFAULT_KAFKA_PORT),
        lambda: progress("starting Kafka"),
    )


def _up_postgres(settings: Settings, progress: Progress) -> int:
    return _up(
        LocalPostgres(settings.home),
        _read_state(settings.home).get("postgres_port", DEFAULT_POSTGRES_PORT),
        lambda: progress("starting Postgres"),
    )


def _up(service: LocalKafka | LocalPostgres, wanted_port: int, on_start: Callable[[], None]) -> int:
    """Start the service unless it is running, and return its port."""
    found = processes.running(service.record)
    if found:
        try:
            service.wait(found[1].port)
            return found[1].port
        except ServiceError:
            if processes.running(service.record):
                raise  # otherwise it was exiting when it was found
    on_start()
    for attempt in range(1, START_ATTEMPTS + 1):
        port = processes.free_port(wanted_port)
        service.start(port)
        try:
            service.wait(port)
            return port
        except PortTaken:
            if attempt == START_ATTEMPTS:
                raise
            processes.stop(service.record)
        except ServiceError as error:
            # Another process may have taken the port meanwhile, and the children of a killed
            # Postgres hold its shared memory for a moment.
            may_pass = not processes.is_free(port) or "shared memory" in str(error)
            if attempt == START_ATTEMPTS or processes.running(service.record) or not may_pass:
                raise
            time.sleep(attempt)
    raise AssertionError


def _create_tables(database_url: str) -> None:
    from promo_assets.stream.errors import LedgerError
    from promo_assets.stream.ledger.schema import apply_ddl

    try:
        apply_ddl(database_url)
    except (psycopg.Error, LedgerError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ServiceError(f"Cannot create the stream's tables in Postgres: {reason}") from error


def _state_file(home: Path) -> Path:
    return home / "local" / "services.json"


def _read_state(home: Path) -> dict[str, Any]:
    try:
        return json.loads(_state_file(home).read_text())
    except (FileNotFoundError, ValueError):
        return {}


@contextmanager
def _lock_home(home: Path) -> Iterator[None]:
    """Make a second `up` or `down` of the same home wait for the first."""
    (home / "local").mkdir(parents=True, exist_ok=True)
    with (home / "local" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _convert_errors() -> Iterator[None]:
    """Convert errors of setup and of the operating system to `ServiceError`."""
    try:
        yield
    except (SetupError, JavaError) as error:
        raise ServiceError(str(error)) from error
    except OSError as error:
        raise ServiceError(f"Cannot use the local Kafka and Postgres: {error}") from error

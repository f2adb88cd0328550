"""`promo-assets up`, `down` and `status`: Kafka and Postgres of one PROMO_HOME in the background."""

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

from promo_assets.jvm.jars import SetupError
from promo_assets.jvm.java import JavaError
from promo_assets.local import processes
from promo_assets.local.kafka import LocalKafka
from promo_assets.local.postgres import LocalPostgres
from promo_assets.local.processes import PortTaken, ServiceError
from promo_assets.local.topics import create_topics
from promo_assets.settings import DEFAULT_KAFKA_PORT, DEFAULT_POSTGRES_PORT, Settings

__all__ = ["Endpoints", "ServiceError", "Status", "down", "status", "up"]

STARTS = 3
Say = Callable[[str], None]


@dataclass(frozen=True)
class Endpoints:
    kafka: str
    postgres_url: str  # with its password: for the user's eyes and no log


@dataclass(frozen=True)
class Status:
    """None is a local service that does not run; an outside one is given as it is set, unasked."""

    kafka: str | None
    postgres_url: str | None


def up(settings: Settings, say: Say) -> Endpoints:
    """Starts what does not run, then creates topics and tables; harmless when all is there.

    The ports may be new: settings loaded before still have the old ones.
    """
    with _one_error(), _one_at_a_time(settings.home):
        with ThreadPoolExecutor() as pool:
            # Both are started before either is waited for.
            kafka = pool.submit(_up_kafka, settings, say) if settings.local_kafka else None
            postgres = pool.submit(_up_postgres, settings, say) if settings.local_postgres else None
        noted = _noted(settings.home)
        endpoints = Endpoints(settings.bootstrap_servers, settings.database_url)
        if kafka:
            noted["kafka_port"] = kafka.result()
            endpoints = replace(endpoints, kafka=f"127.0.0.1:{kafka.result()}")
        if postgres:
            noted["postgres_port"] = postgres.result()
            noted["postgres_url"] = LocalPostgres(settings.home).url(postgres.result())
            endpoints = replace(endpoints, postgres_url=noted["postgres_url"])
        processes.write_atomically(_state_file(settings.home), json.dumps(noted, indent=1))
        create_topics(settings, endpoints.kafka)
        _create_tables(endpoints.postgres_url)
    return endpoints


def down(settings: Settings, say: Say) -> None:
    """Ends what `up` started for this home, and only that."""
    if not settings.home.exists():
        return
    with _one_error(), _one_at_a_time(settings.home), ThreadPoolExecutor() as pool:
        postgres = pool.submit(LocalPostgres(settings.home).stop)
        if processes.stop(LocalKafka(settings.home).record):
            say("stopped the local Kafka")
        if postgres.result():
            say("stopped the local Postgres")


def status(settings: Settings) -> Status:
    kafka, postgres = LocalKafka(settings.home), LocalPostgres(settings.home)
    with _one_error():
        kafka_runs, postgres_runs = (
            processes.running(kafka.record),
            processes.running(postgres.record),
        )
        local_kafka = f"127.0.0.1:{kafka_runs[1].port}" if kafka_runs else None
        local_postgres = postgres.url(postgres_runs[1].port) if postgres_runs else None
    return Status(
        kafka=local_kafka if settings.local_kafka else settings.bootstrap_servers,
        postgres_url=local_postgres if settings.local_postgres else settings.database_url,
    )


def _up_kafka(settings: Settings, say: Say) -> int:
    return _up(
        LocalKafka(settings.home),
        _noted(settings.home).get("kafka_port", DEFAULT_KAFKA_PORT),
        lambda: say("starting Kafka"),
    )


def _up_postgres(settings: Settings, say: Say) -> int:
    return _up(
        LocalPostgres(settings.home),
        _noted(settings.home).get("postgres_port", DEFAULT_POSTGRES_PORT),
        lambda: say("starting Postgres"),
    )


def _up(service: LocalKafka | LocalPostgres, wanted_port: int, tell: Callable[[], None]) -> int:
    """Port of the running service."""
    found = processes.running(service.record)
    if found:
        try:
            service.wait(found[1].port)
            return found[1].port
        except ServiceError:
            if processes.running(service.record):
                raise  # else it was about to end when it was looked for
    tell()
    for attempt in range(1, STARTS + 1):
        port = processes.free_port(wanted_port)
        service.start(port)
        try:
            service.wait(port)
            return port
        except PortTaken:
            if attempt == STARTS:
                raise
            processes.stop(service.record)
        except ServiceError as error:
            # Somebody took the port in between, or the children of a killed Postgres take a moment to leave its memory.
            passing = not processes.is_free(port) or "shared memory" in str(error)
            if attempt == STARTS or processes.running(service.record) or not passing:
                raise
            time.sleep(attempt)
    raise AssertionError


def _create_tables(database_url: str) -> None:
    from promo_assets.stream.errors import LedgerError
    from promo_assets.stream.ledger.ledger import apply_ddl

    try:
        apply_ddl(database_url)
    except (psycopg.Error, LedgerError) as error:
        raise ServiceError(
            f"the tables could not be created in Postgres: {str(error).strip().splitlines()[0]}"
        ) from error


def _state_file(home: Path) -> Path:
    return home / "local" / "services.json"


def _noted(home: Path) -> dict[str, Any]:
    try:
        return json.loads(_state_file(home).read_text())
    except (FileNotFoundError, ValueError):
        return {}


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """A second `up` or `down` of the same home waits for the first."""
    (home / "local").mkdir(parents=True, exist_ok=True)
    with (home / "local" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _one_error() -> Iterator[None]:
    try:
        yield
    except (SetupError, JavaError) as error:
        raise ServiceError(str(error)) from error
    except OSError as error:
        raise ServiceError(f"the local services cannot be used: {error}") from error

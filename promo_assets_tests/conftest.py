"""One local Kafka, Postgres and HDFS for the whole test session."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from promo_assets.local import processes
from promo_assets.local import services as local_services
from promo_assets.local.kafka import LocalKafka
from promo_assets.local.postgres import LocalPostgres
from promo_assets.local.postgres_account import remove_data_folder
from promo_assets.settings import Settings
from promo_assets_tests.support.daemons import SHORT_LIVED, start_keeper
from promo_assets_tests.support.lake.hdfs import Hdfs

# Fixtures that start servers: `make test-quick` leaves out whatever needs one of them.
STARTED_SERVERS = {"services", "hdfs", "standalone", "yarn", "chromium"}


@dataclass(frozen=True)
class Services:
    home: Path
    kafka: str
    postgres_url: str
    settings: Settings

    @property
    def env(self) -> dict[str, str]:
        """The environment of subprocesses: it names every endpoint and folder, so that no
        developer's `.env` leads a test elsewhere."""
        return {
            "PROMO_HOME": str(self.home),
            "PROMO_KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "PROMO_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
            "PROMO_POSTGRES_URL": self.postgres_url,
            "PROMO_CHECKPOINT_DIR": str(self.home / "checkpoint"),
            "PROMO_LAKE_ROOT": str(self.home / "lake"),
        }


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--repeat",
        type=int,
        default=1,
        help="run each test this many times (faults hit at another moment each time)",
    )
    parser.addoption("--screenshots", metavar="FOLDER", help="write the README's pictures there")
    parser.addoption("--whole", action="store_true", help="the long tests, too")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "whole: long; runs with --whole only")
    config.addinivalue_line(
        "markers",
        "slow: takes many seconds without a server, so that `make test-quick` leaves it out",
    )
    config.addinivalue_line(
        "markers", "quick: set for all tests that need no server and are not slow"
    )
    # spark-submit reads these options for the tests' sessions and for those of their processes.
    for name in ("SPARK_SUBMIT_OPTS", "SPARK_LAUNCHER_OPTS"):
        os.environ.setdefault(name, SHORT_LIVED)


@pytest.hookimpl(tryfirst=True)  # before pytest looks for the markers that `-m` names
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow_files = set()
    for item in items:
        if item.get_closest_marker("slow") or STARTED_SERVERS.intersection(
            getattr(item, "fixturenames", ())
        ):
            slow_files.add(item.path)
        else:
            item.add_marker("quick")
    if hasattr(config, "workerinput"):
        # Workers start with the files that wait for servers. The many quick files fill the end.
        items.sort(key=lambda item: item.path not in slow_files)
    if not config.getoption("whole"):
        long_ones = [item for item in items if item.get_closest_marker("whole")]
        config.hook.pytest_deselected(items=long_ones)
        items[:] = [item for item in items if item not in long_ones]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    times = int(metafunc.config.getoption("repeat") or 1)
    if times > 1:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


def _say(line: str) -> None:
    print(line, file=sys.stderr)


@pytest.fixture(scope="session")
def services(
    tmp_path_factory: pytest.TempPathFactory, no_settings_of_the_developer: None
) -> Iterator[Services]:
    settings = Settings(home=tmp_path_factory.mktemp("promo-home"), _env_file=None)  # pyright: ignore[reportCallIssue]
    # Other test runs, and a developer's own services, would contend for the default ports.
    ports = {"kafka_port": processes.free_port(), "postgres_port": processes.free_port()}
    processes.write_atomically(settings.home / "local" / "services.json", json.dumps(ports))
    # A worker that is killed, or ended by a test's time limit, does not finish its fixtures.
    keeper = start_keeper(LocalKafka(settings.home).record, LocalPostgres(settings.home).record)
    try:
        endpoints = local_services.up(settings, _say)
        started = Settings(home=settings.home, _env_file=None)  # pyright: ignore[reportCallIssue]
        yield Services(settings.home, endpoints.kafka, endpoints.postgres_url, started)
    finally:
        local_services.down(settings, _say)
        keeper.communicate(timeout=60)
        remove_data_folder(settings.home / "local" / "postgres")


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hdfs]:
    with Hdfs(tmp_path_factory.mktemp("hdfs")) as hdfs:
        yield hdfs


@pytest.fixture(autouse=True, scope="session")
def no_settings_of_the_developer() -> Iterator[None]:
    """The settings of whoever runs the tests do not reach them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PROMO_")]:
            patch.delenv(name)
        yield

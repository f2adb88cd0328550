"""One local Kafka, Postgres and HDFS for the whole test session."""

import json
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from promo_assets.local import services as local_services
from promo_assets.local.postgres_account import remove_data_folder
from promo_assets.local.processes import is_free, write_atomically
from promo_assets.settings import Settings
from promo_assets_tests.support.lake.hdfs import Hdfs


@dataclass(frozen=True)
class Services:
    home: Path
    kafka: str
    postgres_url: str
    settings: Settings

    @property
    def env(self) -> dict[str, str]:
        """For subprocesses: all endpoints and folders are named, so that no developer's `.env` leads a test elsewhere."""
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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("whole"):
        long_ones = [item for item in items if item.get_closest_marker("whole")]
        config.hook.pytest_deselected(items=long_ones)
        items[:] = [item for item in items if item not in long_ones]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    times = int(metafunc.config.getoption("repeat") or 1)
    if times > 1:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


def _own_port() -> int:
    """A port that another session of tests is unlikely to choose, also while our server restarts.

    It lies below the range from which the kernel takes ports for outgoing connections.
    """
    return next(
        port for port in iter(lambda: random.randrange(15_000, 32_000), None) if is_free(port)
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr)


@pytest.fixture(scope="session")
def services(
    tmp_path_factory: pytest.TempPathFactory, no_settings_of_the_developer: None
) -> Iterator[Services]:
    settings = Settings(home=tmp_path_factory.mktemp("promo-home"), _env_file=None)  # pyright: ignore[reportCallIssue]
    ports = {"kafka_port": _own_port(), "postgres_port": _own_port()}
    write_atomically(settings.home / "local" / "services.json", json.dumps(ports))
    try:
        endpoints = local_services.up(settings, _say)
        started = Settings(home=settings.home, _env_file=None)  # pyright: ignore[reportCallIssue]
        yield Services(settings.home, endpoints.kafka, endpoints.postgres_url, started)
    finally:
        local_services.down(settings, _say)
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

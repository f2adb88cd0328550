"""One Spark session for all tests of the lake."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from promo_assets.jvm.session import open_session
from promo_assets.settings import Settings


@pytest.fixture(scope="session")
def spark(
    tmp_path_factory: pytest.TempPathFactory, no_settings_of_the_developer: None
) -> Iterator[SparkSession]:
    """A process has one session: with the stream's tests in it, too, both fixtures share it."""
    settings = Settings(
        home=tmp_path_factory.mktemp("spark-home"), spark_master="local[2]", _env_file=None
    )  # pyright: ignore[reportCallIssue]
    session = open_session(settings, "tests")
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()

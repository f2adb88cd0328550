"""One Spark session for all tests of the stream that run it in this process."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from promo_assets.jvm.session import prepare_environment, spark_conf
from promo_assets.settings import Settings
from promo_assets.stream.pipeline.run import StreamRun, run_stream
from promo_assets_tests.support.world import World, world

__all__ = ["world"]


@pytest.fixture(scope="session")
def spark(services) -> Iterator[SparkSession]:
    settings = Settings(home=services.home, spark_master="local[2]")
    prepare_environment(settings)
    builder = SparkSession.builder.appName("tests")
    for name, value in spark_conf(settings).items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def catch_up(spark: SparkSession):
    """Runs the stream in a world until it has caught up, as `stream run --until-caught-up` does."""

    def run(world: World) -> StreamRun:
        stream_run = StreamRun(world.settings, lambda: spark, "test", until_caught_up=True)
        run_stream(stream_run)
        return stream_run

    return run

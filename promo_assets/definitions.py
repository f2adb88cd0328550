"""The first code to open: everything that Dagster is told about, in one place.

`make dev` shows it. What an asset is, stands with the asset: `stream/assets.py`.
"""

import dagster as dg
from dagster_pyspark import LazyPySparkResource

from promo_assets.settings import Settings, load_settings
from promo_assets.spark import prepare_environment, spark_conf
from promo_assets.stream.assets import STREAM_ASSETS, promo_stream
from promo_assets.stream.sensor import promo_stream_keeper


def build_definitions(settings: Settings) -> dg.Definitions:
    """Fresh definitions for these settings; a test makes its own."""
    return dg.Definitions(
        assets=STREAM_ASSETS,
        jobs=[promo_stream],
        sensors=[promo_stream_keeper],
        resources=build_resources(settings),
        executor=dg.in_process_executor,  # one JVM a run, not one a step
    )


def build_resources(settings: Settings) -> dict[str, dg.ResourceDefinition]:
    """Made anew for each run and each look of the sensor, so that loading the definitions needs neither jars nor Java."""

    @dg.resource(description="What the environment and `.env` say, and the ports that the local services have now.")
    def current_settings(_: dg.InitResourceContext) -> Settings:
        return Settings(**dict(settings))

    @dg.resource(description="The run's Spark session, made when it is first asked for.")
    def pyspark(_: dg.InitResourceContext) -> LazyPySparkResource:
        prepare_environment()
        return LazyPySparkResource(spark_config=spark_conf(settings))

    return {"settings": current_settings, "pyspark": pyspark}


defs = build_definitions(load_settings())

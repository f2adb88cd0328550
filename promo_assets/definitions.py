"""The first code to open: everything that Dagster is told about, in one place.

`make dev` shows it. What an asset is, stands with the asset: `stream/assets.py`, `lake/assets.py`.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
from dagster_pyspark import LazyPySparkResource

from promo_assets.jdbc import jdbc_source
from promo_assets.lake.assets import Marts, build_assets
from promo_assets.lake.feedback import FeedbackSource
from promo_assets.lake.jobs import build_jobs
from promo_assets.lake.storage import Lake
from promo_assets.settings import LONGEST_DEPTH, Settings, load_settings
from promo_assets.spark import prepare_environment, spark_conf
from promo_assets.stream.assets import STREAM_ASSETS, promo_stream
from promo_assets.stream.jobs import promo_retention, promo_retention_schedule
from promo_assets.stream.sensor import promo_stream_sensor


def build_definitions(settings: Settings) -> dg.Definitions:
    """Fresh definitions for these settings; a test makes its own."""
    daily = dg.DailyPartitionsDefinition(start_date=str(settings.lake_start))
    to_today = dg.DailyPartitionsDefinition(start_date=str(settings.lake_start), end_offset=1)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", dg.BetaWarning
        )  # known: backfills in one run, and what RAW is observed with
        lake_assets = build_assets(daily, to_today, settings.lake_depth)
    lake_jobs, lake_schedules = build_jobs(daily, to_today)
    return dg.Definitions(
        assets=[*STREAM_ASSETS, *lake_assets],
        jobs=[promo_stream, promo_retention, *lake_jobs],
        sensors=[promo_stream_sensor],
        schedules=[promo_retention_schedule, *lake_schedules],
        resources=build_resources(settings),
        executor=dg.in_process_executor,  # one JVM a run, not one a step
    )


def build_resources(settings: Settings) -> dict[str, dg.ResourceDefinition]:
    """Made anew for each run and each look of the sensor, so that loading the definitions needs neither jars nor Java."""

    @dg.resource(
        description="What the environment and `.env` say, and the ports that the local services have now."
    )
    def current_settings(_: dg.InitResourceContext) -> Settings:
        return Settings(**dict(settings))

    @dg.resource(description="The run's Spark session, made when it is first asked for.")
    def pyspark(_: dg.InitResourceContext) -> LazyPySparkResource:
        prepare_environment(settings)
        return LazyPySparkResource(spark_config=spark_conf(settings))

    @dg.resource(
        required_resource_keys={"pyspark"},
        description="The lake's tables, where PROMO_LAKE_ROOT says.",
    )
    def lake(context: dg.InitResourceContext) -> Lake:
        # Not in the main thread: there pyspark would take over the signal by which Dagster terminates a run.
        with ThreadPoolExecutor(1) as thread:
            session = thread.submit(lambda: context.resources.pyspark.spark_session).result()
        assert context.log
        return Lake(session, settings.lake_uri, settings.lake_owner, context.log.warning)

    @dg.resource(
        description="The stream's Postgres, or a replica of it, as the lake reads it: PROMO_FEEDBACK_POSTGRES_URL."
    )
    def feedback_source(_: dg.InitResourceContext) -> FeedbackSource:
        return FeedbackSource(*jdbc_source(Settings(**dict(settings)).feedback_url))

    @dg.resource(
        config_schema={
            "depth": dg.Field(
                int,
                default_value=settings.lake_depth,
                description=f"Days in a mart, 1 to {LONGEST_DEPTH}.",
            )
        },
        description="How marts are made: PROMO_LAKE_DEPTH unless a run's config says otherwise.",
    )
    def marts(context: dg.InitResourceContext) -> Marts:
        return Marts(context.resource_config["depth"])

    return {
        "settings": current_settings,
        "pyspark": pyspark,
        "lake": lake,
        "marts": marts,
        "feedback_source": feedback_source,
    }


defs = build_definitions(load_settings())

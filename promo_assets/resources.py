"""Dagster's resources: settings, Spark, the lake, the source of the feedback, how marts are built.

They are plain objects because some of them hold secrets: Dagster shows the fields of a
`ConfigurableResource` in its UI.
"""

from concurrent.futures import ThreadPoolExecutor

import dagster as dg
from dagster_pyspark import LazyPySparkResource

from promo_assets.jvm.jdbc import jdbc_source
from promo_assets.jvm.session import prepare_environment, spark_conf
from promo_assets.lake.defs.mart_config import MartConfig
from promo_assets.lake.storage.feedback import FeedbackSource
from promo_assets.lake.storage.lake import Lake
from promo_assets.setting_types import LONGEST_DEPTH
from promo_assets.settings import Settings


def build_resources(settings: Settings) -> dict[str, dg.ResourceDefinition]:
    """Returns the resources by name.

    Each run and each sensor tick creates its own, so that loading the definitions needs neither
    jars nor Java.
    """

    @dg.resource(description="The settings, with the ports that the local services currently have.")
    def current_settings(_: dg.InitResourceContext) -> Settings:
        return settings.reloaded()

    @dg.resource(description="The run's Spark session, created on first use.")
    def pyspark(_: dg.InitResourceContext) -> LazyPySparkResource:
        prepare_environment(settings)
        return LazyPySparkResource(spark_config=spark_conf(settings))

    @dg.resource(
        required_resource_keys={"pyspark"},
        description="The lake's tables under PROMO_LAKE_ROOT.",
    )
    def lake(context: dg.InitResourceContext) -> Lake:
        # On the main thread, pyspark would replace the handler of the signal by which Dagster
        # terminates a run.
        with ThreadPoolExecutor(1) as thread:
            session = thread.submit(lambda: context.resources.pyspark.spark_session).result()
        assert context.log
        return Lake(session, settings.lake_uri, settings.lake_owner, context.log.warning)

    @dg.resource(description="Where the lake reads the feedback from: PROMO_FEEDBACK_POSTGRES_URL.")
    def feedback_source(_: dg.InitResourceContext) -> FeedbackSource:
        return FeedbackSource(*jdbc_source(settings.reloaded().feedback_url))

    @dg.resource(
        config_schema={
            "depth": dg.Field(
                int,
                default_value=settings.lake_depth,
                description=f"Days of history in a mart, 1 to {LONGEST_DEPTH}.",
            )
        },
        description="How marts are built: PROMO_LAKE_DEPTH, or the run's config.",
    )
    def marts(context: dg.InitResourceContext) -> MartConfig:
        return MartConfig(depth=context.resource_config["depth"])

    return {
        "settings": current_settings,
        "pyspark": pyspark,
        "lake": lake,
        "marts": marts,
        "feedback_source": feedback_source,
    }

"""How a Spark session is configured here, for the stream and the lake, with and without Dagster."""

import os
import sys

from promo_assets.local.jars import spark_jars
from promo_assets.local.java import java_home
from promo_assets.settings import Settings


def prepare_environment() -> None:
    """What must be in the environment before a JVM starts: the Java to use, and this Python for the executors."""
    os.environ["JAVA_HOME"] = str(java_home())
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")


def spark_conf(settings: Settings) -> dict[str, str]:
    """The session's configuration; holds no secret."""
    return {
        "spark.master": settings.spark_master,
        "spark.jars": ",".join(str(jar) for jar in spark_jars()),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(settings.home / "warehouse"),
    }

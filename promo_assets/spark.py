"""How a Spark session is configured here, for the stream and the lake, with and without Dagster."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from promo_assets.local.jars import spark_jars
from promo_assets.local.java import java_home
from promo_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOG_CONFIGURATION = Path(__file__).with_name("spark-log.properties")
JVM_END_S = 3


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
        "spark.driver.extraJavaOptions": " ".join(_java_options()),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(settings.home / "warehouse"),
    }


def _java_options() -> list[str]:
    options = [f'"-Dlog4j2.configurationFile={LOG_CONFIGURATION.as_uri()}"']
    if sys.platform == "linux":
        # Hadoop's local file system starts `chmod` for each file and folder it makes; this way it costs half the time.
        options.append("-Djdk.lang.Process.launchMechanism=VFORK")
    return options


def open_session(settings: Settings, app_name: str) -> "SparkSession":
    """A session with a JVM of its own, for a process that Dagster does not host."""
    from pyspark.sql import SparkSession

    prepare_environment()
    return SparkSession.builder.appName(app_name).config(map={**spark_conf(settings)}).getOrCreate()


def end_jvm() -> None:
    """End this process's JVM, and with it its Python workers: gently where it lets itself be, and for certain."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    process: subprocess.Popen | None = getattr(gateway, "proc", None)
    if process is None or process.stdin is None:
        return
    process.stdin.close()  # the JVM lives as long as this pipe
    try:
        process.wait(JVM_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(JVM_END_S)

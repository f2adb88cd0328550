"""Configures Spark sessions for the stream and the lake, with and without Dagster."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from promo_assets.jvm.class_data import archive_options
from promo_assets.jvm.jars import spark_jars
from promo_assets.jvm.java import java_home
from promo_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOG_CONFIGURATION = Path(__file__).with_name("spark-log.properties")
JVM_EXIT_TIMEOUT_S = 3
MASTER_TIMEOUT_S = 5
ARCHIVE_FOLDER = "promo_archive"


class ClusterError(Exception):
    """The Spark cluster cannot be used; the message says why in one line."""


def prepare_environment(settings: Settings) -> None:
    """Set the environment variables that Spark reads when its JVM starts: Java and Python.

    Raises `ClusterError` if the cluster cannot be reached. Spark would report that after a minute,
    among stack traces.
    """
    _check_cluster(settings.spark_master)
    os.environ["JAVA_HOME"] = str(java_home())
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["PYSPARK_PYTHON"] = settings.spark_python or sys.executable
    if settings.local_spark:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")


def spark_conf(settings: Settings) -> dict[str, str]:
    """Return the session's configuration, which holds no secret.

    Settings that a cluster needs in addition belong into its `spark-defaults.conf`.
    """
    conf = {
        "spark.master": settings.spark_master,
        "spark.jars": ",".join(str(jar) for jar in spark_jars()),
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": " ".join(_java_options()),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(settings.home / "warehouse"),
    }
    if settings.local_spark:
        conf |= {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
    if settings.spark_archive:
        # Each executor unpacks the archive below its working folder and imports from there.
        conf |= {
            "spark.archives": f"{settings.spark_archive}#{ARCHIVE_FOLDER}",
            "spark.executorEnv.PYTHONPATH": ARCHIVE_FOLDER,
        }
    return conf


def _check_cluster(master: str) -> None:
    hadoop_conf = os.environ.get("HADOOP_CONF_DIR") or os.environ.get("YARN_CONF_DIR")
    if master == "yarn" and not hadoop_conf:
        raise ClusterError(
            "PROMO_SPARK_MASTER=yarn: set HADOOP_CONF_DIR to the folder with the configuration"
            " of YARN and HDFS"
        )
    if master.startswith("spark://"):
        addresses = master.removeprefix("spark://").split(",")
        if not any(_accepts_connections(address) for address in addresses):
            raise ClusterError(f"PROMO_SPARK_MASTER={master}: no Spark master answers there")


def _accepts_connections(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), MASTER_TIMEOUT_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def _java_options() -> list[str]:
    options = [
        f'"-Dlog4j2.configurationFile={LOG_CONFIGURATION.as_uri()}"',
        *(f'"{option}"' for option in archive_options("spark")),
    ]
    if sys.platform == "linux":
        # Hadoop's local file system starts `chmod` for each file and folder that it creates.
        # With vfork that takes half the time.
        options.append("-Djdk.lang.Process.launchMechanism=VFORK")
    return options


def open_session(settings: Settings, app_name: str) -> "SparkSession":
    """Return a session with a JVM of its own, for a process that is not a Dagster run."""
    from pyspark.sql import SparkSession

    prepare_environment(settings)
    return SparkSession.builder.appName(app_name).config(map={**spark_conf(settings)}).getOrCreate()


def end_jvm() -> None:
    """End this process's JVM and its Python workers; kill it if it does not exit in time."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    process: subprocess.Popen | None = getattr(gateway, "proc", None)
    if process is None or process.stdin is None:
        return
    process.stdin.close()  # the JVM exits when this pipe closes
    try:
        process.wait(JVM_EXIT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(JVM_EXIT_TIMEOUT_S)

"""How a Spark session is configured here, for the stream and the lake, with and without Dagster."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from promo_assets.jvm.jars import spark_jars
from promo_assets.jvm.java import java_home
from promo_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOG_CONFIGURATION = Path(__file__).with_name("spark-log.properties")
JVM_EXIT_TIMEOUT_S = 3
MASTER_TIMEOUT_S = 5
UNPACKED = "promo_archive"


class ClusterError(Exception):
    """Spark's cluster cannot be used; the message says why in one line."""


def prepare_environment(settings: Settings) -> None:
    """What must be in the environment before a JVM starts: the Java to use, and the executors' Python.

    Raises `ClusterError` where the cluster is not to be found: Spark would say so after a minute, among stack traces.
    """
    _look_for(settings.spark_master)
    os.environ["JAVA_HOME"] = str(java_home())
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["PYSPARK_PYTHON"] = settings.spark_python or sys.executable
    if settings.local_spark:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")


def spark_conf(settings: Settings) -> dict[str, str]:
    """The session's configuration; holds no secret. What a cluster wants beside it stands in its `spark-defaults.conf`."""
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
        # Each executor unpacks it in its own folder, and its Python looks there.
        conf |= {
            "spark.archives": f"{settings.spark_archive}#{UNPACKED}",
            "spark.executorEnv.PYTHONPATH": UNPACKED,
        }
    return conf


def _look_for(master: str) -> None:
    if master == "yarn" and not (
        os.environ.get("HADOOP_CONF_DIR") or os.environ.get("YARN_CONF_DIR")
    ):
        raise ClusterError(
            "PROMO_SPARK_MASTER=yarn: HADOOP_CONF_DIR must name the folder of YARN's and HDFS's configuration"
        )
    if master.startswith("spark://"):
        addresses = master.removeprefix("spark://").split(",")
        if not any(_answers(address) for address in addresses):
            raise ClusterError(f"PROMO_SPARK_MASTER={master}: no master of Spark answers there")


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), MASTER_TIMEOUT_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def _java_options() -> list[str]:
    options = [f'"-Dlog4j2.configurationFile={LOG_CONFIGURATION.as_uri()}"']
    if sys.platform == "linux":
        # Hadoop's local file system starts `chmod` for each file and folder it makes; this way it costs half the time.
        options.append("-Djdk.lang.Process.launchMechanism=VFORK")
    return options


def open_session(settings: Settings, app_name: str) -> "SparkSession":
    """A session with a JVM of its own, for a process that Dagster does not host."""
    from pyspark.sql import SparkSession

    prepare_environment(settings)
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
        process.wait(JVM_EXIT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(JVM_EXIT_TIMEOUT_S)

"""Edge: the stream's Spark session, and the wait for the first executor."""

import threading
import time
from collections.abc import Callable
from typing import Any

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from promo_assets.settings import Settings
from promo_assets.stream.errors import StreamError, first_line

POLL_S = 0.2
EXECUTOR_WAIT_S = 20

SESSION_CONF = {
    "spark.sql.adaptive.enabled": "false",  # there are no shuffles to adapt
    # Each batch has new literals, so generated code would be compiled again for each batch: a fifth
    # of the JVM's time, for nothing.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    # What a Python worker holds at once: a message may be a megabyte.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "5000",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(8 * 1024 * 1024),
}


def get_session(get_spark: Callable[[], SparkSession], settings: Settings) -> SparkSession:
    """Start Spark or get its running session. Raises `StreamError` if that fails."""
    try:
        return get_spark()
    except Py4JError as error:
        raise StreamError(
            f"Cannot start a Spark session on {settings.spark_master}: {first_line(error)}"
        ) from error


def open_stream_session(spark: SparkSession) -> SparkSession:
    """Return a session of the stream's own, with its own configuration and temporary names."""
    session = spark.newSession()
    for name, value in SESSION_CONF.items():
        session.conf.set(name, value)
    return session


def await_executor(spark: Any, stop: threading.Event, report: Callable[[str | None], None]) -> None:
    """Return when there is an executor, or at a stop.

    On a cluster without free resources Spark would wait in silence. After `EXECUTOR_WAIT_S`
    `report` gets the problem once, and None as soon as there is an executor.
    """
    master, began, reported = spark.sparkContext.master, time.monotonic(), False
    if master.startswith("local"):
        return
    while spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() < 2:  # one is the driver
        if stop.wait(POLL_S):
            return
        if time.monotonic() - began > EXECUTOR_WAIT_S and not reported:
            reported = True
            report(
                f"{master} has provided no executor yet: "
                "check that the cluster has free cores and memory"
            )
    if reported:
        report(None)

"""The lake's own Spark session: its settings, and waiting for its tasks."""

import contextlib
from typing import Any

from pyspark.sql import SparkSession
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

SETTINGS = {
    # Avoids a sort before rows are split into folders.
    "spark.sql.maxConcurrentOutputFileWriters": 200,
    # An event type may look like a date.
    "spark.sql.sources.partitionColumnTypeInference.enabled": False,
    "spark.sql.objectHashAggregate.sortBased.fallbackThreshold": 100_000,
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # HotSpot does not compile larger methods. With this limit, cleaning takes a third of the time.
    "spark.sql.codegen.hugeMethodLimit": 8000,
}
PARTITIONS_PER_CORE = 4
TASKS_TIMEOUT_S = 30
POLL_S = 0.1


def open_lake_session(spark: SparkSession) -> SparkSession:
    """Return a new session of the same Spark application, with the lake's settings."""
    session = spark.newSession()
    for name, value in SETTINGS.items():
        session.conf.set(name, value)
    if (spark.sparkContext.master or "").startswith("local"):
        # Spark's default of 200 is meant for a cluster; here each partition costs a file per task.
        partitions = PARTITIONS_PER_CORE * spark.sparkContext.defaultParallelism
        session.conf.set("spark.sql.shuffle.partitions", partitions)
        # These checksums tell whether a task that is run again shuffles the same rows. Local tasks
        # are not run again.
        session.conf.set("spark.sql.shuffle.orderIndependentChecksum.enabled", False)
    return session


def await_tasks(session: SparkSession) -> None:
    """Wait until Spark runs no task, at most TASKS_TIMEOUT_S.

    Spark reports the end of a job before its tasks have ended; only the scheduler knows about them.
    """
    java_session: Any = session._jsparkSession
    scheduler = java_session.sparkContext().taskScheduler()

    def count_tasks() -> int:
        numbers, total = scheduler.runningTasksByExecutors().valuesIterator(), 0
        while numbers.hasNext():
            total += numbers.next()
        return total

    timeout = stop_after_delay(TASKS_TIMEOUT_S)
    with contextlib.suppress(RetryError):
        Retrying(retry=retry_if_result(bool), wait=wait_fixed(POLL_S), stop=timeout)(count_tasks)

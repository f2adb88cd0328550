"""What the stream's Spark tasks share: a task is a function for `DataFrame.mapInArrow`."""

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark import TaskContext

ArrowTask = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

PAIR_COUNT = pa.schema([("pairs", pa.int64())])
"""The result of a task that counts (campaign, client) pairs: one row."""


def make_pair_count(pairs: int) -> pa.RecordBatch:
    """Return the one row of `PAIR_COUNT`."""
    return pa.RecordBatch.from_pydict({"pairs": [pairs]}, PAIR_COUNT)


def get_partition_id() -> int:
    """Return the number of the partition that the current Spark task handles."""
    task = TaskContext.get()
    assert task is not None, "this code runs in a Spark task"
    return task.partitionId()

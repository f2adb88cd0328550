"""Days of made-up RAW: a messenger's events as the other team writes them.

A day is determined by the sample's numbers and its date alone, whatever other days are made.
"""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from promo_assets.local.sample.events import BATCH, SCHEMA, Events
from promo_assets.local.sample.people import Sample, make_people

# Columns with few different values; only these get a dictionary.
FEW_VALUES = [
    "event_type",
    "event.message",
    "event.reaction_type",
    "event.media.media_type",
    "event.subscription_channel",
]


def sample_day(sample: Sample, day: date) -> pa.Table:
    """Return the whole day."""
    return pa.Table.from_batches(list(sample_batches(sample, day)), SCHEMA)


def sample_batches(sample: Sample, day: date) -> Iterator[pa.RecordBatch]:
    """Yield the day in batches, so that a day of any size fits into memory."""
    people = make_people(sample.users, sample.seed)
    for first in range(0, sample.events_per_day, BATCH):
        yield Events(sample, people, day, first).make_batch()


def write_day(sample: Sample, day: date, file: Path, written: Callable[[int], None]) -> None:
    """Write the day as one parquet file.

    `written` is called with the number of events of each batch, and may raise to stop.
    """
    few_values: Any = FEW_VALUES  # pyarrow's type hints allow only a bool here
    with pq.ParquetWriter(
        file, SCHEMA, compression="zstd", use_dictionary=few_values, store_schema=False
    ) as writer:
        for batch in sample_batches(sample, day):
            writer.write_batch(batch)
            written(len(batch))

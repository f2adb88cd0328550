"""A messenger's events as the other team writes them (the RAW schema), made up. A day follows from the sample's numbers
and the day alone: it comes out the same whatever days are made with it.
"""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from promo_assets.local.sample.events import BATCH, SCHEMA, Events
from promo_assets.local.sample.people import Sample, make_people

FEW_VALUES = [
    "event_type",
    "event.message",
    "event.reaction_type",
    "event.media.media_type",
    "event.subscription_channel",
]


def sample_day(sample: Sample, day: date) -> pa.Table:
    return pa.Table.from_batches(list(sample_batches(sample, day)), SCHEMA)


def sample_batches(sample: Sample, day: date) -> Iterator[pa.RecordBatch]:
    """The day in parts that fit into memory, whatever its size."""
    people = make_people(sample.users, sample.seed)
    for first in range(0, sample.events_per_day, BATCH):
        yield Events(sample, people, day, first).made()


def write_day(sample: Sample, day: date, file: Path, written: Callable[[int], None]) -> None:
    """Writes the day as one parquet file; `written` hears of each part's number of events, and may raise to end it."""
    few_values: Any = FEW_VALUES  # pyarrow's own types know of a bool only
    with pq.ParquetWriter(
        file, SCHEMA, compression="zstd", use_dictionary=few_values, store_schema=False
    ) as writer:
        for batch in sample_batches(sample, day):
            writer.write_batch(batch)
            written(len(batch))

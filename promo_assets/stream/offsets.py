"""Offsets of the input topic: one type, whether they come from Kafka, Spark or JSON."""

from collections.abc import Mapping

Offsets = dict[int, int]
"""The offset for each partition."""


def parse_offsets(stored: Mapping[str, int]) -> Offsets:
    """Convert offsets read from JSON, whose keys are always text."""
    return {int(partition): offset for partition, offset in stored.items()}

"""Cases of DDS: an event of STG, and what must become of it. One Spark job judges all cases.

Each case is an event at the edge of one rule that follows all other rules. Its `message_id` is the
number of the case.
"""

from collections import defaultdict
from dataclasses import dataclass

import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_assets.lake.tables import RAW_EVENTS
from promo_assets.lake.transform.cities import City
from promo_assets.lake.transform.dds import rejected_events, usable_events
from promo_assets_tests.support.lake.rows import Row, frame, raw_row, sorted_rows

# Equator is nearest to (0, 0), North to the north pole, South to the south pole, and West to
# (x, ±180), across the meridian.
CITIES = [
    City(1, "Equator", 0.0, 10.0, "UTC"),
    City(2, "North", 60.0, 0.0, "UTC"),
    City(3, "South", -60.0, 0.0, "UTC"),
    City(4, "West", 0.0, -170.0, "UTC"),
]
UNKNOWN_TYPE = "unknown event type"
NO_USER = "no user: digits are needed"
NO_TIME = "no readable time"
OTHER_DAY = "time outside of the partition's day"
BAD_LAT = "lat outside of ±90"
BAD_LON = "lon outside of ±180"
DAY = "2022-05-28"
AT = f"{DAY} 10:00:00"

_USERS = {
    "message": {"message_from": 7},
    "reaction": {"reaction_from": "7"},
    "subscription": {"user": "7"},
}
_USABLE = {
    "date": DAY,
    "user_id": 7,
    "message_to": None,
    "channel_id": None,
    "event_at": AT,
    "lat": None,
    "lon": None,
    "city_id": None,
}


@dataclass(frozen=True)
class Case:
    """A row of STG, and the expected event of DDS or the reason why it is rejected."""

    number: int
    label: str
    row: Row
    expected: dict | str

    def __str__(self) -> str:
        return self.label


class Cases:
    """The cases of a test module, which are judged together."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def add(
        self, outcome: dict | str, event_type: str | None = "message", **changed: object
    ) -> Case:
        """Add an event that differs in some columns or fields from a usable one.

        The outcome is a reason, or how the event of DDS differs from that of a usable one.
        """
        where = {name: changed.pop(name) for name in ("lat", "lon", "date") if name in changed}
        values = (where | changed).items()
        label = " ".join([repr(event_type), *(f"{name}={value!r}" for name, value in values)])
        number = len(self.cases)
        event = {"message_id": number, "message_ts": AT} | _USERS.get(str(event_type), {}) | changed
        if isinstance(outcome, dict):
            outcome = _USABLE | {"event_type": event_type} | outcome
        self.cases.append(Case(number, label, raw_row(event_type, **where, **event), outcome))
        return self.cases[-1]

    def frame(self, spark: SparkSession) -> DataFrame:
        """Return STG: all cases, and one event that is null as a whole, and so has no number."""
        null_event = (DAY, None, "message", 0.0, 0.0)
        return frame(spark, RAW_EVENTS, [*(case.row for case in self.cases), null_event])

    def judge(self, spark: SparkSession) -> dict[int | None, list]:
        """Return what became of each case by its number: events as dicts, or reasons."""
        stg_events = self.frame(spark).cache()
        outcomes = defaultdict(list)
        usable = usable_events(stg_events, CITIES)
        for row in sorted_rows(usable):
            event = dict(zip(usable.columns, row, strict=True))
            outcomes[event.pop("message_id")].append(event)
        rejected = rejected_events(stg_events).select("event.message_id", "reason")
        for number, reason in sorted_rows(rejected):
            outcomes[number].append(reason)
        stg_events.unpersist()
        return outcomes


def is_case(*cases: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=str)

"""The days of the lake."""

from datetime import UTC, date, datetime, time, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

ONE_DAY = timedelta(days=1)


def days_between(first: date, last: date) -> list[date]:
    """All days from first to last, both included; none where last is before first."""
    return [first + i * ONE_DAY for i in range((last - first).days + 1)]


def window_start(as_of: date, depth: int) -> date:
    """The first of the `depth` days that end with `as_of`; the calendar has none before year 1."""
    return date.fromordinal(max(as_of.toordinal() - depth + 1, 1))


def midnight_after(day: date) -> datetime:
    """24:00 UTC of that day."""
    return datetime.combine(day, time(), UTC) + ONE_DAY


def midnight_before(day: date) -> int:
    """00:00 UTC of that day, unix seconds."""
    return int(datetime.combine(day, time(), UTC).timestamp())


def date_literal(day: date) -> Column:
    """`lit(day)` fails for years before 1000."""
    return F.lit(day.isoformat()).cast("date")

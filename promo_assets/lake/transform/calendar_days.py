"""Days of the lake: ranges, windows and midnights, all in UTC."""

from datetime import UTC, date, datetime, time, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

ONE_DAY = timedelta(days=1)


def days_between(first: date, last: date) -> list[date]:
    """Return all days from first to last, both included; none if last is before first."""
    return [first + i * ONE_DAY for i in range((last - first).days + 1)]


def window_start(as_of: date, depth: int) -> date:
    """Return the first of the `depth` days that end with `as_of`, but no day before year 1."""
    return date.fromordinal(max(as_of.toordinal() - depth + 1, 1))


def midnight_after(day: date) -> datetime:
    """Return 24:00 UTC of the day."""
    return datetime.combine(day, time(), UTC) + ONE_DAY


def midnight_before(day: date) -> int:
    """Return 00:00 UTC of the day in unix seconds."""
    return int(datetime.combine(day, time(), UTC).timestamp())


def date_literal(day: date) -> Column:
    """Return the day as a literal column; Spark's `lit(day)` fails for years before 1000."""
    return F.lit(day.isoformat()).cast("date")

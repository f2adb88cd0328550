"""The days of the lake."""

from datetime import UTC, date, datetime, time, timedelta

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

"""Into which hour, day and billing month a moment falls, and how long each is kept. All in UTC.

A billing month begins at 00:00 on the user's reset day, 1 to 28, so that every month has it; without a reset day it is
the calendar's month.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

LAST_RESET_DAY: Final = 28


class Span(StrEnum):
    """A stretch of time whose bytes are added up."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


_KEPT: Final = {Span.HOUR: timedelta(days=35), Span.DAY: timedelta(days=400), Span.MONTH: timedelta(days=3_653)}
_SHOWN: Final = {Span.HOUR: timedelta(days=1), Span.DAY: timedelta(days=30), Span.MONTH: timedelta(days=366)}


@lru_cache(maxsize=256)  # all users of a report ask for the same few
def start_of(span: Span, moment: datetime, reset_day: int = 0) -> datetime:
    """When the span began that holds ``moment``; ``reset_day`` 0 is none, and matters for months only.

    >>> from datetime import UTC
    >>> start_of(Span.MONTH, datetime(2026, 3, 14, 9, tzinfo=UTC), 15).isoformat()
    '2026-02-15T00:00:00+00:00'
    """
    hour = moment.replace(minute=0, second=0, microsecond=0)
    if span is Span.HOUR:
        return hour
    day = hour.replace(hour=0)
    if span is Span.DAY:
        return day
    first = day.replace(day=reset_day or 1)
    return first if first <= day else _month_before(first)


def _month_before(first: datetime) -> datetime:
    if first.month == 1:
        return first.replace(year=first.year - 1, month=12)
    return first.replace(month=first.month - 1)


def kept_since(span: Span, now: datetime) -> datetime:
    """Spans that began earlier are forgotten: hours after 35 days, days after 400, months after 10 years."""
    return start_of(span, now) - _KEPT[span]


def shown_since(span: Span, now: datetime) -> datetime:
    """How far back one looks who does not say: a day of hours, 30 days, a year of months."""
    return start_of(span, now) - _SHOWN[span]

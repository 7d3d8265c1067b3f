"""Hours, days and billing months in UTC."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_stub.rules.billing_calendar import LAST_RESET_DAY, Span, kept_since, shown_since, start_of

moments = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
reset_days = st.integers(0, LAST_RESET_DAY)


def day(year: int, month: int, number: int) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "reset_day", "begun"),
    [
        (day(2026, 3, 15), 15, day(2026, 3, 15)),
        (day(2026, 3, 15) - timedelta(microseconds=1), 15, day(2026, 2, 15)),
        (day(2026, 1, 3), 28, day(2025, 12, 28)),
        (day(2024, 2, 29), 28, day(2024, 2, 28)),
        (day(2026, 3, 31), 1, day(2026, 3, 1)),
        (day(2026, 3, 31), 0, day(2026, 3, 1)),
    ],
)
def test_a_billing_month_begins_at_midnight_of_its_day(moment: datetime, reset_day: int, begun: datetime) -> None:
    assert start_of(Span.MONTH, moment, reset_day) == begun


def test_hours_and_days() -> None:
    moment = datetime(2026, 3, 1, 12, 34, 56, 789, tzinfo=UTC)
    assert start_of(Span.HOUR, moment, 15) == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert start_of(Span.DAY, moment, 15) == day(2026, 3, 1)


@pytest.mark.parametrize(
    ("span", "kept_days", "shown_days"), [("hour", 35, 1), ("day", 400, 30), ("month", 3_653, 366)]
)
def test_how_long_spans_are_kept_and_shown(span: str, kept_days: int, shown_days: int) -> None:
    now = datetime(2026, 3, 15, 12, 34, tzinfo=UTC)
    begun = start_of(Span(span), now)
    assert kept_since(Span(span), now) == begun - timedelta(days=kept_days)
    assert shown_since(Span(span), now) == begun - timedelta(days=shown_days)


def test_every_month_has_the_last_reset_day() -> None:
    assert LAST_RESET_DAY == 28
    begun = [start_of(Span.MONTH, day(2026, month, 28), LAST_RESET_DAY) for month in range(1, 13)]
    assert begun == [day(2026, month, 28) for month in range(1, 13)]


@given(moments, reset_days, st.sampled_from(Span))
def test_a_span_holds_its_moment_and_begins_in_itself(moment: datetime, reset_day: int, span: Span) -> None:
    begun = start_of(span, moment, reset_day)
    longest = {Span.HOUR: timedelta(hours=1), Span.DAY: timedelta(days=1), Span.MONTH: timedelta(days=31)}[span]
    assert begun <= moment < begun + longest
    assert start_of(span, begun, reset_day) == begun
    if span is Span.MONTH:
        assert (begun.day, begun.hour) == (reset_day or 1, 0)


@given(moments, moments, reset_days, st.sampled_from(Span))
def test_time_goes_one_way(one: datetime, other: datetime, reset_day: int, span: Span) -> None:
    first, second = sorted((one, other))
    assert start_of(span, first, reset_day) <= start_of(span, second, reset_day)


@given(moments)
def test_whole_days_of_hours_are_kept_and_more_of_days_than_of_hours(now: datetime) -> None:
    hours, days, months = (kept_since(span, now) for span in Span)
    assert months < days < hours < now
    assert now - hours >= timedelta(days=35)

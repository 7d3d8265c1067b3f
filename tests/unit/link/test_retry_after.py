"""Retry-After in all its spellings."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.link.retry_after import retry_after_s

NOON = datetime(2026, 8, 14, 12, 0, 0, tzinfo=UTC)
DATE = "Fri, 14 Aug 2026 12:00:00 GMT"
MINUTE_LATER = "Fri, 14 Aug 2026 12:01:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("7", 7), (" 120 ", 120), ("0010", 10), ("9" * 5000, 999999999)],
)
def test_seconds(value: str, seconds: float) -> None:
    assert retry_after_s({"retry-after": value}) == seconds


@pytest.mark.parametrize("value", ["", "-1", "1.5", "1e3", "٣", "soon", "7 s", "inf", "nan", "Fri, 99 Aug 2026"])
def test_what_is_neither_is_none(value: str) -> None:
    assert retry_after_s({"retry-after": value, "date": DATE}) is None


def test_absent_is_none() -> None:
    assert retry_after_s({}, NOON) is None


def test_a_date_is_compared_with_the_answers_own_date_whatever_our_clock_says() -> None:
    headers = {"retry-after": MINUTE_LATER, "date": DATE}
    assert retry_after_s(headers, NOON.replace(year=1999)) == 60


def test_without_a_date_our_clock_stands_in() -> None:
    assert retry_after_s({"retry-after": MINUTE_LATER}, NOON) == 60
    assert retry_after_s({"retry-after": MINUTE_LATER}) is None


@pytest.mark.parametrize("value", [MINUTE_LATER.replace("GMT", "-0000"), MINUTE_LATER.replace("GMT", "+0000")])
def test_other_spellings_of_utc(value: str) -> None:
    assert retry_after_s({"retry-after": value, "date": DATE}) == 60


def test_a_date_in_the_past_is_now() -> None:
    assert retry_after_s({"retry-after": DATE, "date": MINUTE_LATER}) == 0


@given(st.text() | st.text("0123456789 :,+-GMTFriAug", max_size=40), st.text("0123456789 :,+-GMTFriAug", max_size=40))
def test_any_text_is_seconds_or_none(value: str, date: str) -> None:
    seconds = retry_after_s({"retry-after": value, "date": date}, NOON)
    assert seconds is None or 0 <= seconds < float("inf")

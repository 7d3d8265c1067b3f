"""What each argument type takes and how it says no."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_stub.cli.arguments import (
    address,
    byte_count,
    identifier,
    name,
    reset_day,
    seconds,
    time,
    time_or_day,
    unless_never,
    whole,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 30),
        ("30s", 30),
        ("1m30s", 90),
        ("1.5m", 90),
        ("1.s", 1),
        ("1500ms", Fraction(3, 2)),
        ("2h", 7200),
        ("10us", Fraction(1, 100_000)),
        ("10µs", Fraction(1, 100_000)),
        ("1s500ms", Fraction(3, 2)),
    ],
)
def test_durations_are_read_like_go_or_as_seconds(text: str, expected: Fraction) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "s", "-5s", "5 s", "5d", "1e3", "1m 30s", "٣s", "٣", ".s", "1" * 65, "9" * 70 + "s"]
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="write it like 30s"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("65536", 65536), ("500MB", 500_000_000), ("10GiB", 10 * 2**30), ("1.5 kB", 1500)]
)
def test_sizes(text: str, expected: int) -> None:
    assert byte_count(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1XB", "GiB", "1.5", "1e9", "99999999PB", "1" * 65])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        byte_count(text)


def test_whole_numbers_keep_to_their_bounds() -> None:
    parse = whole(1, 10)

    assert [parse("1"), parse("10")] == [1, 10]
    for text in ("0", "11", "-1", "1.0", "", "x", "٣", "1" * 5000):
        with pytest.raises(ArgumentTypeError, match="from 1 to 10"):
            parse(text)


@pytest.mark.parametrize("text", ["", "  ", "a\x1b[m", "a\nb", "\u202ea", "bad\udcff"])
def test_names_that_cannot_be_printed_are_refused_in_printable_words(text: str) -> None:
    with pytest.raises(ArgumentTypeError) as refused:
        name(text)
    assert str(refused.value).isprintable()


def test_an_id_stays_one_part_of_a_path() -> None:
    assert identifier("task_1.a:B-2") == "task_1.a:B-2"
    for text in (".", "..", "", "a/b", "a b", "-a", "a" * 129, "é", "a\n", "a%2fb"):
        with pytest.raises(ArgumentTypeError, match="is not an id"):
            identifier(text)


def test_times_need_an_offset() -> None:
    assert time("2026-01-02T03:04:05+02:00") == "2026-01-02T03:04:05+02:00"
    for text in ("2026-01-02T03:04:05", "2026-01-02", "tomorrow", ""):
        with pytest.raises(ArgumentTypeError, match="2026-01-02T03:04:05Z"):
            time(text)


def test_a_date_is_its_beginning_in_utc() -> None:
    assert time_or_day("2026-01-02") == "2026-01-02T00:00:00Z"
    assert time_or_day("2026-01-02T03:04:05+02:00") == "2026-01-02T03:04:05+02:00"
    for text in ("2026-02-30", "2026-1-2", "2026-01-02 03:04", "today", "٢٠٢٦-01-02"):
        with pytest.raises(ArgumentTypeError, match="is not a time"):
            time_or_day(text)


def test_words_for_nothing() -> None:
    assert [reset_day(text) for text in ("none", "1", "28")] == [0, 1, 28]
    for text in ("0", "29", "None", ""):
        with pytest.raises(ArgumentTypeError, match="is not a number from 1 to 28"):
            reset_day(text)
    assert unless_never(time)("never") == ""
    with pytest.raises(ArgumentTypeError, match="is not a time"):
        unless_never(time)("")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:443", ("::1", 443)), ("localhost:8088", ("localhost", 8088))],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert address(text) == expected


@pytest.mark.parametrize(
    "text", ["", ":80", "host", "host:", "host:x", "host:65536", "::1:80", "[::1]", "[host]:80", "h:-1"]
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="not an address"):
        address(text)


@given(st.text() | st.text("0123456789.smhuµBKMGi :[]TZ-"))
def test_every_type_takes_or_refuses_any_text_in_its_own_way(text: str) -> None:
    for parse in (seconds, byte_count, whole(0, 5), name, identifier, time, time_or_day, reset_day, address):
        assert _refusal(parse, text).isprintable()


def _refusal(parse: Callable[[str], object], text: str) -> str:
    try:
        parse(text)
    except ArgumentTypeError as refused:
        return str(refused)
    return ""

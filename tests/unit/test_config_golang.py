"""Go's spellings: what strconv and time accept and refuse."""

import doctest
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.config import golang


def test_examples_of_the_docstrings() -> None:
    assert doctest.testmod(golang).failed == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0), ("+0", 0.0), ("-0", 0.0), ("10s", 10.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("300ms", 0.3),
        ("-2s", -2.0), (".5s", 0.5), ("1.s", 1.0), ("7us", 7e-6), ("7\u00b5s", 7e-6), ("7\u03bcs", 7e-6), ("3ns", 3e-9),
        ("1h1m1s1ms", 3661.001), ("9223372036854775807ns", 9223372036.854775807),
        ("-9223372036854775808ns", -9223372036.854775808),
    ],
)  # fmt: skip
def test_durations_that_go_accepts(text: str, value: float) -> None:
    assert golang.parse_duration(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "", "10", "s", ".s", "-", "+", "-.s", "1x", "10 s", " 10s", "10s ", "1m 30s", "1,5s", "1e3s", "inf", "nan",
        "--1s", "1m-30s", "1d", "1S", "0x1s", "\u0661s", "1.5.5s", "9223372036854775808ns", "3000000h",
        "1" * 2000 + "s", "00", "0.0",
    ],
)  # fmt: skip
def test_durations_that_go_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=golang.PARSE_ERROR):
        golang.parse_duration(text)


@given(st.integers(min_value=0, max_value=10**15), st.sampled_from(sorted(golang._UNITS_NS)))
def test_a_number_with_a_unit_is_that_many_units(count: int, unit: str) -> None:
    nanoseconds = count * golang._UNITS_NS[unit]
    if nanoseconds < 2**63:
        assert golang.parse_duration(f"{count}{unit}") == nanoseconds / 10**9
    else:
        with pytest.raises(ValueError, match="parse error"):
            golang.parse_duration(f"{count}{unit}")


@given(st.text(alphabet="0123456789.+-hmsuµn \u03bc", max_size=12) | st.text())
def test_any_text_is_a_finite_duration_or_refused(text: str) -> None:
    try:
        seconds = golang.parse_duration(text)
    except ValueError:
        return
    assert math.isfinite(seconds)
    assert re.fullmatch(r"[+-]?(0|([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h).*)", text)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_shown_duration_reads_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert golang.parse_duration(golang.format_seconds(seconds)) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("7", 7), ("+7", 7), ("-7", -7), ("010", 8), ("0o10", 8), ("0x1F", 31), ("0b101", 5), ("1_000", 1000),
        ("0x_1", 1), ("0_7", 7), ("00", 0), ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63)),
    ],
)  # fmt: skip
def test_integers_that_go_accepts(text: str, value: int) -> None:
    assert golang.parse_int(text) == value


@pytest.mark.parametrize(
    "text", ["", "-", "x", "1.0", "1e3", " 1", "1 ", "08", "1__0", "_1", "1_", "0x", "--1", "\u0661", "٣"]
)
def test_integers_that_go_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        golang.parse_int(text)


@pytest.mark.parametrize("text", ["9223372036854775808", "-9223372036854775809", "1" * 5000])
def test_integers_beyond_64_bits_are_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match="value out of range"):
        golang.parse_int(text)


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_every_64_bit_number_reads_back_in_each_base(number: int) -> None:
    for written in (str(number), f"{number:#x}", f"{number:#b}", f"{number:#o}"):
        assert golang.parse_int(written) == number


@pytest.mark.parametrize("word", ["1", "t", "T", "TRUE", "true", "True"])
def test_words_for_true(word: str) -> None:
    assert golang.parse_bool(word) is True


@pytest.mark.parametrize("word", ["0", "f", "F", "FALSE", "false", "False"])
def test_words_for_false(word: str) -> None:
    assert golang.parse_bool(word) is False


@pytest.mark.parametrize("word", ["", "yes", "on", "tRUE", "2", " 1", "truE"])
def test_no_other_word_is_a_boolean(word: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        golang.parse_bool(word)


@given(st.text(alphabet=st.characters(codec=None)))  # any code point, surrogates too
def test_a_quoted_text_is_one_printable_line(text: Any) -> None:
    assert golang.quote(text).isprintable()


def test_quoted_as_go_does() -> None:
    assert golang.quote('a"\\\n\t\x00\udcff\u200b') == r'"a\"\\\n\t\x00\xff\u200b"'

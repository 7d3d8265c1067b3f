import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.lexical import COUNTER_LIMIT, clean_text, parse_count, parse_decimal


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1_0", "1.0", "1e3", " 1", "\uff11", str(COUNTER_LIMIT + 1), "9" * 5000]
)
def test_parse_count_refuses_what_is_no_plain_number_in_range(text: str) -> None:
    assert parse_count(text) is None


def test_parse_count_takes_both_ends_of_its_range() -> None:
    assert parse_count("0") == 0
    assert parse_count(str(COUNTER_LIMIT)) == COUNTER_LIMIT
    assert parse_count("11", limit=10) is None


@pytest.mark.parametrize("text", ["nan", "inf", "-1.5", "1.", ".5", "1e9", "0x1p3", "9" * 400])
def test_parse_decimal_refuses_what_is_no_plain_fraction(text: str) -> None:
    assert parse_decimal(text) is None


def test_parse_decimal_reads_a_fraction() -> None:
    assert parse_decimal("86400.51") == 86400.51


def test_clean_text_drops_control_characters_and_cuts_between_characters() -> None:
    assert clean_text(" a\x00b\x1b[0m\n", 96) == "ab[0m"
    assert clean_text("é" * 10, 5) == "éé"


@given(st.text(st.characters()), st.integers(0, 200))
def test_clean_text_always_fits_and_can_be_encoded(text: str, limit: int) -> None:
    assert len(clean_text(text, limit).encode()) <= limit

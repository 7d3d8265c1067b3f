"""Comma-separated values that other programs read back, and no spreadsheet computes."""

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_stub.cli.export import comma_separated
from tests.unit.server_stub_cli.rig import HOSTILE, assert_harmless


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "=", "-2+3|cmd"])
def test_text_that_begins_like_a_formula_is_marked_as_text(text: str) -> None:
    assert comma_separated(["a"], [[text]]) == f"a\n'{text}\n"


@pytest.mark.parametrize("text", ["\t=1+1", "\r=1+1", "\n=1+1", "\u200b=1+1"])
def test_what_hides_a_formula_is_shown(text: str) -> None:
    cell = comma_separated(["a"], [[text]]).splitlines()[1]
    assert cell.startswith("\\")


def test_numbers_and_times_are_plain() -> None:
    row = [-(2**63), 0, datetime(2026, 1, 2, tzinfo=UTC), None]
    assert comma_separated("abcd", [row]) == "a,b,c,d\n-9223372036854775808,0,2026-01-02T00:00:00Z,\n"


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
def test_every_row_is_one_line_and_reads_back(rows: list[list[str]]) -> None:
    written = comma_separated(["a", "b"], [*rows, [HOSTILE, HOSTILE]])

    assert_harmless(written)
    read = list(csv.reader(io.StringIO(written)))
    assert [len(row) for row in read] == [2] * (len(rows) + 2)
    assert written.count("\n") == len(rows) + 2
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in read for cell in row)

"""Foreign text is harmless, rows are aligned, values are readable."""

import doctest
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_stub.cli import arguments, errors, export, text
from server_stub.cli.text import Column, duration, fields, moment, size, table, visible, visible_lines, without_tokens
from tests.unit.server_stub_cli.rig import HOSTILE, NODE_TOKEN, TOKEN, assert_harmless

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.text(st.sampled_from(HOSTILE + "ab \t漢\u0301\ud800"))


@given(ANY_TEXT)
def test_visible_text_can_always_be_printed_and_keeps_what_could(given_text: str) -> None:
    shown = visible(given_text)

    assert shown.isprintable()
    assert [c for c in given_text if c.isprintable() and c != "\\"] == [
        c for c in _unescaped(given_text, shown) if c != "\\"
    ]


def _unescaped(given_text: str, shown: str) -> str:
    """``shown`` without the escapes of the characters of ``given_text`` that cannot be printed, in their order."""
    for char in given_text:
        if not char.isprintable():
            shown = shown.replace(char.encode("unicode_escape").decode(), "", 1)
    return shown


@given(ANY_TEXT)
def test_script_output_keeps_its_lines_and_nothing_else_that_acts(given_text: str) -> None:
    shown = visible_lines(given_text)

    assert_harmless(shown)
    assert shown.count("\n") == given_text.count("\n") + (bool(given_text) and not given_text.endswith("\n"))
    assert shown == "" or shown.endswith("\n")


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=4))
def test_a_table_has_one_printable_line_for_each_row(rows: list[tuple[str, str]]) -> None:
    lines = table((Column("A"), Column("B", right=True)), rows)

    assert len(lines) == len(rows) + 1
    assert all(line.isprintable() for line in lines)
    assert all(len(line) < 300 for line in lines)


def test_columns_stand_under_each_other_whatever_the_script() -> None:
    lines = table((Column("NAME"), Column("N", right=True)), [("plain", "1"), ("漢字", "22"), ("e\u0301", "333")])

    assert lines == ["NAME     N", "plain    1", "漢字    22", "e\u0301      333"]


def test_a_long_cell_is_cut_and_an_empty_one_marked() -> None:
    lines = table((Column("A"), Column("B")), [("x" * 1000, ""), ("漢" * 1000, "b")])

    assert lines[1] == "x" * 63 + "…  -"
    assert lines[2] == "漢" * 31 + "…" + "   b"


def test_fields_align_their_values() -> None:
    assert fields([("a", "1"), ("long name", ""), ("x\x1b", "y\n")]) == [
        "a          1",
        "long name  -",
        "x\\x1b      y\\n",
    ]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (-5, "-5 B"), (1024, "1.0 KiB"), (2**63 - 1, "8.0 EiB"), (2**90, "1073741824.0 EiB")],
)
def test_sizes(count: int, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (-90, "-1 min 30 s"), (9.999, "10.00 s"), (3600, "1 h"), (86_461, "1 d"), (90_061, "1 d 1 h")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_moments_are_in_utc_and_never_fail() -> None:
    assert moment(None) == "-"
    assert moment(datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-02 03:04:05Z"
    assert moment(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14)))) == "9999-12-31T23:00:00-14:00"
    assert moment(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02 00:00:00Z"


def test_tokens_are_blotted_out() -> None:
    shown = without_tokens(f"--token {TOKEN} and {NODE_TOKEN}, not {'c' * 44}")

    assert TOKEN not in shown
    assert NODE_TOKEN not in shown
    assert shown == f"--token lop_*** and ***, not {'c' * 44}"


@pytest.mark.parametrize("module", [text, arguments, errors, export])
def test_the_examples_in_docstrings_are_true(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]  # a module, which mypy sees as an object

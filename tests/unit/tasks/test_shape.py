"""Results that the server can always store (traps 6, 7, 9; weak point 4)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattice_agent.tasks.shape import (
    RawResult,
    cut,
    decode_stream,
    effective_output_limit,
    shape,
    shrink,
    without_output,
)
from lattice_agent.wire.base import BODY_LIMIT, encode
from lattice_agent.wire.results import ResultReport, TaskResult
from tests.golden_files import exchange

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def raw(stdout: bytes = b"", stderr: bytes = b"", error: str = "", exit_code: int = 0, dropped: int = 0) -> RawResult:
    return RawResult(exit_code, stdout, stderr, dropped, 0, error, MOMENT, MOMENT)


def shaped(result: RawResult, limit: int) -> TaskResult:
    return shape("task_1", "node-1", result, limit)


def acceptable(result: TaskResult, limit: int) -> bool:
    """The server's own test (protocol reference 2.4)."""
    body = encode(ResultReport(node_id="node-1", result=result.model_copy(update={"lease_id": "lease_" + "x" * 32})))
    return len(body) <= BODY_LIMIT and all(
        len(text.encode()) <= limit for text in (result.stdout, result.stderr, result.error)
    )


def test_trap_07_invalid_bytes_count_three() -> None:
    result = shaped(raw(b"\xff" * 100), 100)
    assert result.stdout == "\ufffd" * 33
    assert result.error == "stdout exceeded task output limit; output truncated"


def test_trap_07_the_cut_is_on_a_character_boundary() -> None:
    assert shaped(raw("é".encode() * 60), 101).stdout == "é" * 50
    recorded = exchange("task-result-truncated-mid-char").body["result"]["stdout"]
    assert len(recorded.encode()) == 102  # what the Go agent sent under a limit of 100, and the server refused


def test_weak_point_04_the_truncation_text_itself_fits_a_tiny_limit() -> None:
    result = shaped(raw(b"x" * 100), 16)
    assert result.error == "stdout exceeded "
    assert acceptable(result, 16)


@pytest.mark.parametrize("filler", [b"\x01", b"<", b"\xff", b"\\", b'"', "\U0001f600".encode(), b"\x1b"])
def test_weak_point_04_no_output_makes_a_poison_result(filler: bytes) -> None:
    full = filler * (262_144 // len(filler))
    result = shaped(raw(full, full, "exit status 1", 1), 262_144)
    assert acceptable(result, 262_144)
    assert len(result.stdout) > 50_000


def test_a_short_stream_leaves_its_share_to_the_other() -> None:
    result = shaped(raw(b"\x01" * 262_144, b"short"), 262_144)
    assert result.stderr == "short"
    assert len(result.stdout) > 170_000
    assert result.error == "stdout exceeded task output limit; output truncated"


def test_trap_09_success_has_no_error_text() -> None:
    assert shaped(raw(b"fine"), 100).error == ""


def test_texts_of_both_cuts_follow_the_error() -> None:
    result = shaped(raw(b"x" * 101, b"y" * 101, "exit status 3", 3), 100)
    expected = exchange("task-result-exit3-truncated").body["result"]["error"]
    assert result.error == "exit status 3; stdout and stderr exceeded task output limit; output truncated"[:100]
    assert shaped(raw(b"x" * 101, b"", "exit status 3", 3), 100).error == expected


def test_dropped_bytes_are_a_cut_even_if_the_rest_fits() -> None:
    assert "truncated" in shaped(raw(b"x" * 100, dropped=1), 100).error


@pytest.mark.parametrize(
    ("asked", "effective"), [(0, 65_536), (-1, 65_536), (1, 1), (262_144, 262_144), (262_145, 262_144)]
)
def test_effective_limit(asked: int, effective: int) -> None:
    assert effective_output_limit(asked) == effective


def test_trap_06_a_400_is_answered_with_less_and_less() -> None:
    result = shaped(raw(b"x" * 80, b"y" * 20, "exit status 1", 1), 100)
    half = shrink(result, 0, 100)
    assert half is not None
    assert (len(half.stdout), len(half.stderr)) == (40, 10)
    empty = shrink(half, 1, 100)
    assert empty is not None
    assert (empty.stdout, empty.stderr, empty.exit_code) == ("", "", 1)
    assert shrink(empty, 2, 100) is None


def test_reason_is_cut_to_the_limit_too() -> None:
    assert without_output("t", "n", "x" * 50, 16, MOMENT).error == "x" * 16


@given(st.binary(max_size=400), st.integers(1, 300))
def test_property_decoded_stream_fits(data: bytes, limit: int) -> None:
    text, was_cut = decode_stream(data, limit)
    assert len(text.encode()) <= limit
    assert was_cut == (len(data.decode("utf-8", "replace").encode()) > limit)
    assert data.decode("utf-8", "replace").startswith(text)


@given(st.text(max_size=200), st.integers(0, 300))
def test_property_cut_is_the_longest_prefix(text: str, limit: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    kept, was_cut = cut(text, limit)
    assert len(kept.encode()) <= limit
    if was_cut:
        assert len(text[: len(kept) + 1].encode()) > limit


@settings(max_examples=30)
@given(
    st.binary(max_size=2000).map(lambda b: b * 150),
    st.binary(max_size=2000).map(lambda b: b * 150),
    st.text(max_size=80),
    st.integers(1, 262_144),
)
def test_property_whatever_was_printed_is_acceptable(out: bytes, err: bytes, error: str, limit: int) -> None:
    error = error.encode("utf-8", "replace").decode()
    assert acceptable(shaped(raw(out[:262_147], err[:262_147], error), limit), limit)

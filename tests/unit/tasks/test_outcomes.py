"""What the wire and the audit are told of an outcome."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.exec.outcome import Clock, Kind, Outcome, StreamCapture, Sweeping
from lattice_agent.exec.plan import Level, Refusal, RefusalKind
from lattice_agent.tasks.outcomes import (
    REASON_BYTES,
    EndedBy,
    audit_fields,
    detail_without_run,
    raw_result,
    refusal_detail,
    run_detail,
    run_outcome,
)
from lattice_agent.tasks.shape import CANCELLED, INTERRUPTED, RESULT_BOUND, RawResult, encoded_size, shape, shrink
from lattice_agent.wire.base import decode, encode
from lattice_agent.wire.results import RunDetail, RunOutcome, TaskResult

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def an(kind: Kind, **fields: object) -> Outcome:
    return Outcome(kind, Level.STRICT, **fields)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("outcome", "ended_by", "word"),
    [
        (an(Kind.EXITED, exit_code=0), None, "succeeded"),
        (an(Kind.EXITED, exit_code=3), None, "failed"),
        (an(Kind.OUTPUT_LIMIT, exit_code=0), None, "output_limit"),
        (an(Kind.OUTPUT_LIMIT, exit_code=3), None, "failed"),
        (an(Kind.SIGNALLED, signal=9), None, "failed"),
        (an(Kind.SIGNALLED, signal=24, clock=Clock.CPU), None, "timed_out"),
        (an(Kind.TIMED_OUT, clock=Clock.WALL), None, "timed_out"),
        (an(Kind.CANCELLED), EndedBy.CONTROL_PLANE, "cancelled"),
        (an(Kind.CANCELLED), EndedBy.AGENT, "interrupted"),
        (an(Kind.CANCELLED), None, "interrupted"),
        (an(Kind.REFUSED), None, "refused"),
        (an(Kind.FAILED_TO_START), None, "not_started"),
        (an(Kind.MEMORY_LIMIT), None, "memory_limit"),
        (an(Kind.INTERRUPTED), None, "interrupted"),
    ],
)
def test_the_word_for_each_kind(outcome: Outcome, ended_by: EndedBy | None, word: str) -> None:
    assert run_detail(outcome, 0, ended_by).outcome == word


def test_every_kind_has_a_word_and_every_word_a_kind() -> None:
    words = {run_outcome(an(kind, exit_code=code), by) for kind in Kind for code in (0, 1) for by in EndedBy}
    assert words == set(RunOutcome)


def test_a_run_in_full() -> None:
    outcome = an(
        Kind.CANCELLED,
        signal=9,
        wall_s=2.1239,
        cpu_s=0.5,
        grace_s=2.0,
        grace_expired=True,
        max_rss_bytes=4096,
        stdout=StreamCapture(b"kept", b"", 10),
        stderr=StreamCapture(b"", b"", 0),
        sweeping=Sweeping(killed=3, lingering=1, uncertain=True),
    )
    assert run_detail(outcome, 1.5, EndedBy.CONTROL_PLANE) == RunDetail(
        outcome="cancelled",
        reason=CANCELLED,
        level="strict",
        signal=9,
        clock="grace",
        grace_expired=True,
        queued_ms=1500,
        wall_ms=2123,
        cpu_ms=500,
        grace_ms=2000,
        max_rss_bytes=4096,
        stdout_bytes=10,
        killed=3,
        lingering=1,
        uncertain=True,
    )


@pytest.mark.parametrize(
    ("outcome", "clock"),
    [
        (an(Kind.EXITED, exit_code=0), ""),
        (an(Kind.TIMED_OUT, clock=Clock.WALL, grace_expired=True), "wall"),
        (an(Kind.SIGNALLED, signal=24, clock=Clock.CPU), "cpu"),
        (an(Kind.CANCELLED, grace_expired=True), "grace"),
        (an(Kind.CANCELLED), ""),
    ],
)
def test_the_clock_that_ended_it(outcome: Outcome, clock: str) -> None:
    assert run_detail(outcome, 0, EndedBy.CONTROL_PLANE).clock == clock


def test_a_clock_that_runs_backwards_is_no_time() -> None:
    assert run_detail(an(Kind.EXITED, exit_code=0), -1.0).queued_ms == 0


@pytest.mark.parametrize(("ended_by", "error"), [(EndedBy.CONTROL_PLANE, CANCELLED), (EndedBy.AGENT, INTERRUPTED)])
def test_who_ended_it_is_in_the_base_wires_words_too(ended_by: EndedBy, error: str) -> None:
    assert raw_result(an(Kind.CANCELLED), MOMENT, MOMENT, ended_by=ended_by).error == error


@pytest.mark.parametrize("kind", RefusalKind)
def test_a_refusal_names_its_gate(kind: RefusalKind) -> None:
    assert refusal_detail(Refusal(kind, "why")) == RunDetail(outcome="refused", rule=kind.value, reason="why")


@given(st.text(max_size=1000))
def test_property_reasons_are_bounded_and_valid(reason: str) -> None:
    for detail in (
        refusal_detail(Refusal(RefusalKind.SCRIPT, reason)),
        detail_without_run(RunOutcome.INTERRUPTED, reason),
        run_detail(an(Kind.FAILED_TO_START, message=reason), 0),
    ):
        assert len(detail.reason.encode()) <= REASON_BYTES
        assert decode(RunDetail, encode(detail)) == detail


def the_raw(stdout: bytes, detail: RunDetail) -> RawResult:
    return RawResult(0, stdout, b"", 0, 0, "", MOMENT, MOMENT, detail)


def test_a_success_that_is_cut_on_its_way_is_told_as_such() -> None:
    """The sandbox kept all of it; three bytes for each invalid one are too many for the wire."""
    result = shape("task_1", "node-1", the_raw(b"\xff" * 100, RunDetail(outcome="succeeded")), 100)
    assert result.detail == RunDetail(outcome="output_limit")
    whole = shape("task_1", "node-1", the_raw(b"x" * 100, RunDetail(outcome="succeeded")), 100)
    assert whole.detail == RunDetail(outcome="succeeded")
    smaller = shrink(whole, 0, 100)
    assert smaller is not None
    assert smaller.detail == RunDetail(outcome="output_limit")


@given(st.binary(max_size=300_000), st.text(max_size=600))
def test_property_a_result_with_details_fits(stdout: bytes, reason: str) -> None:
    detail = detail_without_run(RunOutcome.FAILED, reason)
    result: TaskResult | None = shape("task_1", "node-1", the_raw(stdout * 4, detail), 262_144)
    for times in range(3):
        assert result is not None
        assert encoded_size(result) <= RESULT_BOUND
        assert result.detail == detail
        result = shrink(result, times, 262_144) if times < 2 else result


def test_the_audit_says_who_cancelled_and_what_the_grace_came_to() -> None:
    outcome = replace(an(Kind.CANCELLED), grace_s=1.25, grace_expired=True)
    fields = audit_fields(outcome, EndedBy.CONTROL_PLANE)
    assert (fields["cancelled_by"], fields["grace_ms"], fields["grace_expired"]) == ("control plane", 1250, True)
    assert audit_fields(outcome)["cancelled_by"] == "agent"
    assert audit_fields(an(Kind.EXITED, exit_code=0), EndedBy.CONTROL_PLANE)["cancelled_by"] is None

"""From what the sandbox says to what the wire and the audit say. Pure."""

from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from lattice_agent.exec.outcome import Clock, Kind, Outcome, StreamCapture, error_text, exit_code
from lattice_agent.exec.plan import Refusal
from lattice_agent.tasks.shape import CANCELLED, INTERRUPTED, RawResult, cut
from lattice_agent.wire.results import RunClock, RunDetail, RunOutcome

REASON_BYTES: Final = 512
"""Of ``RunDetail.reason``; more is cut. The same words, whole, are the result's ``error``."""


class EndedBy(StrEnum):
    """Who ended a run that did not end by itself, in the words of the audit."""

    CONTROL_PLANE = "control plane"
    AGENT = "agent"
    """It ended itself, and its runs with it."""


def raw_result(
    outcome: Outcome,
    started_at: datetime,
    finished_at: datetime,
    *,
    queued_s: float = 0.0,
    ended_by: EndedBy | None = None,
) -> RawResult:
    """The result before it is given the server's form; ``shape`` adds the truncation texts, since it cuts too."""
    return RawResult(
        exit_code=exit_code(outcome),
        stdout=outcome.stdout.kept + outcome.stdout.beyond,
        stderr=outcome.stderr.kept + outcome.stderr.beyond,
        stdout_dropped=outcome.stdout.dropped,
        stderr_dropped=outcome.stderr.dropped,
        error=_error(outcome, ended_by),
        started_at=started_at,
        finished_at=finished_at,
        detail=run_detail(outcome, queued_s, ended_by),
    )


def _error(outcome: Outcome, ended_by: EndedBy | None) -> str:
    if outcome.kind is Kind.CANCELLED:
        return CANCELLED if ended_by is EndedBy.CONTROL_PLANE else INTERRUPTED
    return error_text(replace(outcome, stdout=StreamCapture(), stderr=StreamCapture()))


def run_detail(outcome: Outcome, queued_s: float, ended_by: EndedBy | None = None) -> RunDetail:
    """``detail`` of a run's result. ``queued_s``: seconds from its lease to its start.

    ``ended_by`` counts for a run that was cancelled: one that nobody but the agent ended is an interrupted one.
    """
    told = run_outcome(outcome, ended_by)
    return RunDetail(
        outcome=told.value,
        reason=_bounded(_reason(outcome, ended_by)),
        level=outcome.level.value,
        signal=outcome.signal or 0,
        clock=_clock(outcome, told),
        grace_expired=outcome.grace_expired,
        queued_ms=_ms(queued_s),
        wall_ms=_ms(outcome.wall_s),
        cpu_ms=_ms(outcome.cpu_s),
        grace_ms=_ms(outcome.grace_s),
        max_rss_bytes=outcome.max_rss_bytes,
        stdout_bytes=outcome.stdout.produced,
        stderr_bytes=outcome.stderr.produced,
        killed=outcome.sweeping.killed,
        lingering=outcome.sweeping.lingering,
        uncertain=outcome.sweeping.uncertain,
    )


def run_outcome(outcome: Outcome, ended_by: EndedBy | None = None) -> RunOutcome:
    """The word for a kind."""
    match outcome.kind:
        case Kind.EXITED:
            return RunOutcome.FAILED if outcome.exit_code else RunOutcome.SUCCEEDED
        case Kind.OUTPUT_LIMIT:
            return RunOutcome.FAILED if outcome.exit_code else RunOutcome.OUTPUT_LIMIT
        case Kind.SIGNALLED:
            return RunOutcome.TIMED_OUT if outcome.clock is Clock.CPU else RunOutcome.FAILED
        case Kind.TIMED_OUT:
            return RunOutcome.TIMED_OUT
        case Kind.CANCELLED:
            return RunOutcome.CANCELLED if ended_by is EndedBy.CONTROL_PLANE else RunOutcome.INTERRUPTED
        case Kind.REFUSED:
            return RunOutcome.REFUSED
        case Kind.FAILED_TO_START:
            return RunOutcome.NOT_STARTED
        case Kind.MEMORY_LIMIT:
            return RunOutcome.MEMORY_LIMIT
        case Kind.INTERRUPTED:
            return RunOutcome.INTERRUPTED
        case _:
            assert_never(outcome.kind)


def refusal_detail(refusal: Refusal) -> RunDetail:
    """``detail`` of a task that local policy did not let run."""
    return RunDetail(outcome=RunOutcome.REFUSED.value, rule=refusal.kind.value, reason=_bounded(refusal.reason))


def detail_without_run(outcome: RunOutcome, reason: str) -> RunDetail:
    """``detail`` of a task of which nothing was measured: it did not start, or who measured it is gone."""
    return RunDetail(outcome=outcome.value, reason=_bounded(reason))


def audit_fields(outcome: Outcome, ended_by: EndedBy | None = None) -> dict[str, str | int | bool | None]:
    """What is recorded of a run: how it ended and what was done, never what it printed."""
    cancelled = outcome.kind is Kind.CANCELLED
    return {
        "kind": outcome.kind.value,
        "level": outcome.level.value,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "clock": outcome.clock.value if outcome.clock else None,
        "cancelled_by": (ended_by or EndedBy.AGENT).value if cancelled else None,
        "wall_ms": _ms(outcome.wall_s),
        "cpu_ms": _ms(outcome.cpu_s),
        "grace_ms": _ms(outcome.grace_s),
        "grace_expired": outcome.grace_expired,
        "max_rss_bytes": outcome.max_rss_bytes,
        "stdout_bytes": outcome.stdout.produced,
        "stderr_bytes": outcome.stderr.produced,
        "killed": outcome.sweeping.killed,
        "lingering": outcome.sweeping.lingering,
        "uncertain": outcome.sweeping.uncertain,
    }


def _reason(outcome: Outcome, ended_by: EndedBy | None) -> str:
    match outcome.kind:
        case Kind.CANCELLED:
            return _error(outcome, ended_by)
        case Kind.REFUSED | Kind.FAILED_TO_START | Kind.MEMORY_LIMIT | Kind.INTERRUPTED:
            return outcome.message
        case _:
            return ""


def _clock(outcome: Outcome, told: RunOutcome) -> str:
    if told is RunOutcome.CANCELLED and outcome.grace_expired:
        return RunClock.GRACE.value
    return RunClock(outcome.clock.value).value if outcome.clock else ""


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))


def _bounded(reason: str) -> str:
    text, _ = cut(reason, REASON_BYTES)
    return text

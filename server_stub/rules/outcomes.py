"""What has become of a target, in a word and a sentence.

The word is stored when a target ends, and so is the sentence: lists need not look at results. How a result is read is
in ``run_endings`` (agents that send details) and ``base_endings`` (the others).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from server_stub.rules.facts import clean_text
from server_stub.rules.states import Target, TargetState

TEXT_BYTES: Final = 512
"""Of a sentence: most of it may be the node's own words. What is longer is cut."""


class TargetOutcome(StrEnum):
    """A closed set. The first three are of targets that have not ended."""

    QUEUED = "queued"
    LEASED = "leased"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    OUTPUT_LIMIT = "output_limit"
    MEMORY_LIMIT = "memory_limit"
    REFUSED = "refused"
    NOT_STARTED = "not_started"
    INTERRUPTED = "interrupted"
    LOST = "lost"


OPEN_OUTCOMES: Final = frozenset({TargetOutcome.QUEUED, TargetOutcome.LEASED, TargetOutcome.RUNNING})
NO_FAILURES: Final = OPEN_OUTCOMES | {TargetOutcome.SUCCEEDED, TargetOutcome.CANCELLED, TargetOutcome.OUTPUT_LIMIT}
"""What ``max_failures`` does not count: of a script that printed too much it is known that it exited with 0."""


@dataclass(frozen=True)
class Ending:
    """A word and a sentence of at most TEXT_BYTES without control characters."""

    outcome: TargetOutcome
    text: str


def ending(outcome: TargetOutcome, text: str) -> Ending:
    """Whatever the text has in it."""
    return Ending(outcome, clean_text(text, TEXT_BYTES))


def word_of(state: TargetState, stored: str, failed: bool, running: bool) -> TargetOutcome:
    """The outcome of a target from what is stored of it. Targets that ended before outcomes were kept have no word."""
    match state:
        case TargetState.QUEUED:
            return TargetOutcome.QUEUED
        case TargetState.LEASED:
            return TargetOutcome.RUNNING if running else TargetOutcome.LEASED
        case _ if stored in set(TargetOutcome):
            return TargetOutcome(stored)
        case TargetState.LOST:
            return TargetOutcome.LOST
        case TargetState.CANCELLED:
            return TargetOutcome.CANCELLED
        case TargetState.EXPIRED:
            return TargetOutcome.TIMED_OUT
        case TargetState.REPORTED:
            return TargetOutcome.FAILED if failed else TargetOutcome.SUCCEEDED


def outcome_of_target(target: Target) -> TargetOutcome:
    return word_of(target.state, target.outcome, target.failed, target.running_since is not None)


def describe(target: Target) -> Ending:
    """What is to be said of the target now."""
    outcome = outcome_of_target(target)
    if target.state not in (TargetState.QUEUED, TargetState.LEASED):
        return ending(outcome, target.reason or str(outcome).replace("_", " "))
    if target.cancel_requested_at is None:
        return Ending(outcome, str(outcome))
    return ending(outcome, f"{outcome}; cancel requested by {target.cancel_requested_by}")


def counts_as_failure(target: Target) -> bool:
    """Whether ``max_failures`` counts it."""
    return outcome_of_target(target) not in NO_FAILURES


def lost(target: Target) -> Ending:
    """Nothing more is expected of its last lease."""
    if target.cancel_requested_at is not None:
        why = f"cancel requested by {target.cancel_requested_by}, but the node never confirmed"
    else:
        why = f"no result after {target.attempts} lease{'' if target.attempts == 1 else 's'}"
    known = "it ran, whether it completed is unknown" if target.running_since else "unknown whether it ran"
    return ending(TargetOutcome.LOST, f"lost: {why}; {known}")


def expired(queue_timeout_sec: int) -> Ending:
    """The queued clock fired before a node took it."""
    text = f"timed out: queued clock, {queue_timeout_sec} s; it was never handed out"
    return ending(TargetOutcome.TIMED_OUT, text)


def cancelled_by(actor: str) -> Ending:
    """It was taken back before a node was handed it."""
    return ending(TargetOutcome.CANCELLED, f"cancelled by {actor} before it was handed out")


def stopped(max_failures: int) -> Ending:
    """Others of the task have failed too often."""
    return ending(TargetOutcome.CANCELLED, f"stopped after {max_failures} failure{'' if max_failures == 1 else 's'}")


def queue_deadline(created_at: datetime, queue_timeout_sec: int) -> datetime | None:
    """When the queued clock fires; ``None`` is never."""
    return created_at + timedelta(seconds=queue_timeout_sec) if queue_timeout_sec > 0 else None

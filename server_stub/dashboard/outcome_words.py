"""The outcomes of targets in words, each with the kind of state that it is shown as (``state`` in parts.html)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from server_stub.rules.outcomes import Ending, TargetOutcome

KINDS: Final = {
    TargetOutcome.QUEUED: "idle",
    TargetOutcome.LEASED: "busy",
    TargetOutcome.RUNNING: "busy",
    TargetOutcome.SUCCEEDED: "good",
    TargetOutcome.FAILED: "bad",
    TargetOutcome.TIMED_OUT: "bad",
    TargetOutcome.CANCELLED: "warn",
    TargetOutcome.OUTPUT_LIMIT: "warn",
    TargetOutcome.MEMORY_LIMIT: "bad",
    TargetOutcome.REFUSED: "warn",
    TargetOutcome.NOT_STARTED: "bad",
    TargetOutcome.INTERRUPTED: "warn",
    TargetOutcome.LOST: "bad",
}


@dataclass(frozen=True)
class Count:
    """So many targets of a task have this outcome."""

    outcome: TargetOutcome
    amount: int

    @property
    def kind(self) -> str:
        return KINDS[self.outcome]

    @property
    def word(self) -> str:
        return word(self.outcome)


def word(outcome: TargetOutcome) -> str:
    """``timed out``"""
    return outcome.replace("_", " ")


def note(ending: Ending) -> str:
    """The sentence without the word that it begins with, which is shown beside it.

    >>> note(Ending(TargetOutcome.TIMED_OUT, "timed out: wall clock, 30 s"))
    'wall clock, 30 s'
    >>> note(Ending(TargetOutcome.SUCCEEDED, "succeeded"))
    ''
    """
    return ending.text.removeprefix(word(ending.outcome)).lstrip(":; ")


def counted(outcomes: Mapping[str, int]) -> list[Count]:
    """In the order of a target's life; endings in the order of ``TargetOutcome``."""
    return [Count(outcome, outcomes[outcome]) for outcome in TargetOutcome if outcomes.get(outcome)]

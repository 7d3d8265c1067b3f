"""Tasks and their targets as rows of a table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from server_stub.dashboard.outcome_words import KINDS, Count, counted, note, word
from server_stub.rules.outcomes import OPEN_OUTCOMES, describe
from server_stub.rules.states import OPEN_STATES, OPEN_STATUSES, Target
from server_stub.store.records import Task

_HEADLINE_CHARACTERS: Final = 72
_HEAD: Final = 4_096
"""Characters of a script in which its headline is looked for: a page has a hundred scripts, each of up to 64 KiB."""


@dataclass(frozen=True)
class TargetRow:
    """One node of a task. ``note`` says what the word does not."""

    target: Target
    word: str
    kind: str
    note: str

    @property
    def node_id(self) -> str:
        return self.target.node_id

    @property
    def began_at(self) -> datetime | None:
        return self.target.running_since or self.target.leased_at

    @property
    def is_open(self) -> bool:
        return self.target.state in OPEN_STATES

    @property
    def can_be_cancelled(self) -> bool:
        """Once is enough; the nodes are told again by themselves."""
        return self.is_open and self.target.cancel_requested_at is None


@dataclass(frozen=True)
class TaskRow:
    """One task of a list."""

    task: Task
    headline: str
    counts: Sequence[Count]

    @property
    def is_open(self) -> bool:
        return self.task.status in OPEN_STATUSES


@dataclass(frozen=True)
class Progress:
    """How far a task for several nodes has come."""

    counts: Sequence[Count]
    ended: int
    total: int


def target_row(target: Target) -> TargetRow:
    ending = describe(target)
    return TargetRow(target, word(ending.outcome), KINDS[ending.outcome], note(ending))


def task_row(task: Task, outcomes: Mapping[str, int]) -> TaskRow:
    return TaskRow(task, headline(task.script), counted(outcomes))


def progress(targets: Sequence[Target]) -> Progress:
    outcomes = Counter(str(describe(target).outcome) for target in targets)
    ended = sum(amount for outcome, amount in outcomes.items() if outcome not in OPEN_OUTCOMES)
    return Progress(counted(outcomes), ended, len(targets))


def headline(script: str) -> str:
    """What one knows a script by: its first line that is no comment and no ``set -e``, or else its first line.

    >>> headline("#!/bin/sh\\nset -eu\\n  apt-get update\\n")
    'apt-get update'
    """
    lines = [line.strip() for line in script[:_HEAD].splitlines() if line.strip()]
    first = next((line for line in lines if not line.startswith(("#", "//", "set -"))), lines[0] if lines else "")
    return first if len(first) <= _HEADLINE_CHARACTERS else first[: _HEADLINE_CHARACTERS - 1] + "…"

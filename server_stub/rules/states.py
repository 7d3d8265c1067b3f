"""States of a target (one task on one node) and of the task as a whole (protocol reference 2.1, 2.5).

A task is what its targets are: its status is computed from them after every change and never set on its own. Beyond
the reference there is ``lost``: the attempt limit was reached without a result. A result that comes after all turns
the target into ``reported``, and the status follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class TargetState(StrEnum):
    QUEUED = "queued"
    LEASED = "leased"
    REPORTED = "reported"
    LOST = "lost"
    CANCELLED = "cancelled"


class TaskStatus(StrEnum):
    QUEUED = "queued"
    LEASED = "leased"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


OPEN_STATUSES = frozenset({TaskStatus.QUEUED, TaskStatus.LEASED})


@dataclass(frozen=True)
class Target:
    """One task on one node. ``lease_id`` is the newest lease, also after its death."""

    task_id: str
    node_id: str
    state: TargetState
    attempts: int = 0
    lease_id: str = ""
    lease_expires_at: datetime | None = None
    failed: bool = False
    finished_at: datetime | None = None
    leased_at: datetime | None = None
    """Of the newest lease."""
    running_since: datetime | None = None
    """When the node said that it runs; unset where it says nothing."""
    cancel_requested_at: datetime | None = None
    outcome: str = ""
    """How it ended, in the words of ``server_stub.rules.outcomes``; empty while it has not."""
    reason: str = ""


@dataclass(frozen=True)
class TaskOutcome:
    """What the targets add up to; ``finished_at`` only once the task has ended."""

    status: TaskStatus
    reason: str
    finished_at: datetime | None


def outcome_of(targets: Sequence[Target]) -> TaskOutcome:
    """The status of a task. Any open target keeps it open; then lost beats failed beats finished."""
    states = {target.state for target in targets}
    if TargetState.CANCELLED in states:
        return TaskOutcome(TaskStatus.CANCELLED, "cancelled by an operator", _latest(targets))
    if states == {TargetState.QUEUED}:
        return TaskOutcome(TaskStatus.QUEUED, "", None)
    if states & {TargetState.QUEUED, TargetState.LEASED}:
        return TaskOutcome(TaskStatus.LEASED, "", None)
    if TargetState.LOST in states:
        return TaskOutcome(TaskStatus.LOST, _lost_reason(targets), _latest(targets))
    failed = any(target.failed for target in targets)
    return TaskOutcome(TaskStatus.FAILED if failed else TaskStatus.FINISHED, "", _latest(targets))


def _latest(targets: Sequence[Target]) -> datetime | None:
    return max((target.finished_at for target in targets if target.finished_at is not None), default=None)


def _lost_reason(targets: Sequence[Target]) -> str:
    lost = [target for target in targets if target.state is TargetState.LOST]
    first = f"node {lost[0].node_id}: no result after {lost[0].attempts} leases"
    return first if len(lost) == 1 else f"{first}; and {len(lost) - 1} more nodes"

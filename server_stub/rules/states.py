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
    EXPIRED = "expired"
    """No node was handed it within the task's ``queue_timeout_sec``."""


class TaskStatus(StrEnum):
    QUEUED = "queued"
    LEASED = "leased"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


OPEN_STATES = frozenset({TargetState.QUEUED, TargetState.LEASED})
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
    cancel_requested_by: str = ""
    outcome: str = ""
    """How it ended, in the words of ``server_stub.rules.outcomes``; empty while it has not."""
    reason: str = ""
    """The sentence that goes with ``outcome``."""


@dataclass(frozen=True)
class TaskOutcome:
    """What the targets add up to; ``finished_at`` only once the task has ended."""

    status: TaskStatus
    reason: str
    finished_at: datetime | None


def outcome_of(targets: Sequence[Target]) -> TaskOutcome:
    """The status of a task. Any open target keeps it open; then lost beats failed beats cancelled beats finished.

    A result of a cancelled run has an error and an exit code of its own; it does not make the task a failed one.
    """
    states = {target.state for target in targets}
    if states & OPEN_STATES:
        leased = any(target.attempts or target.state is TargetState.LEASED for target in targets)
        return TaskOutcome(TaskStatus.LEASED if leased else TaskStatus.QUEUED, "", None)
    if TargetState.LOST in states:
        return TaskOutcome(TaskStatus.LOST, _lost_reason(targets), _latest(targets))
    if any(_has_failed(target) for target in targets):
        return TaskOutcome(TaskStatus.FAILED, _failed_reason(targets), _latest(targets))
    cancelled = [target for target in targets if _was_cancelled(target)]
    if cancelled:
        return TaskOutcome(TaskStatus.CANCELLED, _cancelled_reason(cancelled), _latest(targets))
    return TaskOutcome(TaskStatus.FINISHED, "", _latest(targets))


def _latest(targets: Sequence[Target]) -> datetime | None:
    return max((target.finished_at for target in targets if target.finished_at is not None), default=None)


def _was_cancelled(target: Target) -> bool:
    return target.state is TargetState.CANCELLED or target.outcome == "cancelled"


def _has_failed(target: Target) -> bool:
    return target.state is TargetState.EXPIRED or (target.failed and not _was_cancelled(target))


def _lost_reason(targets: Sequence[Target]) -> str:
    lost = [target for target in targets if target.state is TargetState.LOST]
    never_confirmed = lost[0].cancel_requested_at is not None
    attempts, others = lost[0].attempts, len(lost) - 1
    leases = f"no result after {attempts} lease{'' if attempts == 1 else 's'}"
    first = f"node {lost[0].node_id}: {'cancel requested, but never confirmed' if never_confirmed else leases}"
    return f"{first}; and {others} more node{'' if others == 1 else 's'}" if others else first


def _failed_reason(targets: Sequence[Target]) -> str:
    """Empty where the results say it all."""
    without_result = (TargetState.EXPIRED, TargetState.CANCELLED)
    stopped = [target for target in targets if target.state in without_result and not target.cancel_requested_by]
    if not stopped:
        return ""
    return (
        stopped[0].reason
        if stopped[0].state is TargetState.CANCELLED
        else f"node {stopped[0].node_id}: {stopped[0].reason}"
    )


def _cancelled_reason(cancelled: Sequence[Target]) -> str:
    by = next((target.cancel_requested_by for target in cancelled if target.cancel_requested_by), "")
    return f"cancelled by {by}" if by else "cancelled on the node"

"""The life of a target: what happened when, and what its clocks say. Times are the control plane's, but for the start
of a run of which only the result tells."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lattice_agent.wire.base import parse
from lattice_agent.wire.results import RunClock, RunDetail
from server_stub.dashboard.task_rows import TargetRow
from server_stub.readable import duration
from server_stub.rules.outcomes import TargetOutcome, describe, queue_deadline
from server_stub.rules.states import Target, TargetState
from server_stub.store.records import StoredResult, Task

NO_LIMIT: Final = "no limit"


@dataclass(frozen=True)
class Step:
    """Something that has happened to a target. ``at`` is unset where nobody knows when."""

    word: str
    kind: str
    at: datetime | None
    note: str = ""


@dataclass(frozen=True)
class Clock:
    """One of the four clocks of a task. ``used`` and ``limit`` are in words."""

    name: str
    used: str
    limit: str
    fired: bool


def steps(task: Task, row: TargetRow, result: StoredResult | None) -> list[Step]:
    """From its creation to what became of it."""
    target = row.target
    found = [Step("created", "idle", task.created_at, _creation(task))]
    if target.state is TargetState.QUEUED:
        return [*found, Step("queued", "idle", None, _queued(task, target))]
    if target.leased_at is not None:
        found.append(Step("leased", "busy", target.leased_at, _lease(target)))
    began = target.running_since or (result.started_at if result else None)
    if began is not None:
        found.append(Step("running", "busy", began, _level(result)))
    if target.cancel_requested_at is not None:
        by = f"by {target.cancel_requested_by}" if target.cancel_requested_by else ""
        found.append(Step("cancel requested", "warn", target.cancel_requested_at, by))
    if not row.is_open:
        found.append(Step(row.word, row.kind, target.finished_at, row.note))
    return found


def clocks(task: Task, target: Target, result: StoredResult | None) -> list[Clock]:
    """The four clocks, those that the node told of with what they showed; none before it has ended."""
    expired = target.state is TargetState.EXPIRED
    detail = detail_of(result)
    if detail is None and not expired:
        return []
    detail = detail or RunDetail()
    taken_at = target.leased_at or target.finished_at or task.created_at
    # Not a timedelta: what a node says may be longer than one can be.
    waited_s = (taken_at - task.created_at).total_seconds() + detail.queued_ms / 1_000
    timed_out = describe(target).outcome is TargetOutcome.TIMED_OUT
    fired = RunClock.QUEUED if expired else detail.clock if timed_out else ""
    return [
        Clock("queued", duration(waited_s), _limit(task.queue_timeout_sec), fired == RunClock.QUEUED),
        Clock("wall", _milliseconds(detail.wall_ms), _limit(task.timeout_sec), fired == RunClock.WALL),
        Clock("CPU", _milliseconds(detail.cpu_ms), "the node's own", fired == RunClock.CPU),
        Clock("grace", _milliseconds(detail.grace_ms), "the node's own", detail.grace_expired),
    ]


def detail_of(result: StoredResult | None) -> RunDetail | None:
    """What the node told beyond the base wire."""
    return None if result is None or result.detail is None else parse(RunDetail, result.detail)


def _creation(task: Task) -> str:
    return f"by {task.actor}" + (f", doing {task.rerun_of} again" if task.rerun_of else "")


def _queued(task: Task, target: Target) -> str:
    deadline = queue_deadline(task.created_at, task.queue_timeout_sec)
    waits = f"waits for {target.node_id} to take it"
    return waits if deadline is None else f"{waits}, until {deadline:%H:%M:%SZ} at most"


def _lease(target: Target) -> str:
    parts = [f"attempt {target.attempts}"] if target.attempts > 1 else []
    if target.state is TargetState.LEASED and target.lease_expires_at is not None:
        parts.append(f"a result is expected by {target.lease_expires_at:%H:%M:%SZ}")
    return "; ".join(parts)


def _level(result: StoredResult | None) -> str:
    detail = detail_of(result)
    return f"at level {detail.level}" if detail is not None and detail.level else ""


def _limit(seconds: int) -> str:
    return duration(seconds) if seconds else NO_LIMIT


def _milliseconds(amount: int) -> str:
    return duration(amount / 1_000)

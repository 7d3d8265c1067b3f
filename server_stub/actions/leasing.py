"""Handing out tasks (protocol reference 2.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lattice_agent.wire.tasks import LeasedTask
from server_stub.actions.outcomes import settle_task
from server_stub.ids import new_lease_id
from server_stub.rules.leases import Candidate, Grant, decide
from server_stub.store.base import Store, Tables
from server_stub.store.records import BY_AGENT, AuditEvent, Task

_SPARE: Final = 16
"""Candidates read beyond the room, for those that turn out to be lost. If more are, the next poll finds the rest."""


@dataclass(frozen=True)
class Poll:
    """What a poll is answered. ``ended`` names the tasks whose status it has ended by giving them up."""

    tasks: tuple[LeasedTask, ...] = ()
    execution_disabled: bool = False
    ended: tuple[str, ...] = ()


def poll(store: Store, node_id: str, room: int, now: datetime, attempt_limit: int) -> Poll:
    """Most polls find nothing and must not cost a commit: they only read."""
    execution_disabled, work = store.read(lambda tables: _look(tables, node_id, now))
    if execution_disabled or not work:
        return Poll(execution_disabled=execution_disabled)
    return store.write(lambda tables: lease(tables, node_id, room, now, attempt_limit))


def _look(tables: Tables, node_id: str, now: datetime) -> tuple[bool, bool]:
    return tables.switches.task_execution_disabled(), bool(tables.tasks.due(node_id, now, 1))


def lease(tables: Tables, node_id: str, room: int, now: datetime, attempt_limit: int) -> Poll:
    """Grants up to ``room`` leases, oldest task first, and gives up what was leased too often."""
    due = tables.tasks.due(node_id, now, room + _SPARE)
    candidates = [
        Candidate(task.id, target.attempts, task.timeout_sec, target.lease_expires_at) for task, target in due
    ]
    decision = decide(candidates, now, room, attempt_limit)
    for task_id in decision.lost:
        _give_up(tables, task_id, node_id, now)
    tasks = {task.id: task for task, _ in due}
    leased = tuple(_grant(tables, tasks[grant.task_id], grant, node_id, now) for grant in decision.grants)
    return Poll(leased, ended=_ended(tables, decision.lost))


def _grant(tables: Tables, task: Task, grant: Grant, node_id: str, now: datetime) -> LeasedTask:
    lease_id = new_lease_id()
    tables.tasks.grant(grant, node_id, lease_id, now)
    settle_task(tables, task.id)
    tables.audit.append(_event("task.lease", task.id, node_id, now, f"attempt {grant.attempt}"))
    return LeasedTask(
        id=task.id,
        lease_id=lease_id,
        interpreter=task.interpreter,
        script=task.script,
        timeout_sec=task.timeout_sec,
        output_limit=task.output_limit,
    )


def _give_up(tables: Tables, task_id: str, node_id: str, now: datetime) -> None:
    tables.tasks.lose(task_id, node_id, now)
    settle_task(tables, task_id)
    tables.audit.append(_event("task.lost", task_id, node_id, now, "attempt limit reached without a result"))


def _ended(tables: Tables, task_ids: Sequence[str]) -> tuple[str, ...]:
    found = (tables.tasks.get(task_id) for task_id in task_ids)
    return tuple(task.id for task in found if task is not None and task.finished_at is not None)


def _event(action: str, task_id: str, node_id: str, now: datetime, reason: str) -> AuditEvent:
    return AuditEvent(now, node_id, action, task_id, node_id, reason=reason, origin=BY_AGENT)

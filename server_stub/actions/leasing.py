"""Handing out tasks (protocol reference 2.3)."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from lattice_agent.wire.tasks import LeasedTask
from server_stub.actions.giving_up import expire, lose
from server_stub.actions.outcomes import Settled, settle_task
from server_stub.ids import new_lease_id
from server_stub.rules.fan_out import NO_LIMITS, FanOut, standing
from server_stub.rules.leases import Candidate, Grant, decide
from server_stub.rules.outcomes import queue_deadline
from server_stub.rules.states import Target, TargetState
from server_stub.store.base import Store, Tables
from server_stub.store.records import BY_AGENT, AuditEvent, Task

_SPARE: Final = 16
"""Candidates read beyond the room, for those that turn out to be lost. If more are, the next poll finds the rest."""


@dataclass(frozen=True)
class Poll:
    """What a poll is answered, and the tasks of which it has changed something."""

    tasks: tuple[LeasedTask, ...] = ()
    execution_disabled: bool = False
    changed: tuple[Settled, ...] = ()


def poll(store: Store, node_id: str, room: int, now: datetime, attempt_limit: int) -> Poll:
    """Most polls find nothing and must not cost a commit: they only read."""
    execution_disabled, work = store.read(lambda tables: _look(tables, node_id, now))
    if execution_disabled or not work:
        return Poll(execution_disabled=execution_disabled)
    return store.write(lambda tables: lease(tables, node_id, room, now, attempt_limit))


def _look(tables: Tables, node_id: str, now: datetime) -> tuple[bool, bool]:
    work = not tables.nodes.draining(node_id) and bool(tables.tasks.due(node_id, now, 1))
    return tables.switches.task_execution_disabled(), work


def lease(tables: Tables, node_id: str, room: int, now: datetime, attempt_limit: int) -> Poll:
    """Grants up to ``room`` leases, oldest task first; gives up what was leased too often or queued for too long.

    One transaction: that a task has room for one more node is still true when the lease is on disk.
    """
    due = tables.tasks.due(node_id, now, room + _SPARE)
    decision = decide([_candidate(tables, task, target, now) for task, target in due], now, room, attempt_limit)
    changed = [expire(tables, task_id, node_id, now) for task_id in decision.expired]
    changed += [lose(tables, task_id, node_id, now) for task_id in decision.lost]
    tasks = {task.id: task for task, _ in due}
    leased: list[LeasedTask] = []
    for grant in decision.grants:
        leased.append(_grant(tables, tasks[grant.task_id], grant, node_id, now))
        # A grant makes no room: whoever was told of a place before need not be told again.
        changed.append(replace(settle_task(tables, grant.task_id, now), waiting=()))
    return Poll(tuple(leased), changed=tuple(changed))


def _candidate(tables: Tables, task: Task, target: Target, now: datetime) -> Candidate:
    fan_out = FanOut(task.concurrency, task.max_failures)
    where = standing(fan_out, tables.tasks.targets(task.id) if fan_out != NO_LIMITS else (), now)
    queued = target.state is TargetState.QUEUED
    return Candidate(
        *(task.id, target.attempts, task.timeout_sec, target.lease_expires_at),
        queued_until=queue_deadline(task.created_at, task.queue_timeout_sec) if queued else None,
        cancel_requested=target.cancel_requested_at is not None,
        free=where.free,
        stopped=where.stopped,
    )


def _grant(tables: Tables, task: Task, grant: Grant, node_id: str, now: datetime) -> LeasedTask:
    lease_id = new_lease_id()
    tables.tasks.grant(grant, node_id, lease_id, now)
    reason = f"attempt {grant.attempt}"
    tables.audit.append(AuditEvent(now, node_id, "task.lease", task.id, node_id, reason=reason, origin=BY_AGENT))
    return LeasedTask(
        id=task.id,
        lease_id=lease_id,
        interpreter=task.interpreter,
        script=task.script,
        timeout_sec=task.timeout_sec,
        output_limit=task.output_limit,
    )

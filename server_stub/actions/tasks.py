"""Operators' side of tasks: create, cancel, look at; and the fleet's kill switch."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from server_stub.actions.outcomes import settle_task
from server_stub.config import Limits
from server_stub.errors import Refused
from server_stub.ids import new_id
from server_stub.rules.states import TaskStatus
from server_stub.rules.task_limits import TaskOrder
from server_stub.store.base import Tables
from server_stub.store.records import AuditEvent, StoredResult, Task

EXECUTION_DISABLED: Final = "task_execution_disabled"


@dataclass(frozen=True)
class TaskWithResults:
    """A task as ``show`` needs it."""

    task: Task
    results: tuple[StoredResult, ...]


def create_task(tables: Tables, actor: str, order: TaskOrder, now: datetime, limits: Limits) -> Task:
    """Queues the task on each of its nodes, all of which must be registered."""
    if tables.switches.task_execution_disabled():
        raise Refused(409, "task execution is disabled for the fleet", code=EXECUTION_DISABLED)
    missing = tables.nodes.unknown(order.nodes)
    if missing:
        raise Refused(404, f"node {missing[0]} not found")
    if tables.tasks.open_count() >= limits.open_tasks:
        raise Refused(409, f"{limits.open_tasks} tasks are open; wait for some or cancel them")
    digest = hashlib.sha256(order.script.encode()).hexdigest()
    task = Task(
        *(new_id("task_"), actor, order.interpreter, order.script, digest),
        *(order.timeout_sec, order.output_limit, now, order.nodes),
    )
    tables.tasks.add(task)
    node_id = order.nodes[0] if len(order.nodes) == 1 else ""
    detail = {"nodes": list(order.nodes), "interpreter": order.interpreter, "script_sha256": digest}
    tables.audit.append(AuditEvent(now, actor, "task.create", task.id, node_id, detail=detail))
    return task


def cancel_task(tables: Tables, actor: str, task_id: str, now: datetime) -> Task:
    """Only a task that no node was handed yet can be taken back."""
    task = tables.tasks.get(task_id)
    if task is None:
        raise Refused(404, f"task {task_id} not found")
    if task.status is not TaskStatus.QUEUED:
        raise Refused(409, "only queued tasks can be cancelled")
    tables.tasks.cancel(task_id, now)
    settle_task(tables, task_id)
    tables.audit.append(AuditEvent(now, actor, "task.cancel", task_id))
    return show_task(tables, task_id).task


def show_task(tables: Tables, task_id: str, *, streams: bool = True) -> TaskWithResults:
    """``Refused`` 404 for one that does not exist (or was pruned). Without ``streams`` those of results are empty."""
    task = tables.tasks.get(task_id)
    if task is None:
        raise Refused(404, f"task {task_id} not found")
    return TaskWithResults(task, tuple(tables.tasks.results(task_id, streams=streams)))


def set_kill_switch(tables: Tables, actor: str, disabled: bool, now: datetime) -> bool:
    """With the switch on nothing is created or leased; results of what runs are still taken."""
    tables.switches.set_task_execution_disabled(disabled)
    reason = "task execution disabled" if disabled else "task execution enabled"
    tables.audit.append(AuditEvent(now, actor, "kill_switch.set", "fleet", reason=reason))
    return disabled

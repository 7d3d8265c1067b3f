"""Operators' side of tasks: create, do again, look at; and the fleet's kill switch."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from server_stub.config import Limits
from server_stub.errors import Refused
from server_stub.ids import new_id
from server_stub.rules.fan_out import FanOut
from server_stub.rules.outcomes import TargetOutcome, outcome_of_target
from server_stub.rules.states import OPEN_STATUSES, Target
from server_stub.rules.task_limits import TaskOrder
from server_stub.store.base import Tables
from server_stub.store.records import AuditEvent, StoredResult, Task

EXECUTION_DISABLED: Final = "task_execution_disabled"


@dataclass(frozen=True)
class ShownTask:
    """A task as one looks at it: ``targets`` and ``results`` by node."""

    task: Task
    targets: tuple[Target, ...]
    results: tuple[StoredResult, ...] = ()


def create_task(tables: Tables, actor: str, order: TaskOrder, now: datetime, limits: Limits) -> Task:
    """Queues the task on each of its nodes, all of which must be registered."""
    if tables.switches.task_execution_disabled():
        raise Refused(409, "task execution is disabled for the fleet", code=EXECUTION_DISABLED)
    missing = tables.nodes.unknown(order.nodes)
    if missing:
        raise Refused(404, f"node {missing[0]} not found")
    if tables.tasks.open_count() >= limits.open_tasks:
        raise Refused(409, f"{limits.open_tasks} tasks are open; wait for some or cancel them")
    digest = script_digest(order.script)
    task = Task(
        *(new_id("task_"), actor, order.interpreter, order.script, digest),
        *(order.timeout_sec, order.output_limit, now, order.nodes),
        concurrency=order.fan_out.concurrency,
        max_failures=order.fan_out.max_failures,
        queue_timeout_sec=order.queue_timeout_sec,
        rerun_of=order.rerun_of,
    )
    tables.tasks.add(task)
    node_id = order.nodes[0] if len(order.nodes) == 1 else ""
    detail = {"nodes": list(order.nodes), "interpreter": order.interpreter, "script_sha256": digest}
    if order.rerun_of:
        detail["rerun_of"] = order.rerun_of
    tables.audit.append(AuditEvent(now, actor, "task.create", task.id, node_id, detail=detail))
    return task


def rerun_task(
    tables: Tables, actor: str, task_id: str, only: Literal["failed", "all"], now: datetime, limits: Limits
) -> Task:
    """The same again, as a task of its own: on all nodes, or where it has not succeeded."""
    shown = show_task(tables, task_id, streams=False)
    task = shown.task
    if task.status in OPEN_STATUSES:
        raise Refused(409, f"task {task_id} has not ended; cancel it first, or wait")
    nodes = [
        target.node_id
        for target in shown.targets
        if only == "all" or outcome_of_target(target) is not TargetOutcome.SUCCEEDED
    ]
    if not nodes:
        raise Refused(409, f"task {task_id} has succeeded on all of its nodes")
    order = TaskOrder(
        *(tuple(nodes), task.interpreter, task.script, task.timeout_sec, task.output_limit),
        *(FanOut(task.concurrency, task.max_failures), task.queue_timeout_sec, task_id),
    )
    return create_task(tables, actor, order, now, limits)


def show_task(tables: Tables, task_id: str, *, streams: bool = True) -> ShownTask:
    """``Refused`` 404 for one that does not exist (or was pruned). Without ``streams`` those of results are empty."""
    task = tables.tasks.get(task_id)
    if task is None:
        raise Refused(404, f"task {task_id} not found")
    targets, results = tables.tasks.targets(task_id), tables.tasks.results(task_id, streams=streams)
    return ShownTask(task, tuple(targets), tuple(results))


def script_digest(script: str) -> str:
    """SHA-256 of its UTF-8, hexadecimal: what the policies of nodes know a script by."""
    return hashlib.sha256(script.encode()).hexdigest()


def set_kill_switch(tables: Tables, actor: str, disabled: bool, now: datetime) -> bool:
    """With the switch on nothing is created or leased; results of what runs are still taken."""
    tables.switches.set_task_execution_disabled(disabled)
    reason = "task execution disabled" if disabled else "task execution enabled"
    tables.audit.append(AuditEvent(now, actor, "kill_switch.set", "fleet", reason=reason))
    return disabled

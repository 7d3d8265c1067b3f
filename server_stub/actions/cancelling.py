"""Ending a task before it has ended by itself.

What no node was handed is cancelled at once. What a node has is asked for: the node ends it and its result says so. A
node that never answers (it has no control stream, or is gone) keeps its lease until that dies; then the target is lost.
"""

from dataclasses import dataclass
from datetime import datetime

from server_stub.actions.outcomes import Settled, settle_task
from server_stub.actions.tasks import ShownTask, show_task
from server_stub.errors import Refused
from server_stub.rules.outcomes import cancelled_by
from server_stub.rules.states import OPEN_STATES, TargetState
from server_stub.store.base import Tables
from server_stub.store.records import AuditEvent


@dataclass(frozen=True)
class Cancelled:
    """The task as it is now, and the nodes that are to be told to end it."""

    shown: ShownTask
    settled: Settled
    asked: tuple[str, ...]


def cancel_task(tables: Tables, actor: str, task_id: str, node_id: str, now: datetime) -> Cancelled:
    """On one node, or with an empty ``node_id`` on all. To ask again is no error: the nodes are told again."""
    targets = show_task(tables, task_id, streams=False).targets
    chosen = [target for target in targets if node_id in ("", target.node_id)]
    if not chosen:
        raise Refused(404, f"task {task_id} is not for node {node_id}")
    open_ones = [target for target in chosen if target.state in OPEN_STATES]
    if not open_ones:
        raise Refused(409, "only what has not ended can be cancelled")
    for target in open_ones:
        tables.tasks.request_cancel(task_id, target.node_id, actor, now)
        if target.state is TargetState.QUEUED:
            tables.tasks.end(task_id, target.node_id, TargetState.CANCELLED, cancelled_by(actor), now)
    asked = tuple(target.node_id for target in open_ones if target.state is TargetState.LEASED)
    detail = {"cancelled": len(open_ones) - len(asked), "asked": len(asked)}
    tables.audit.append(AuditEvent(now, actor, "task.cancel", task_id, node_id, detail=detail))
    settled = settle_task(tables, task_id, now)
    return Cancelled(show_task(tables, task_id, streams=False), settled, asked)

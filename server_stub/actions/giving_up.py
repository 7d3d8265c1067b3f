"""Ending targets that nothing more is expected of: queued for too long, or leased without a result.

Both are noticed when the target's node polls. What a node need not be alive for is also looked at every few seconds.
"""

from datetime import datetime

from server_stub.actions.outcomes import Settled, settle_task
from server_stub.rules.outcomes import Ending, expired, lost
from server_stub.rules.states import TargetState
from server_stub.store.base import Store, Tables
from server_stub.store.records import AuditEvent


def lose(tables: Tables, task_id: str, node_id: str, now: datetime) -> Settled:
    """A result under its newest lease is still taken, should it come."""
    target = tables.tasks.target(task_id, node_id)
    assert target is not None, "it was found in this transaction"
    return _end(tables, task_id, node_id, TargetState.LOST, lost(target), now)


def expire(tables: Tables, task_id: str, node_id: str, now: datetime) -> Settled:
    """Its queued clock has fired; no node has seen it."""
    task = tables.tasks.get(task_id)
    assert task is not None, "it was found in this transaction"
    return _end(tables, task_id, node_id, TargetState.EXPIRED, expired(task.queue_timeout_sec), now)


def give_up_overdue(store: Store, now: datetime, most: int) -> tuple[Settled, ...]:
    """At most so many of either kind; the next call finds the rest. When there is nothing, it only reads."""

    def is_any(tables: Tables) -> bool:
        return bool(tables.tasks.overdue(now, 1) or tables.tasks.unconfirmed(now, 1))

    return store.write(lambda tables: _give_up(tables, now, most)) if store.read(is_any) else ()


def _give_up(tables: Tables, now: datetime, most: int) -> tuple[Settled, ...]:
    found = [(expire, *names) for names in tables.tasks.overdue(now, most)]
    found += [(lose, *names) for names in tables.tasks.unconfirmed(now, most)]
    settled: dict[str, Settled] = {}
    for end, task_id, node_id in found:
        # An end may have stopped the rest of its task, and with it a target that was found above.
        target = tables.tasks.target(task_id, node_id)
        if target is not None and target.state in (TargetState.QUEUED, TargetState.LEASED):
            settled[task_id] = end(tables, task_id, node_id, now)
    return tuple(settled.values())


def _end(tables: Tables, task_id: str, node_id: str, state: TargetState, ending: Ending, now: datetime) -> Settled:
    tables.tasks.end(task_id, node_id, state, ending, now)
    action = "task.lost" if state is TargetState.LOST else "task.expire"
    tables.audit.append(AuditEvent(now, "server", action, task_id, node_id, reason=ending.text))
    return settle_task(tables, task_id, now)

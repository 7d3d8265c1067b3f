"""Keeping a task's status what its targets add up to, and its fan-out what was asked for."""

from dataclasses import dataclass
from datetime import datetime

from server_stub.rules.fan_out import spared, standing, waiting
from server_stub.rules.outcomes import stopped
from server_stub.rules.states import TargetState, outcome_of
from server_stub.store.base import Tables
from server_stub.store.records import AuditEvent


@dataclass(frozen=True)
class Settled:
    """A task of which something has changed: what others are told of it once the transaction is on disk."""

    task_id: str
    ended: bool
    free: int = 0
    """Places for ``waiting``."""
    waiting: tuple[str, ...] = ()
    """Nodes for which there was no room before and is now."""


def settle_task(tables: Tables, task_id: str, now: datetime) -> Settled:
    """To be called after every change of a target. Spares the rest of a task that has failed too often."""
    fan_out = tables.tasks.fan_out(task_id)
    targets = tables.tasks.targets(task_id)
    where = standing(fan_out, targets, now)
    nodes = spared(where, targets)
    if nodes:
        ending = stopped(fan_out.max_failures)
        for node_id in nodes:
            tables.tasks.end(task_id, node_id, TargetState.CANCELLED, ending, now)
        detail = {"spared": len(nodes)}
        tables.audit.append(AuditEvent(now, "server", "task.stop", task_id, reason=ending.text, detail=detail))
        targets = tables.tasks.targets(task_id)
    outcome = outcome_of(targets)
    tables.tasks.set_outcome(task_id, outcome)
    return Settled(task_id, outcome.finished_at is not None, where.free or 0, waiting(where, targets))

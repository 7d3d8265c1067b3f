"""Leases that have died without a result. Nothing changes by it: the target is handed out again, or given up, when its
node asks. But somebody has to be told: the node, which may only have a new lease to take for a result that it holds,
and nodes for which the dead lease has kept a place of the task.
"""

from dataclasses import dataclass
from datetime import datetime

from server_stub.actions.outcomes import Settled
from server_stub.rules.fan_out import standing, waiting
from server_stub.store.base import Tables


@dataclass(frozen=True)
class Lapsed:
    """Whom to tell."""

    nodes: tuple[str, ...] = ()
    tasks: tuple[Settled, ...] = ()
    """Those that have a place free now."""


def lapsed(tables: Tables, since: datetime, until: datetime, most: int) -> Lapsed:
    """Of leases that have died in between, so many at most; the others' nodes find out by their next poll."""
    dead = tables.tasks.lapsed(since, until, most)
    limited = [task_id for task_id in dict.fromkeys(task_id for task_id, _ in dead) if _is_limited(tables, task_id)]
    tasks = tuple(_places(tables, task_id, until) for task_id in limited)
    return Lapsed(tuple(dict.fromkeys(node_id for _, node_id in dead)), tasks)


def _is_limited(tables: Tables, task_id: str) -> bool:
    return bool(tables.tasks.fan_out(task_id).concurrency)


def _places(tables: Tables, task_id: str, now: datetime) -> Settled:
    targets = tables.tasks.targets(task_id)
    where = standing(tables.tasks.fan_out(task_id), targets, now)
    return Settled(task_id, ended=False, free=where.free or 0, waiting=waiting(where, targets))

"""What a node and the control plane tell each other of runs when a control stream opens (docs/protocol.md)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lattice_agent.wire.control import DRAIN, TASK_CANCEL, TASK_READY, Order, Running
from server_stub.errors import Refused
from server_stub.rules.states import OPEN_STATES, Target, TargetState
from server_stub.store.base import Store, Tables
from server_stub.store.records import StoredResult

MAX_CANCELS: Final = 64
"""Cancel requests repeated when a stream opens. A node runs at most 16 tasks at once; others end with their leases."""


@dataclass(frozen=True)
class Run:
    """A run of the node's own under its current lease. ``is_news``: that it runs was not known until now."""

    output_limit: int
    lease_expires_at: datetime
    is_news: bool


@dataclass(frozen=True)
class TargetNow:
    """What whoever looks at a target's output needs to know: the target once it has ended, and its result if it has
    one."""

    ended: Target | None = None
    result: StoredResult | None = None


def standing_orders(tables: Tables, node_id: str, now: datetime) -> list[Order]:
    """What a node must know that has just connected."""
    requests = tables.tasks.cancel_requests(node_id)
    orders = [Order(type=TASK_CANCEL, task_id=task_id) for task_id in requests[:MAX_CANCELS]]
    if tables.nodes.draining(node_id):
        orders.append(Order(type=DRAIN, on=True))
    elif tables.tasks.due(node_id, now, 1) and not tables.switches.task_execution_disabled():
        orders.append(Order(type=TASK_READY))
    return orders


def take_running(store: Store, node_id: str, said: Running, now: datetime) -> Run | None:
    """Notes when a run began. None for a target that is not the node's, or not leased to it under this lease. What is
    known already costs no commit: an agent says it again whenever it connects."""
    run = store.read(lambda tables: _run(tables, node_id, said))
    if run is not None and run.is_news:
        store.write(lambda tables: tables.tasks.set_running(said.task_id, node_id, said.lease_id, now))
    return run


def _run(tables: Tables, node_id: str, said: Running) -> Run | None:
    target = tables.tasks.target(said.task_id, node_id)
    if target is None or target.state is not TargetState.LEASED or not target.lease_expires_at:
        return None
    task = tables.tasks.get(said.task_id) if said.lease_id and said.lease_id == target.lease_id else None
    if task is None:
        return None
    return Run(task.output_limit, target.lease_expires_at, target.running_since is None)


def look_at_target(tables: Tables, task_id: str, node_id: str) -> TargetNow:
    """``Refused`` 404 for a target that does not exist."""
    target = tables.tasks.target(task_id, node_id)
    if target is None:
        known = tables.tasks.get(task_id) is not None
        raise Refused(404, f"task {task_id} is not for node {node_id}" if known else f"task {task_id} not found")
    if target.state in OPEN_STATES:
        return TargetNow()
    return TargetNow(target, tables.tasks.stored_result(task_id, node_id))

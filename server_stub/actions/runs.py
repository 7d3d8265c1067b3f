"""What a node and the control plane tell each other of runs when a control stream opens (docs/protocol.md)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lattice_agent.wire.control import DRAIN, TASK_CANCEL, TASK_READY, Order, Running
from server_stub.actions.registry import get_node
from server_stub.rules.states import Target, TargetState
from server_stub.store.base import Store, Tables

MAX_CANCELS: Final = 64
"""Cancel requests repeated when a stream opens. A node runs at most 16 tasks at once; others end with their leases."""


@dataclass(frozen=True)
class Run:
    """A run of the node's own under its current lease."""

    output_limit: int
    lease_expires_at: datetime
    is_news: bool
    """It was not known to run until now."""


def standing_orders(tables: Tables, node_id: str, now: datetime) -> list[Order]:
    """What a node must know that has just connected."""
    orders = [
        Order(type=TASK_CANCEL, task_id=task_id) for task_id in tables.tasks.cancel_requested(node_id, MAX_CANCELS)
    ]
    if get_node(tables, node_id).draining:
        orders.append(Order(type=DRAIN, on=True))
    elif tables.tasks.due(node_id, now, 1) and not tables.switches.task_execution_disabled():
        orders.append(Order(type=TASK_READY))
    return orders


def take_running(store: Store, node_id: str, said: Running, now: datetime) -> Run | None:
    """Notes when a run began. None for a target that is not the node's, or not leased to it under this lease."""
    found = store.read(lambda tables: _find(tables, node_id, said))
    if found is None or not found.is_news:
        return found
    return store.write(lambda tables: _begin(tables, node_id, said, now))


def _begin(tables: Tables, node_id: str, said: Running, now: datetime) -> Run | None:
    found = _find(tables, node_id, said)
    if found is not None and found.is_news:
        tables.tasks.set_running(said.task_id, node_id, now)
    return found


def _find(tables: Tables, node_id: str, said: Running) -> Run | None:
    target = tables.tasks.target(said.task_id, node_id)
    task = tables.tasks.get(said.task_id) if target is not None and _is_leased(target, said.lease_id) else None
    if target is None or target.lease_expires_at is None or task is None:
        return None
    return Run(task.output_limit, target.lease_expires_at, target.running_since is None)


def _is_leased(target: Target, lease_id: str) -> bool:
    return target.state is TargetState.LEASED and bool(lease_id) and target.lease_id == lease_id

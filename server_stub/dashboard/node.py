"""One node: what it is, what it may do, how it fares, and the few things that an operator changes about it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.actions import registry
from server_stub.api.operator_metrics import DEFAULT_RANGE, window_of
from server_stub.api.plane import plane_of
from server_stub.dashboard.enrolling import words
from server_stub.dashboard.forms import Form, one
from server_stub.dashboard.node_facts import machine, policy, protections
from server_stub.dashboard.node_history import history
from server_stub.dashboard.node_reports import families, reports
from server_stub.dashboard.node_states import sandbox, states
from server_stub.dashboard.pages import moved, render
from server_stub.dashboard.show import segment
from server_stub.dashboard.task_rows import TargetRow, headline, target_row
from server_stub.dashboard.user_rows import UserRow, user_row
from server_stub.dashboard.visits import Visitor, form, page
from server_stub.rules.metric_history import WINDOWS, MetricPoint, Window, shown_since
from server_stub.rules.tags import check_tags
from server_stub.store.base import Tables
from server_stub.store.records import Node, Profile, StoredInventory, Task, UserQuery

_TASKS: Final = 10
_USERS: Final = 20


@dataclass(frozen=True)
class TaskHere:
    """A task of this node, and how it fared here."""

    task: Task
    headline: str
    target: TargetRow


@dataclass(frozen=True)
class Look:
    """Everything of a node, as one moment's reading."""

    node: Node
    inventory: StoredInventory | None
    points: list[MetricPoint]
    tasks: tuple[TaskHere, ...]
    profile: Profile | None
    users: tuple[UserRow, ...]
    more_users: bool


async def show_node(request: Request, _visitor: Visitor) -> Response:
    plane = plane_of(request)
    wanted = request.query_params.get("range", DEFAULT_RANGE)
    window, now, node_id = window_of(wanted), plane.now(), request.path_params["node_id"]
    look = await plane.read(lambda tables: _look(tables, node_id, window, now))
    node = look.node
    return render(
        request,
        "node.html",
        node=node,
        states=states(node, now),
        sandbox=sandbox(node),
        machine=machine(node),
        protections=protections(node),
        policy=policy(node),
        connected=plane.streams.connected(node.id),
        history=history(look.points, window, node.presence.metrics or {}, now),
        ranges=tuple(WINDOWS),
        range=wanted,
        look=look,
        reports=reports(node.presence),
        families=families(look.inventory.document) if look.inventory else (),
        now=now,
    )


def _look(tables: Tables, node_id: str, window: Window, now: datetime) -> Look:
    node = registry.get_node(tables, node_id)
    profile = tables.usage.profile(node_id)
    found = tables.usage.find(UserQuery(node_id=node_id), _USERS + 1) if profile else []
    return Look(
        node,
        tables.nodes.inventory(node_id),
        tables.metrics.since(node_id, window.step, shown_since(window, now)),
        tuple(_tasks_here(tables, node_id)),
        profile,
        tuple(user_row(user, now) for user in found[:_USERS]),
        len(found) > _USERS,
    )


def _tasks_here(tables: Tables, node_id: str) -> list[TaskHere]:
    here = []
    for task in tables.tasks.newest(node_id=node_id, status=None, limit=_TASKS):
        target = tables.tasks.target(task.id, node_id)
        if target is not None:
            here.append(TaskHere(task, headline(task.script), target_row(target)))
    return here


async def set_tags(request: Request, visitor: Visitor, sent: Form) -> Response:
    tags = check_tags(words(one(sent, "tags")))
    return await _changed(
        request, lambda tables, node_id, now: registry.set_tags(tables, visitor.name, node_id, tags, now)
    )


async def set_draining(request: Request, visitor: Visitor, sent: Form) -> Response:
    plane, node_id = plane_of(request), request.path_params["node_id"]
    draining = one(sent, "draining") == "yes"
    answer = await _changed(
        request, lambda tables, node_id, now: registry.set_draining(tables, visitor.name, node_id, draining, now)
    )
    plane.streams.drain(node_id, draining)
    if not draining:
        plane.streams.wake([node_id])
    return answer


async def set_disabled(request: Request, visitor: Visitor, sent: Form) -> Response:
    disabled = one(sent, "disabled") == "yes"
    return await _changed(
        request, lambda tables, node_id, now: registry.set_disabled(tables, visitor.name, node_id, disabled, now)
    )


async def _changed(request: Request, change: Callable[[Tables, str, datetime], Node]) -> Response:
    """Back to the page, which shows what it has become."""
    plane, node_id = plane_of(request), request.path_params["node_id"]
    now = plane.now()
    await plane.write(lambda tables: change(tables, node_id, now))
    return moved(f"/nodes/{segment(node_id)}")


def routes() -> list[BaseRoute]:
    return [
        page("/nodes/{node_id}", show_node),
        form("/nodes/{node_id}/tags", set_tags),
        form("/nodes/{node_id}/drain", set_draining),
        form("/nodes/{node_id}/disable", set_disabled),
    ]

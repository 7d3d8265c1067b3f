"""Writing a task, and what its nodes would say to it before it is sent.

The form has two buttons: one looks, one sends. When a node would refuse the script, or nobody knows what it would say,
the form comes back once with that on it, and sends when it is told to a second time. A script in the page shows the
same while one types; without it everything works, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.actions.previewing import NodePreview, preview_task
from server_stub.actions.tasks import create_task, show_task
from server_stub.api.announce import announce_new
from server_stub.api.operator_tasks import order_of
from server_stub.api.orders import CreateTask
from server_stub.api.plane import Plane, plane_of
from server_stub.dashboard.draft import Draft, draft_like, sent_draft
from server_stub.dashboard.forms import Form, one
from server_stub.dashboard.pages import moved, render
from server_stub.dashboard.task_orders import task_path
from server_stub.dashboard.visits import Visitor, form, page
from server_stub.errors import Refused
from server_stub.rules.facts import is_online
from server_stub.rules.task_limits import INTERPRETERS
from server_stub.store.base import Tables
from server_stub.store.records import Node, NodeQuery, Task

LOOK: Final = "look"
SURE: Final = "sure"
"""Values of the form's buttons; any other is the one that sends."""
_TICKED: Final = 100
"""Nodes that have a box to tick; in a larger fleet ids and tags are typed."""


@dataclass(frozen=True)
class _Targets:
    """What a task can be for, as far as the form offers it."""

    tickable: list[Node]
    tags: list[str]


async def write_task(request: Request, _visitor: Visitor) -> Response:
    """Empty, for the nodes or tags that the address names, or like a task that there was."""
    query = request.query_params
    if query.get("like"):
        shown = await plane_of(request).read(lambda tables: show_task(tables, query["like"], streams=False))
        return await _form(request, draft_like(shown.task))
    nodes, tags = " ".join(query.getlist("node")), " ".join(query.getlist("tag"))
    return await _form(request, Draft(nodes=nodes, tags=tags))


async def send_task(request: Request, visitor: Visitor, sent: Form) -> Response:
    draft, action = sent_draft(sent), one(sent, "action")
    plane = plane_of(request)
    try:
        order = draft.order()
        seen = await plane.read(lambda tables: preview_task(tables, order_of(tables, order)))
        surprising = not all(node.is_sure for node in seen)
        if action == LOOK or (action != SURE and surprising):
            return await _form(request, draft, seen=seen, stopped=action != LOOK)
        task = await _created(plane, visitor.name, order)
    except Refused as refusal:
        return await _form(request, draft, refusal=refusal)
    return moved(task_path(task.id))


async def _created(plane: Plane, actor: str, order: CreateTask) -> Task:
    now, limits = plane.now(), plane.settings.limits
    task = await plane.write(lambda tables: create_task(tables, actor, order_of(tables, order), now, limits))
    announce_new(plane, task)
    return task


async def _form(
    request: Request,
    draft: Draft,
    *,
    seen: Sequence[NodePreview] = (),
    stopped: bool = False,
    refusal: Refused | None = None,
) -> Response:
    """``stopped``: it was to be sent, and is not without another word."""
    plane = plane_of(request)
    now = plane.now()
    targets = await plane.read(lambda tables: _targets(tables, now))
    return render(
        request,
        "new_task.html",
        status=refusal.status if refusal else 200,
        draft=draft,
        message=refusal.message if refusal else "",
        seen=[(node, is_online(node.node.presence.last_seen, now)) for node in seen],
        stopped=stopped,
        interpreters=INTERPRETERS,
        nodes=targets.tickable,
        tags=targets.tags,
    )


def _targets(tables: Tables, now: datetime) -> _Targets:
    """Asked for at every pause of somebody who types: no more nodes are read than are shown."""
    found = tables.nodes.find(NodeQuery(), _TICKED + 1)
    tickable = [] if len(found) > _TICKED else [node for node in found if not node.disabled]
    return _Targets(tickable, sorted(tables.nodes.summary(now).tags))


def routes() -> list[BaseRoute]:
    return [page("/tasks/new", write_task), form("/tasks/new", send_task)]

"""Writing a task, and what its nodes would say to it before it is sent.

The form has two buttons: one looks, one sends. When a node would refuse the script, or nobody knows what it would say,
the form comes back once with that on it, and sends when it is told to a second time. A script in the page shows the
same while one types; without it everything works, too.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.actions.tasks import create_task, show_task
from server_stub.api.announce import announce_new
from server_stub.api.operator_tasks import order_of
from server_stub.api.plane import plane_of
from server_stub.dashboard.draft import Draft, draft_like, sent_draft
from server_stub.dashboard.forms import Form, one
from server_stub.dashboard.pages import moved, render
from server_stub.dashboard.task_orders import task_path
from server_stub.dashboard.visits import Visitor, form, page
from server_stub.errors import Refused
from server_stub.rules.task_limits import INTERPRETERS
from server_stub.store.base import Tables
from server_stub.store.records import Node, Task

_TICKED: Final = 100
"""Nodes that have a box to tick; in a larger fleet ids and tags are typed."""


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
        seen = await plane.read(lambda tables: preview(tables, order_of(tables, order), plane.now()))
        if action == "look" or (action != "sure" and any(said.verdict != "runs" for said in seen)):
            return await _form(request, draft, seen=seen, asked=action != "look")
        task = await plane.write(lambda tables: _create(tables, visitor.name, order, request))
    except Refused as refusal:
        return await _form(request, draft, refusal=refusal)
    announce_new(plane, task)
    return moved(task_path(task.id))


async def _form(
    request: Request,
    draft: Draft,
    *,
    seen: object = None,
    asked: bool = False,
    refusal: Refused | None = None,
) -> Response:
    """``asked``: it was to be sent, and is not without another word."""
    nodes = await plane_of(request).read(lambda tables: tables.nodes.all())
    return render(
        request,
        "new_task.html",
        status=refusal.status if refusal else 200,
        draft=draft,
        message=refusal.message if refusal else "",
        seen=seen,
        asked=asked,
        interpreters=INTERPRETERS,
        nodes=_tickable(nodes),
        tags=sorted({tag for node in nodes for tag in node.tags}),
    )


def _tickable(nodes: list[Node]) -> list[Node]:
    enabled = [node for node in nodes if not node.disabled]
    return enabled if len(enabled) <= _TICKED else []


def routes() -> list[BaseRoute]:
    return [page("/tasks/new", write_task), form("/tasks/new", send_task)]

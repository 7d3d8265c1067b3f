"""What an operator does to a task from its page: cancel it, do it again."""

from typing import Literal
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.actions.cancelling import cancel_task
from server_stub.actions.tasks import rerun_task
from server_stub.api.announce import announce, announce_new
from server_stub.api.plane import plane_of
from server_stub.dashboard.forms import Form, one
from server_stub.dashboard.pages import moved
from server_stub.dashboard.visits import Visitor, form


async def cancel(request: Request, visitor: Visitor, sent: Form) -> Response:
    """On the node that the form names, or on all."""
    plane = plane_of(request)
    task_id, node_id, now = request.path_params["task_id"], one(sent, "node"), plane.now()
    cancelled = await plane.write(lambda tables: cancel_task(tables, visitor.name, task_id, node_id, now))
    announce(plane, [cancelled.settled])
    for asked in cancelled.asked:
        plane.streams.cancel(asked, task_id)
    return moved(task_path(task_id, one(sent, "shown")))


async def rerun(request: Request, visitor: Visitor, sent: Form) -> Response:
    """Where it has not succeeded, or everywhere."""
    plane = plane_of(request)
    task_id, now, limits = request.path_params["task_id"], plane.now(), plane.settings.limits
    only: Literal["failed", "all"] = "all" if one(sent, "only") == "all" else "failed"
    task = await plane.write(lambda tables: rerun_task(tables, visitor.name, task_id, only, now, limits))
    announce_new(plane, task)
    return moved(task_path(task.id))


def task_path(task_id: str, node_id: str = "") -> str:
    """The page of a task, looking at one of its nodes."""
    path = f"/tasks/{quote(task_id, safe='')}"
    return f"{path}?{urlencode({'node': node_id})}" if node_id else path


def routes() -> list[BaseRoute]:
    return [form("/tasks/{task_id}/cancel", cancel), form("/tasks/{task_id}/rerun", rerun)]

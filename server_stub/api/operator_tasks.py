"""The operators' API: tasks."""

from functools import partial

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.actions import cancelling, previewing, tasks
from server_stub.actions.tasks import ShownTask, show_task
from server_stub.api.announce import announce, announce_new
from server_stub.api.answers import document
from server_stub.api.body import read_order, read_query
from server_stub.api.gate import admit_operator
from server_stub.api.orders import CancelTask, CreateTask, RerunTask
from server_stub.api.plane import Plane, plane_of
from server_stub.api.queries import FindTasks, ShowTask
from server_stub.api.shapes import TaskShape
from server_stub.api.task_views import preview_view, shown_task_view, task_view, whole_task_view
from server_stub.errors import Refused
from server_stub.rules.fan_out import FanOut
from server_stub.rules.states import OPEN_STATUSES
from server_stub.rules.tags import check_tags
from server_stub.rules.task_limits import TaskOrder, check_order
from server_stub.store.base import Tables


async def create_task(request: Request) -> Response:
    plane = plane_of(request)
    actor = await admit_operator(request)
    sent = await read_order(request, CreateTask)
    now, limits = plane.now(), plane.settings.limits

    def work(tables: Tables) -> ShownTask:
        task = tasks.create_task(tables, actor, order_of(tables, sent), now, limits)
        return show_task(tables, task.id, streams=False)

    return _created(plane, await plane.write(work))


async def rerun_task(request: Request) -> Response:
    plane = plane_of(request)
    actor = await admit_operator(request)
    only = (await read_order(request, RerunTask)).only
    task_id, now, limits = request.path_params["task_id"], plane.now(), plane.settings.limits

    def work(tables: Tables) -> ShownTask:
        task = tasks.rerun_task(tables, actor, task_id, only, now, limits)
        return show_task(tables, task.id, streams=False)

    return _created(plane, await plane.write(work))


def _created(plane: Plane, shown: ShownTask) -> Response:
    announce_new(plane, shown.task)
    return document({"task": whole_task_view(shown)})


def order_of(tables: Tables, sent: CreateTask) -> TaskOrder:
    """What is asked for, with tags turned into the nodes that have them; ``Refused`` when it cannot be."""
    nodes = [sent.node, *sent.nodes] if sent.node else sent.nodes
    if sent.tags:
        nodes = _tagged(tables, sent.tags, nodes)
    fan_out = FanOut(sent.concurrency, sent.max_failures)
    return check_order(
        *(nodes, sent.interpreter, sent.script, sent.timeout_sec, sent.output_limit),
        *(fan_out, sent.queue_timeout_sec),
    )


def _tagged(tables: Tables, given: list[str], nodes: list[str]) -> list[str]:
    if nodes:
        raise Refused(400, "give either nodes or tags")
    tags = check_tags(given)
    found = tables.nodes.tagged(tags)
    if not found:
        raise Refused(404, f"no enabled node has the tag{'' if len(tags) == 1 else 's'} {', '.join(tags)}")
    return found


async def preview_task(request: Request) -> Response:
    """The same body as a task to be created; nothing is."""
    plane = plane_of(request)
    await admit_operator(request)
    sent = await read_order(request, CreateTask)
    found = await plane.read(lambda tables: previewing.preview_task(tables, order_of(tables, sent)))
    now = plane.now()
    return document({"nodes": [preview_view(one, now) for one in found]})


async def list_tasks(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    wanted = read_query(request, FindTasks)

    def work(tables: Tables) -> list[TaskShape]:
        found = tables.tasks.newest(node_id=wanted.node, status=wanted.status, limit=wanted.limit)
        outcomes = tables.tasks.outcomes([task.id for task in found])
        return [task_view(task, outcomes[task.id]) for task in found]

    return document({"tasks": await plane.read(work)})


async def show(request: Request) -> Response:
    """With ``wait_s`` the answer comes when the task has ended, or after so many seconds as it then is."""
    await admit_operator(request)
    wanted = read_query(request, ShowTask)
    found = await _ended(request, request.path_params["task_id"], wanted.wait_s)
    view = shown_task_view(found)
    if wanted.script:
        view["script"] = found.task.script
    return document({"task": view})


async def _ended(request: Request, task_id: str, wait_s: int) -> ShownTask:
    plane, look = plane_of(request), partial(show_task, task_id=task_id)
    with plane.watch.waiting(task_id) as end:
        found = await plane.read(look)
        if not wait_s or found.task.status not in OPEN_STATUSES:
            return found
        with anyio.move_on_after(wait_s):
            async with anyio.create_task_group() as group:
                group.start_soon(_cut_when_gone, request, group.cancel_scope)
                await end.wait()
                group.cancel_scope.cancel()
    return await plane.read(look)


async def _cut_when_gone(request: Request, scope: anyio.CancelScope) -> None:
    """Who has hung up is not waited for: it would keep its connection's memory, and one of the few places to wait."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def cancel_task(request: Request) -> Response:
    """What no node has is cancelled with the answer; the nodes that have it are told to end it."""
    plane = plane_of(request)
    actor = await admit_operator(request)
    node_id = (await read_order(request, CancelTask)).node
    task_id, now = request.path_params["task_id"], plane.now()
    cancelled = await plane.write(lambda tables: cancelling.cancel_task(tables, actor, task_id, node_id, now))
    announce(plane, [cancelled.settled])
    for asked in cancelled.asked:
        plane.streams.cancel(asked, task_id)
    return document({"task": whole_task_view(cancelled.shown)})


def routes() -> list[BaseRoute]:
    return [
        Route("/api/v1/tasks", create_task, methods=["POST"]),
        Route("/api/v1/tasks", list_tasks, methods=["GET"]),
        Route("/api/v1/tasks/preview", preview_task, methods=["POST"]),
        Route("/api/v1/tasks/{task_id}", show, methods=["GET"]),
        Route("/api/v1/tasks/{task_id}/cancel", cancel_task, methods=["POST"]),
        Route("/api/v1/tasks/{task_id}/rerun", rerun_task, methods=["POST"]),
    ]

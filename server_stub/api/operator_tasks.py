"""The operators' API, second part: tasks, the audit, the kill switch."""

from functools import partial

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.actions import tasks
from server_stub.actions.tasks import TaskWithResults, show_task
from server_stub.api.answers import document
from server_stub.api.body import read_order, read_query
from server_stub.api.gate import admit_operator
from server_stub.api.orders import CreateTask, Nothing, SetKillSwitch
from server_stub.api.plane import Plane, plane_of
from server_stub.api.queries import FindEvents, FindTasks, ShowTask
from server_stub.api.views import audit_view, result_view, task_view
from server_stub.rules.states import OPEN_STATUSES
from server_stub.rules.task_limits import check_order
from server_stub.store.base import Tables
from server_stub.store.records import AuditEvent, Task


async def create_task(request: Request) -> Response:
    plane = plane_of(request)
    actor = await admit_operator(request)
    sent = await read_order(request, CreateTask)
    nodes = [sent.node, *sent.nodes] if sent.node else sent.nodes
    order = check_order(nodes, sent.interpreter, sent.script, sent.timeout_sec, sent.output_limit)
    now, limits = plane.now(), plane.settings.limits

    def work(tables: Tables) -> Task:
        return tasks.create_task(tables, actor, order, now, limits)

    return document({"task": task_view(await plane.write(work))})


async def list_tasks(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    wanted = read_query(request, FindTasks)

    def work(tables: Tables) -> list[Task]:
        return tables.tasks.newest(node_id=wanted.node, status=wanted.status, limit=wanted.limit)

    found = await plane.read(work)
    return document({"tasks": [task_view(task) for task in found]})


async def show(request: Request) -> Response:
    """With ``wait_s`` the answer comes when the task has ended, or after so many seconds as it then is."""
    plane = plane_of(request)
    await admit_operator(request)
    wanted = read_query(request, ShowTask)
    found = await _ended(plane, request.path_params["task_id"], wanted.wait_s)
    return document({"task": {**task_view(found.task), "results": [result_view(result) for result in found.results]}})


async def _ended(plane: Plane, task_id: str, wait_s: int) -> TaskWithResults:
    look = partial(show_task, task_id=task_id)
    with plane.watch.waiting(task_id) as end:
        found = await plane.read(look)
        if not wait_s or found.task.status not in OPEN_STATUSES:
            return found
        with anyio.move_on_after(wait_s):
            await end.wait()
    return await plane.read(look)


async def cancel_task(request: Request) -> Response:
    plane = plane_of(request)
    actor = await admit_operator(request)
    await read_order(request, Nothing)
    task_id, now = request.path_params["task_id"], plane.now()
    task = await plane.write(lambda tables: tasks.cancel_task(tables, actor, task_id, now))
    plane.watch.ended([task_id])
    return document({"task": task_view(task)})


async def list_audit(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    wanted = read_query(request, FindEvents)

    def work(tables: Tables) -> list[AuditEvent]:
        return tables.audit.newest(action=wanted.action, node_id=wanted.node, limit=wanted.limit)

    events = await plane.read(work)
    return document({"events": [audit_view(event) for event in events]})


async def show_kill_switch(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    disabled = await plane.read(lambda tables: tables.switches.task_execution_disabled())
    return document({"task_execution_disabled": disabled})


async def set_kill_switch(request: Request) -> Response:
    """``enabled`` is the switch's own position: true stops the fleet."""
    plane = plane_of(request)
    actor = await admit_operator(request)
    order = await read_order(request, SetKillSwitch)
    now = plane.now()
    disabled = await plane.write(lambda tables: tasks.set_kill_switch(tables, actor, order.enabled, now))
    return document({"task_execution_disabled": disabled})


def routes() -> list[BaseRoute]:
    return [
        Route("/api/v1/tasks", create_task, methods=["POST"]),
        Route("/api/v1/tasks", list_tasks, methods=["GET"]),
        Route("/api/v1/tasks/{task_id}", show, methods=["GET"]),
        Route("/api/v1/tasks/{task_id}/cancel", cancel_task, methods=["POST"]),
        Route("/api/v1/audit", list_audit, methods=["GET"]),
        Route("/api/v1/kill-switch", show_kill_switch, methods=["GET"]),
        Route("/api/v1/kill-switch", set_kill_switch, methods=["POST"]),
    ]

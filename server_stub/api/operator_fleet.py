"""The operators' API: what concerns the whole fleet, the audit and the kill switch."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.actions import tasks
from server_stub.api.answers import document
from server_stub.api.body import read_order, read_query
from server_stub.api.gate import admit_operator
from server_stub.api.orders import SetKillSwitch
from server_stub.api.plane import plane_of
from server_stub.api.queries import FindEvents
from server_stub.api.views import audit_view
from server_stub.store.base import Tables
from server_stub.store.records import AuditEvent


async def list_audit(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    wanted = read_query(request, FindEvents)

    def work(tables: Tables) -> list[AuditEvent]:
        return tables.audit.newest(
            action=wanted.action,
            node_id=wanted.node,
            limit=wanted.limit,
            words=wanted.q,
            before=wanted.before or None,
        )

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

    def work(tables: Tables) -> tuple[bool, list[str]]:
        disabled = tasks.set_kill_switch(tables, actor, order.enabled, now)
        return disabled, [] if disabled else tables.tasks.waiting_nodes()

    disabled, waiting = await plane.write(work)
    plane.streams.wake(waiting)
    return document({"task_execution_disabled": disabled})


def routes() -> list[BaseRoute]:
    return [
        Route("/api/v1/audit", list_audit, methods=["GET"]),
        Route("/api/v1/kill-switch", show_kill_switch, methods=["GET"]),
        Route("/api/v1/kill-switch", set_kill_switch, methods=["POST"]),
    ]

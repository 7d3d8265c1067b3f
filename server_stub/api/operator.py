"""The operators' API under ``/api/v1`` (docs/protocol.md): routes, and the endpoints of operators. Nodes, tasks, users
and the rest have files of their own."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.actions import registry
from server_stub.actions.sessions import set_password
from server_stub.api import (
    operator_fleet,
    operator_metrics,
    operator_nodes,
    operator_streams,
    operator_tasks,
    operator_usage,
)
from server_stub.api.answers import document
from server_stub.api.body import read_order
from server_stub.api.gate import admit_operator
from server_stub.api.orders import AddOperator, Nothing, SetPassword
from server_stub.api.plane import plane_of
from server_stub.api.views import operator_view
from server_stub.ids import new_operator_token
from server_stub.rules.passwords import check_password
from server_stub.store.base import Tables
from server_stub.store.records import Operator


async def add_operator(request: Request) -> Response:
    """The token is in this answer and nowhere else."""
    plane = plane_of(request)
    actor = await admit_operator(request)
    order = await read_order(request, AddOperator)
    token, now = new_operator_token(), plane.now()
    limit = plane.settings.limits.operators

    def work(tables: Tables) -> Operator:
        return registry.add_operator(tables, actor, order.name, token, now, limit)

    return document({"operator": operator_view(await plane.write(work)), "token": token})


async def list_operators(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    operators = await plane.read(lambda tables: tables.operators.all())
    return document({"operators": [operator_view(operator) for operator in operators]})


async def revoke_operator(request: Request) -> Response:
    plane = plane_of(request)
    actor = await admit_operator(request)
    await read_order(request, Nothing)
    name, now = request.path_params["name"], plane.now()
    operator = await plane.write(lambda tables: registry.revoke_operator(tables, actor, name, now))
    return document({"operator": operator_view(operator)})


async def change_password(request: Request) -> Response:
    """Sets what the operator signs in to the web page with, or clears it with null; its sessions end."""
    plane = plane_of(request)
    actor = await admit_operator(request)
    order = await read_order(request, SetPassword)
    encoded = None if order.password is None else await plane.passwords.hash(check_password(order.password))
    name, now = request.path_params["name"], plane.now()
    operator = await plane.write(lambda tables: set_password(tables, actor, name, encoded, now))
    return document({"operator": operator_view(operator)})


def routes() -> list[BaseRoute]:
    """Everything under ``/api/v1``."""
    return [
        Route("/api/v1/operators", add_operator, methods=["POST"]),
        Route("/api/v1/operators", list_operators, methods=["GET"]),
        Route("/api/v1/operators/{name}/revoke", revoke_operator, methods=["POST"]),
        Route("/api/v1/operators/{name}/password", change_password, methods=["POST"]),
        *operator_nodes.routes(),
        *operator_metrics.routes(),
        *operator_usage.routes(),
        *operator_tasks.routes(),
        *operator_streams.routes(),
        *operator_fleet.routes(),
    ]

"""The operators' API under ``/api/v1`` (docs/protocol.md): routes, and the endpoints of nodes and operators. Tasks and
the audit, users and usage have files of their own."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.actions import registry
from server_stub.api import operator_tasks, operator_usage
from server_stub.api.answers import document
from server_stub.api.body import read_order
from server_stub.api.gate import admit_operator
from server_stub.api.orders import (
    AddNode,
    AddOperator,
    ConfigureNode,
    DisableNode,
    Nothing,
    SetIpConfig,
)
from server_stub.api.plane import plane_of
from server_stub.api.views import inventory_view, node_view, operator_view
from server_stub.errors import Refused
from server_stub.ids import new_node_token, new_operator_token
from server_stub.store.base import Tables
from server_stub.store.records import Node, Operator, StoredInventory
from server_stub.times import text


async def add_node(request: Request) -> Response:
    """The token is in this answer and nowhere else."""
    plane = plane_of(request)
    actor = await admit_operator(request)
    order = await read_order(request, AddNode)
    token, now = new_node_token(), plane.now()
    limit = plane.settings.limits.nodes

    def work(tables: Tables) -> Node:
        return registry.add_node(tables, actor, order.id, order.name, token, now, limit)

    return document({"node": node_view(await plane.write(work), now), "token": token})


async def list_nodes(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    now = plane.now()
    nodes = await plane.read(lambda tables: tables.nodes.all())
    return document({"nodes": [node_view(node, now) for node in nodes]})


async def show_node(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    node = await plane.read(partial(registry.get_node, node_id=request.path_params["node_id"]))
    return document({"node": node_view(node, plane.now())})


async def show_inventory(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    node_id = request.path_params["node_id"]

    def work(tables: Tables) -> StoredInventory | None:
        registry.get_node(tables, node_id)
        return tables.nodes.inventory(node_id)

    return document(inventory_view(await plane.read(work)))


async def rotate_node(request: Request) -> Response:
    plane = plane_of(request)
    actor = await admit_operator(request)
    await read_order(request, Nothing)
    node_id, token, now = request.path_params["node_id"], new_node_token(), plane.now()
    await plane.write(lambda tables: registry.rotate_token(tables, actor, node_id, token, now))
    return document({"token": token})


async def disable_node(request: Request) -> Response:
    plane = plane_of(request)
    actor = await admit_operator(request)
    order = await read_order(request, DisableNode)
    node_id, now = request.path_params["node_id"], plane.now()
    node = await plane.write(lambda tables: registry.set_disabled(tables, actor, node_id, order.disabled, now))
    return document({"node": node_view(node, now)})


async def configure_node(request: Request) -> Response:
    plane = plane_of(request)
    actor = await admit_operator(request)
    order = await read_order(request, ConfigureNode)
    node_id, now = request.path_params["node_id"], plane.now()
    overrides = order.model_dump(mode="json", exclude_defaults=True)
    if order.ip_config is not None:
        overrides["ip_config"]["updated_at"] = text(now)
        overrides["ip_config"] |= _script_digest(order.ip_config)
    node = await plane.write(lambda tables: registry.set_overrides(tables, actor, node_id, overrides, now))
    return document({"node": node_view(node, now)})


def _script_digest(ip_config: SetIpConfig) -> dict[str, str]:
    """The script trimmed, and the 16 digits that are for display."""
    script = ip_config.script.strip()
    if bool(script) != (ip_config.mode == "script"):
        raise Refused(400, "ip_config.script: needed with mode script, and only then")
    return {"script": script, "script_sha256": registry.short_digest(script)} if script else {}


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


def routes() -> list[BaseRoute]:
    """Everything under ``/api/v1``."""
    return [
        Route("/api/v1/nodes", add_node, methods=["POST"]),
        Route("/api/v1/nodes", list_nodes, methods=["GET"]),
        Route("/api/v1/nodes/{node_id}", show_node, methods=["GET"]),
        Route("/api/v1/nodes/{node_id}/inventory", show_inventory, methods=["GET"]),
        Route("/api/v1/nodes/{node_id}/rotate", rotate_node, methods=["POST"]),
        Route("/api/v1/nodes/{node_id}/disable", disable_node, methods=["POST"]),
        Route("/api/v1/nodes/{node_id}/config", configure_node, methods=["PUT"]),
        Route("/api/v1/operators", add_operator, methods=["POST"]),
        Route("/api/v1/operators", list_operators, methods=["GET"]),
        Route("/api/v1/operators/{name}/revoke", revoke_operator, methods=["POST"]),
        *operator_usage.routes(),
        *operator_tasks.routes(),
    ]

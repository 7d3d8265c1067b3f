"""The operators' API: nodes."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.actions import registry
from server_stub.api.answers import document
from server_stub.api.body import read_order
from server_stub.api.gate import admit_operator
from server_stub.api.orders import AddNode, ConfigureNode, DisableNode, DrainNode, Nothing, SetIpConfig, TagNode
from server_stub.api.plane import Plane, plane_of
from server_stub.api.shapes import NodeShape
from server_stub.api.views import inventory_view, node_view
from server_stub.errors import Refused
from server_stub.ids import new_node_token
from server_stub.rules.tags import check_tags
from server_stub.store.base import Tables
from server_stub.store.records import Node, StoredInventory
from server_stub.times import text


async def add_node(request: Request) -> Response:
    """The token is in this answer and nowhere else."""
    plane = plane_of(request)
    actor = await admit_operator(request)
    order = await read_order(request, AddNode)
    tags, token, now = check_tags(order.tags), new_node_token(), plane.now()
    limit = plane.settings.limits.nodes

    def work(tables: Tables) -> Node:
        return registry.add_node(tables, actor, order.id, order.name, token, now, limit, tags)

    return document({"node": _view(plane, await plane.write(work)), "token": token})


async def list_nodes(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    nodes = await plane.read(lambda tables: tables.nodes.all())
    return document({"nodes": [_view(plane, node) for node in nodes]})


async def show_node(request: Request) -> Response:
    plane = plane_of(request)
    await admit_operator(request)
    node = await plane.read(partial(registry.get_node, node_id=request.path_params["node_id"]))
    return document({"node": _view(plane, node)})


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
    return document({"node": _view(plane, node)})


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
    return document({"node": _view(plane, node)})


def _script_digest(ip_config: SetIpConfig) -> dict[str, str]:
    """The script trimmed, and the 16 digits that are for display."""
    script = ip_config.script.strip()
    if bool(script) != (ip_config.mode == "script"):
        raise Refused(400, "ip_config.script: needed with mode script, and only then")
    return {"script": script, "script_sha256": registry.short_digest(script)} if script else {}


async def tag_node(request: Request) -> Response:
    """Changes what later tasks are for; those that exist keep their nodes."""
    plane = plane_of(request)
    actor = await admit_operator(request)
    tags = check_tags((await read_order(request, TagNode)).tags)
    node_id, now = request.path_params["node_id"], plane.now()
    node = await plane.write(lambda tables: registry.set_tags(tables, actor, node_id, tags, now))
    return document({"node": _view(plane, node)})


async def drain_node(request: Request) -> Response:
    """A draining node is handed nothing; what it has may end."""
    plane = plane_of(request)
    actor = await admit_operator(request)
    order = await read_order(request, DrainNode)
    node_id, now = request.path_params["node_id"], plane.now()
    node = await plane.write(lambda tables: registry.set_draining(tables, actor, node_id, order.draining, now))
    plane.streams.drain(node_id, order.draining)
    if not order.draining:
        plane.streams.wake([node_id])
    return document({"node": _view(plane, node)})


def _view(plane: Plane, node: Node) -> NodeShape:
    return node_view(node, plane.now(), control_stream=plane.streams.connected(node.id))


def routes() -> list[BaseRoute]:
    return [
        Route("/api/v1/nodes", add_node, methods=["POST"]),
        Route("/api/v1/nodes", list_nodes, methods=["GET"]),
        Route("/api/v1/nodes/{node_id}", show_node, methods=["GET"]),
        Route("/api/v1/nodes/{node_id}/inventory", show_inventory, methods=["GET"]),
        Route("/api/v1/nodes/{node_id}/rotate", rotate_node, methods=["POST"]),
        Route("/api/v1/nodes/{node_id}/disable", disable_node, methods=["POST"]),
        Route("/api/v1/nodes/{node_id}/tags", tag_node, methods=["POST"]),
        Route("/api/v1/nodes/{node_id}/drain", drain_node, methods=["POST"]),
        Route("/api/v1/nodes/{node_id}/config", configure_node, methods=["PUT"]),
    ]

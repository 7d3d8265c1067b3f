"""The fleet: all nodes, and adding one."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.api.plane import plane_of
from server_stub.dashboard.pages import render
from server_stub.dashboard.visits import Visitor, page


async def show_fleet(request: Request, _visitor: Visitor) -> Response:
    plane = plane_of(request)
    nodes = await plane.read(lambda tables: tables.nodes.all())
    return render(request, "fleet.html", nodes=nodes, now=plane.now())


def routes() -> list[BaseRoute]:
    return [page("/nodes", show_fleet)]

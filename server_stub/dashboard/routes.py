"""The pages and their paths."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.dashboard import (
    audit,
    enrolling,
    fleet,
    login,
    new_task,
    node,
    own_password,
    static,
    task,
    task_orders,
    tasks,
    usage,
)
from server_stub.dashboard.pages import moved


async def home(_request: Request) -> Response:
    return moved("/nodes")


def dashboard_routes() -> list[BaseRoute]:
    """Everything that is no API."""
    return [
        Route("/", home, methods=["GET"]),
        *static.routes(),
        *login.routes(),
        *own_password.routes(),
        *fleet.routes(),
        *enrolling.routes(),
        *node.routes(),
        *usage.routes(),
        *audit.routes(),
        *tasks.routes(),
        *new_task.routes(),
        *task.routes(),
        *task_orders.routes(),
    ]

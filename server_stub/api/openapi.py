"""GET /api/v1/openapi.json: what this server answers to, for tools. It is the same for everybody and tells nothing of
the fleet, so it asks for no token; the rate of the address bounds it."""

from functools import cache

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.api.answers import json_bytes
from server_stub.api.gate import admit_anyone
from server_stub.api.health import SERVER_VERSION


async def show_description(request: Request) -> Response:
    admit_anyone(request)
    return json_bytes(_encoded())


@cache
def _encoded() -> bytes:
    """Made when somebody asks for the first time: most servers are never asked."""
    from server_stub.api.description.document import document

    return to_json(document(SERVER_VERSION))


def routes() -> list[BaseRoute]:
    return [Route("/api/v1/openapi.json", show_description, methods=["GET"])]

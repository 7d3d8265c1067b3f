"""WebSockets of the base wire (protocol reference 1.13): the control stream, on which nothing is sent yet, and the
terminal stream, which has no sessions. The ASGI server pings (25 s, 75 s for the answer) and bounds messages."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from server_stub.api.gate import admit_node_by_query
from server_stub.api.plane import plane_of
from server_stub.errors import Refused


async def control_stream(websocket: WebSocket) -> None:
    """Stays open until the agent leaves; what an agent says is read and forgotten."""
    plane = plane_of(websocket)
    node_id = await admit_node_by_query(websocket)
    with plane.streams.open(node_id):
        await websocket.accept()
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass


async def terminal_stream(websocket: WebSocket) -> None:
    await admit_node_by_query(websocket)
    _no_session(websocket.query_params.get("session_id", ""))


async def no_upgrade(request: Request) -> Response:
    """The paths of the WebSockets, asked for without an upgrade."""
    await admit_node_by_query(request)
    raise Refused(400, "websocket upgrade required")


def _no_session(session_id: str) -> None:
    if not session_id:
        raise Refused(400, "session_id is required")
    raise Refused(404, "terminal session not found")


def routes() -> list[BaseRoute]:
    return [
        WebSocketRoute("/api/agent/control/stream", control_stream),
        Route("/api/agent/control/stream", no_upgrade, methods=["GET"]),
        WebSocketRoute("/api/agent/terminal/stream", terminal_stream),
        Route("/api/agent/terminal/stream", no_upgrade, methods=["GET"]),
    ]

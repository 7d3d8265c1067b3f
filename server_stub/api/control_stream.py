"""The control stream of the agent (protocol reference 1.13; extension ``control.tasks``): orders go out, and what
agents say of their runs comes in. The terminal stream has no sessions.

The ASGI server pings (25 s, 75 s for the answer), bounds frames, and reads no more while one waits to be taken. So an
agent that says more than its rate is read that much slower, and is otherwise not disturbed. What cannot be understood,
or is said of somebody else's run, is dropped: a newer agent may say it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from lattice_agent.wire.base import WireError, decode, encode
from lattice_agent.wire.control import OUTPUT_FROM, TASK_RUNNING, Order, Running, decode_chunk
from server_stub.actions.runs import standing_orders, take_running
from server_stub.api.agent_streams import AgentStream
from server_stub.api.gate import admit_node, admit_node_by_query, confirm_node
from server_stub.api.plane import Plane, plane_of
from server_stub.errors import Refused
from server_stub.rules.live_output import Taken

_LOG: Final = logging.getLogger("lattice_control.streams")
_SLOWER_S: Final = 0.05
_KEPT_AFTER_LEASE_S: Final = 600.0
"""Output of a run whose lease has died without a result can be looked at for so long."""


async def control_stream(websocket: WebSocket) -> None:
    """Stays open until the agent leaves, its credential is no longer good, or the server stops."""
    plane = plane_of(websocket)
    credential = await admit_node(websocket)
    await confirm_node(websocket, credential, websocket.query_params.get("node_id", ""))
    now = plane.clock.monotonic()
    # First, or one node could use up what is for all.
    if not plane.rates.node_streams.take(credential.node_id, now):
        wait_s = 1 / plane.settings.limits.node_stream_rate
        raise Refused(429, "this node opens too many control streams", retry_after_s=wait_s)
    wait_s = plane.rates.streams(now)
    if wait_s:
        raise Refused(429, "too many control streams are opened at once", retry_after_s=wait_s)
    with plane.streams.open(credential) as stream:  # first, so that no order is missed while the database is asked
        try:
            await websocket.accept()
            async with anyio.create_task_group() as group:
                group.start_soon(_speak, plane, stream, websocket, group.cancel_scope)
                await _listen(plane, stream, websocket)
                group.cancel_scope.cancel()
        except* WebSocketDisconnect:
            pass


async def _speak(plane: Plane, stream: AgentStream, websocket: WebSocket, scope: anyio.CancelScope) -> None:
    node_id = stream.credential.node_id
    for standing in await plane.read(partial(standing_orders, node_id=node_id, now=plane.now())):
        await _send(websocket, standing)
    while (order := await stream.next()) is not None:
        await _send(websocket, order)
    if stream.closed_with is not None:
        with _unless_closed():
            await websocket.close(*stream.closed_with)
    scope.cancel()


async def _send(websocket: WebSocket, order: Order) -> None:
    with _unless_closed():
        await websocket.send_text(encode(order).decode())


@contextmanager
def _unless_closed() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # the ASGI server has begun to close it, and the end is about to be received
        raise WebSocketDisconnect from error


async def _listen(plane: Plane, stream: AgentStream, websocket: WebSocket) -> None:
    node_id = stream.credential.node_id
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        while not plane.rates.frames.take(node_id, plane.clock.monotonic()):  # noqa: ASYNC110  # it fills with time
            await anyio.sleep(_SLOWER_S)
        if stream.closed_with is not None:  # a node that does not read holds its stream open, and is not listened to
            continue
        try:
            if message.get("bytes") is not None:
                _take_chunk(plane, stream, message["bytes"])
            else:
                await _take_text(plane, stream, message["text"].encode("utf-8", "replace"))
        except WireError as error:
            _LOG.debug("node %s: a frame was dropped: %s", node_id, error)


async def _take_text(plane: Plane, stream: AgentStream, text: bytes) -> None:
    said = decode(Running, text)
    if said.type != TASK_RUNNING:
        return
    node_id = stream.credential.node_id
    run = await plane.run_sync(partial(take_running, plane.store, node_id, said, plane.now()))
    if run is None:
        _LOG.debug("node %s: a run that is not leased to it was dropped", node_id)
        return
    monotonic = plane.clock.monotonic()
    until = monotonic + (run.lease_expires_at - plane.now()).total_seconds() + _KEPT_AFTER_LEASE_S
    position = plane.live.begin(said.task_id, node_id, said.lease_id, run.output_limit, until, monotonic)
    _ask_from(stream, said.task_id, said.lease_id, position)
    if run.is_news:
        plane.watch.changed([said.task_id])


def _take_chunk(plane: Plane, stream: AgentStream, frame: bytes) -> None:
    header, data = decode_chunk(frame)
    taken, position = plane.live.add(stream.credential.node_id, header, data)
    if taken is Taken.GAP:
        _ask_from(stream, header.task_id, header.lease_id, position)


def _ask_from(stream: AgentStream, task_id: str, lease_id: str, position: int) -> None:
    stream.say(Order(type=OUTPUT_FROM, task_id=task_id, lease_id=lease_id, position=position))


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

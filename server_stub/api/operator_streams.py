"""The operators' API, event streams: how a task fares, and the live output of one of its targets (docs/protocol.md,
section 8).

Live output is what has arrived of a run; the stored result is what counts, and replaces it at the end.
"""

import base64
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.actions.runs import TargetNow, look_at_target
from server_stub.actions.tasks import show_task
from server_stub.api.event_stream import EventStream, Write, event, news
from server_stub.api.gate import admit_viewer
from server_stub.api.plane import Plane, plane_of
from server_stub.api.task_views import result_view, told_task_view
from server_stub.api.watch import Watcher
from server_stub.errors import Refused
from server_stub.rules.live_output import OutputLog
from server_stub.rules.outcomes import describe
from server_stub.rules.states import OPEN_STATUSES

_PAUSE_S: Final = 0.2
"""Between two events of a task: a fleet's worth of targets may change in that time."""
_AT_ONCE: Final = 16_384
"""Bytes of output in one event, and about the bytes of events that are handed to the socket at once."""


async def task_events(request: Request) -> Response:
    """``task`` now and after each change; ``end`` when it has ended."""
    plane = plane_of(request)
    await admit_viewer(request)
    task_id = request.path_params["task_id"]
    await plane.read(partial(show_task, task_id=task_id, streams=False))
    tell = partial(_tell_task, plane, task_id)
    return EventStream(plane.watch.following(task_id), tell, partial(admit_viewer, request))


async def _tell_task(plane: Plane, task_id: str, watcher: Watcher, write: Write) -> None:
    while True:
        found = await plane.read(partial(show_task, task_id=task_id, streams=False))
        ended = found.task.status not in OPEN_STATUSES
        await write(event("end" if ended else "task", told_task_view(found)))
        if ended:
            return
        may_tell = anyio.current_time() + _PAUSE_S
        await news(watcher, write)
        await anyio.sleep_until(may_tell)


async def target_output(request: Request) -> Response:
    """``output`` from the position given, ``reset`` where that is gone, and ``result`` or ``end`` at the end."""
    plane = plane_of(request)
    await admit_viewer(request)
    task_id, node_id = request.path_params["task_id"], request.query_params.get("node", "")
    if not node_id:
        raise Refused(400, "node is required")
    position = _position(request)
    await plane.read(partial(look_at_target, task_id=task_id, node_id=node_id))
    viewer = _Viewer(plane, task_id, node_id, position)
    return EventStream(plane.watch.following(task_id), viewer.tell, partial(admit_viewer, request))


def _position(request: Request) -> int:
    """What an EventSource knows by itself when it connects again counts before what its address says."""
    for name, given in (
        ("Last-Event-ID", request.headers.get("last-event-id", "")),
        ("position", request.query_params.get("position", "")),
    ):
        if given:
            if not (given.isascii() and given.isdigit() and len(given) <= 15):
                raise Refused(400, f"{name} must be a whole number that is not negative")
            return int(given)
    return 0


@dataclass
class _Viewer:
    """Somebody who looks at the output of one target, and has seen it up to ``position`` of ``log``."""

    plane: Plane
    task_id: str
    node_id: str
    position: int
    log: OutputLog | None = None

    async def tell(self, watcher: Watcher, write: Write) -> None:
        look = partial(look_at_target, task_id=self.task_id, node_id=self.node_id)
        changed = True
        with self.plane.live.viewed(self.task_id, self.node_id, watcher):
            while True:
                now = await self.plane.read(look) if changed else TargetNow()
                if now.ended is not None and now.result is not None:
                    await write(event("result", {"result": result_view(now.result, now.ended)}))
                    return
                await self._catch_up(write)
                if now.ended is not None:
                    ending = describe(now.ended)
                    await write(event("end", {"outcome": ending.outcome, "text": ending.text}))
                    return
                changed = await news(watcher, write)

    async def _catch_up(self, write: Write) -> None:
        """Ends early when the log is no longer this one: the watcher has rung then."""
        known, self.log = self.log, self._current()
        if self.position and (self.log is None or self.position > self.log.end or known not in (None, self.log)):
            self.position = 0
            # With an id: a browser whose connection ends now would come back with the last one, which counts for
            # what has just been cleared.
            await write(event("reset", {}, 0))
        while self.log is not None and self.log is self._current() and self.position < self.log.end:
            events, self.position = _output_events(self.log, self.position)
            await write(events)

    def _current(self) -> OutputLog | None:
        return self.plane.live.log(self.task_id, self.node_id)


def _output_events(log: OutputLog, position: int) -> tuple[bytes, int]:
    """Events from this position on, as many as go at once, and the position after them."""
    events = bytearray()
    while len(events) < _AT_ONCE and (piece := log.read(position, _AT_ONCE)) is not None:
        data = base64.b64encode(piece.data).decode("ascii")
        shown = {"stream": piece.stream, "position": piece.position, "offset": piece.offset, "data": data}
        events += event("output", shown, piece.end)
        position = piece.end
    return bytes(events), position


def routes() -> list[BaseRoute]:
    return [
        Route("/api/v1/tasks/{task_id}/events", task_events, methods=["GET"]),
        Route("/api/v1/tasks/{task_id}/output", target_output, methods=["GET"]),
    ]

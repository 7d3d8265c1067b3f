"""Answers that go on: ``text/event-stream`` (WHATWG HTML, section 9.2).

Theory of operation. An event is handed to the socket before the next one is made, so a reader that does not read costs
its socket's buffer and one event. The answer ends when its story has been told, when the reader has gone or may look no
more, or when the server stops; it is then cut wherever it waits.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server_stub.api.watch import Watcher
from server_stub.errors import Refused

ALIVE: Final = b": alive\n\n"
ALIVE_S: Final = 15.0
"""A comment is sent after so long without an event: proxies in between close what is silent, and a reader that has gone
is noticed."""
ADMIT_S: Final = 15.0
"""So often the reader is admitted anew: one who was revoked or has signed out sees no more than that."""


def event(name: str, data: Mapping[str, Any], event_id: int | None = None) -> bytes:
    """One event. JSON has no line ends in it, so the data is one line."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    last = "" if event_id is None else f"id: {event_id}\n"
    return f"event: {name}\n{last}data: {text}\n\n".encode()


Write = Callable[[bytes], Awaitable[None]]
Tell = Callable[[Watcher, Write], Awaitable[None]]
Admit = Callable[[], Awaitable[object]]


class EventStream(Response):
    """``tell`` writes events until there are no more. ``following`` is held meanwhile; what it refuses is answered as
    any other refusal. ``admit`` raises ``Refused`` once the reader may not look any more."""

    media_type = "text/event-stream"

    def __init__(self, following: AbstractContextManager[Watcher], tell: Tell, admit: Admit) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._following = following
        self._tell = tell
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":  # the framework offers it wherever there is GET; it has no story
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return

        async def write(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        with self._following as watcher:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async with anyio.create_task_group() as group:
                group.start_soon(_cut_when_gone, receive, group.cancel_scope)
                group.start_soon(_cut_at_stop, watcher, group.cancel_scope)
                group.start_soon(_cut_when_refused, self._admit, group.cancel_scope)
                await self._tell(watcher, write)
                group.cancel_scope.cancel()
            await send({"type": "http.response.body", "body": b""})


async def _cut_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _cut_at_stop(watcher: Watcher, scope: anyio.CancelScope) -> None:
    await watcher.closing.wait()
    scope.cancel()


async def _cut_when_refused(admit: Admit, scope: anyio.CancelScope) -> None:
    try:
        while True:
            await anyio.sleep(ADMIT_S)
            await admit()
    except Refused:
        scope.cancel()


async def news(watcher: Watcher, write: Write) -> bool:
    """Until the watcher has rung; what ``Watcher.wait`` says. Meanwhile the reader is told that the stream lives."""
    while True:
        with anyio.move_on_after(ALIVE_S):
            return await watcher.wait()
        await write(ALIVE)

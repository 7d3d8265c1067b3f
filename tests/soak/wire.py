"""The wire between one agent and the control plane, with trouble on it. TLS goes through it from end to end.

It relays bytes: connections can be cut, swallow everything, or be slow. Wrong answers come from another server that has
the control plane's certificate; while they last, that is who is connected to.
"""

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

PIECE: Final = 16_384
REQUEST_BYTES: Final = 65_536
"""A wrong answer comes once the head of the request is there, or so much."""
_HUNG_UP = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError)

WRONG_ANSWERS: Final = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 19\r\n\r\n<h1>Server Error</h",
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 11\r\n\r\n<h1>502</h1",
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 1000\r\n\r\ncut off",
    b"HTTP/1.1 5",
    b"\x15\x03\x03 this is no HTTP at all\r\n\r\n",
    b"",
)
"""Those that a proxy in trouble gives. None says that a request was taken: that would be a lie which no agent can see.
None is 400 or 401: the agent keeps off for minutes then, as it should, and the soak would wait."""


class Wire:
    """Listens on ``port``; relays to the control plane's."""

    def __init__(self, upstream: int) -> None:
        self.port = 0
        self._upstream = upstream
        self._instead: int | None = None
        self._passable = trio.Event()
        self._passable.set()
        self._pace: float | None = None
        self._open: set[trio.CancelScope] = set()

    def cut(self) -> None:
        """Ends all connections."""
        for scope in list(self._open):
            scope.cancel()

    def hold(self) -> None:
        """Swallows everything from now on; what is swallowed arrives after ``release``, as after a black hole."""
        self._passable = trio.Event()

    def slow(self, bytes_per_s: float) -> None:
        self._pace = bytes_per_s

    def divert(self, port: int) -> None:
        """All connections end, and new ones lead to another server."""
        self._instead = port
        self.cut()

    def release(self) -> None:
        """Ends all trouble."""
        self._passable.set()
        self._pace = None
        if self._instead is not None:
            self._instead = None
            self.cut()

    async def handle(self, near: trio.SocketStream) -> None:
        """One connection, until either side or ``cut`` ends it."""
        with trio.CancelScope() as scope, suppress(*_HUNG_UP):
            self._open.add(scope)
            try:
                far = await trio.open_tcp_stream("127.0.0.1", self._instead or self._upstream)
                async with near, far, trio.open_nursery() as nursery:
                    for source, sink in ((near, far), (far, near)):
                        nursery.start_soon(self._relay, source, sink, scope)
            finally:
                self._open.discard(scope)

    async def _relay(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        with suppress(*_HUNG_UP):
            while data := await source.receive_some(PIECE):
                await self._passable.wait()
                if self._pace is not None:
                    await trio.sleep(len(data) / self._pace)
                await sink.send_all(data)
        scope.cancel()


@asynccontextmanager
async def open_wire(upstream: int) -> AsyncIterator[Wire]:
    """A wire on loopback, to the end of the block."""
    wire = Wire(upstream)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    wire.port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, wire.handle, [listener])
        yield wire
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def wrong_answers(context: ssl.SSLContext, chance: random.Random) -> AsyncIterator[int]:
    """The port of a server that answers each request with one of ``WRONG_ANSWERS``."""

    async def answer(plain: trio.SocketStream) -> None:
        stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
        with suppress(*_HUNG_UP), trio.move_on_after(30):
            head = b""
            while b"\r\n\r\n" not in head and len(head) < REQUEST_BYTES:
                if not (data := await stream.receive_some(PIECE)):
                    return
                head += data
            await stream.send_all(chance.choice(WRONG_ANSWERS))
            await stream.aclose()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()

"""The server's side of the control stream, as wrong as a test needs: silent, cut off, too long, not reading.

``Peer`` speaks WebSocket over any stream of bytes; ``ControlServer`` is a small HTTP server on loopback around it.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import trio
import wsproto
from wsproto.connection import Connection, ConnectionType
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Message, Ping, Pong, Request, TextMessage

from lattice_agent.wire.base import encode
from lattice_agent.wire.control import ChunkHeader, Order, decode_chunk
from tests.rigs.transport import http_answer

PATH = b"/api/agent/control/stream"


class Peer:
    """One stream. What the agent sends is read all the time, while ``reads`` is on, and waits in ``next``."""

    def __init__(self, stream: trio.abc.Stream, connection: Any = None) -> None:
        """``connection``: wsproto's, if there was a handshake."""
        self._stream = stream
        self._connection = connection or Connection(ConnectionType.SERVER)
        self._sending = trio.Lock()
        self._in, self._out = trio.open_memory_channel[str | bytes](float("inf"))
        self.reads = True
        self.answers_pings = True
        self.pings = 0
        self.closed_with: int | None = None
        """The code of the agent's last frame."""
        self.over = trio.Event()

    async def run(self) -> None:
        """Read until the end of the stream."""
        try:
            while self.reads and (data := await self._stream.receive_some(65536)):
                self._connection.receive_data(data)
                for event in self._connection.events():
                    await self._take(event)
            if not self.reads:
                await trio.sleep_forever()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # cut off, by either side
        finally:
            self.over.set()

    async def next(self) -> str | bytes:
        """The oldest message that nobody has taken; waits for one."""
        return await self._out.receive()

    async def next_json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self.next())
        return found

    async def next_chunk(self) -> tuple[ChunkHeader, bytes]:
        frame = await self.next()
        assert isinstance(frame, bytes)
        return decode_chunk(frame)

    async def order(self, type_: str, **fields: Any) -> None:
        await self.say(encode(Order(type=type_, **fields)).decode())

    async def say(self, message: str | bytes) -> None:
        await self._send(TextMessage(message) if isinstance(message, str) else BytesMessage(message))

    async def pong_unasked(self) -> None:
        await self._send(Pong(b"nobody asked"))

    async def raw(self, data: bytes) -> None:
        """Bytes that need not be a frame."""
        async with self._sending:
            await self._stream.send_all(data)

    async def close(self, code: int, reason: str) -> None:
        await self._send(CloseConnection(code, reason))

    async def cut(self) -> None:
        """The end without a word."""
        await trio.aclose_forcefully(self._stream)

    async def _send(self, event: wsproto.events.Event) -> None:
        async with self._sending:
            await self._stream.send_all(self._connection.send(event))

    async def _take(self, event: wsproto.events.Event) -> None:
        if isinstance(event, Ping):
            self.pings += 1
            if self.answers_pings and self._connection.state is wsproto.connection.ConnectionState.OPEN:
                await self._send(event.response())
        elif isinstance(event, CloseConnection):
            self.closed_with = event.code
            if self._connection.state is wsproto.connection.ConnectionState.REMOTE_CLOSING:
                await self._send(event.response())
        elif isinstance(event, Message):
            assert event.message_finished, "the agent's frames are small enough to arrive whole"
            await self._in.send(event.data)


class ControlServer:
    """An HTTP server whose one interesting path is the control stream."""

    def __init__(self, context: Any = None) -> None:
        self._context = context
        self.port = 0
        self.heads: list[bytes] = []
        """Of every request, in order."""
        self.instead: Callable[[], bytes | None] = lambda: None
        """The answer to an upgrade, if it is to be refused."""
        self.accept_header: bytes | None = None
        """In place of the proper answer to the handshake."""
        self._new, self._peers = trio.open_memory_channel[Peer](float("inf"))

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    @property
    def upgrades(self) -> list[bytes]:
        return [head for head in self.heads if b"upgrade: websocket" in head.lower()]

    async def start(self, nursery: trio.Nursery) -> None:
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        await nursery.start(partial(trio.serve_listeners, self._serve, listeners))
        self.port = listeners[0].socket.getsockname()[1]

    async def next_peer(self) -> Peer:
        """The oldest stream that nobody has taken; waits for one."""
        return await self._peers.receive()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        if self._context is not None:
            stream = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
        try:
            while head := await _head(stream):
                self.heads.append(head)
                if b"upgrade: websocket" not in head.lower():
                    await stream.send_all(http_answer())
                elif (answer := self.instead()) is not None:
                    await stream.send_all(answer)
                else:
                    await self._upgrade(stream, head)
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the agent hung up
        finally:
            await trio.aclose_forcefully(stream)

    async def _upgrade(self, stream: trio.abc.Stream, head: bytes) -> None:
        connection = wsproto.WSConnection(ConnectionType.SERVER)
        connection.receive_data(head)
        assert isinstance(next(iter(connection.events())), Request)
        answer = connection.send(AcceptConnection())
        if self.accept_header is not None:
            answer = b"\r\n".join(
                line if not line.lower().startswith(b"sec-websocket-accept") else self.accept_header
                for line in answer.split(b"\r\n")
            )
        await stream.send_all(answer)
        peer = Peer(stream, connection)
        await self._new.send(peer)
        await peer.run()


async def _head(stream: trio.abc.Stream) -> bytes:
    """A request without a body; empty at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        chunk = await stream.receive_some(65536)
        if not chunk:
            return b""
        head += chunk
    return head

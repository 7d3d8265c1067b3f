"""A WebSocket over the agent's own HTTP client: same TLS context, pin, proxy and credentials (docs/adr/0014).

httpx-ws speaks the protocol. What it leaves open is closed here, from both of its sides:

- below it, ``_BoundedStream``: no read is longer than SILENCE_S (the peer answers our pings, so that silence means a
  dead connection, though TCP holds it for up), no write longer than WRITE_S, no close longer than CLOSE_S. The library
  writes its last frame where no cancellation reaches it;
- above the frames, ``_BoundedConnection``: a message may have ``wire.control.MAX_FRAME`` bytes, however many frames it
  comes in, and pongs end here.

Errors leave as LinkError only, and without a chain, as in ``link.client``.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

import httpcore
import httpx
import httpx_ws
import trio

from lattice_agent.errors import LinkError
from lattice_agent.link.answer import Answer
from lattice_agent.link.client import ControlPlane
from lattice_agent.link.errors import BadFrameError, StreamEndedError
from lattice_agent.wire.control import MAX_FRAME

PING_S: Final = 20.0
"""From one ping of ours to the next."""
SILENCE_S: Final = 45.0
"""Longest time in which nothing is heard: two pings without an answer."""
WRITE_S: Final = 20.0
"""Longest time that one frame may take to be accepted."""
CLOSE_S: Final = 2.0
"""Longest time for the last frame, and again for the end of the TLS session."""

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_PING: Final = b"lattice"  # always the same: the library keeps each payload, waiting for a pong that ends before it


class WebSocket:
    """An open one. ``receive`` is for one task at a time, ``send`` for any; both raise StreamEndedError."""

    def __init__(self, session: httpx_ws.AsyncWebSocketSession, stream: "_BoundedStream", shown: "Shown") -> None:
        self._session = session
        self._stream = stream
        self._shown = shown

    async def receive(self) -> str | bytes:
        """The next message, of at most MAX_FRAME bytes."""
        try:
            event = await self._session.receive()
        except httpx_ws.WebSocketDisconnect as end:
            reason = f" ({self._shown(end.reason)})" if end.reason else ""
            ending = f"closed by the server with code {end.code}{reason}"
        except httpx_ws.HTTPXWSException:
            ending = self._stream.ending
        else:
            data: str | bytes = event.data  # type: ignore[attr-defined]  # pings and pongs do not come this far
            return data
        raise StreamEndedError(f"the control stream: {ending}")

    async def heard(self) -> None:
        """Waits for the first bytes of the peer: a middle box may have answered the upgrade and swallow the rest."""
        await self._stream.first.wait()
        if self._stream.ending:
            raise StreamEndedError(f"the control stream: {self._stream.ending}")

    async def send(self, message: str | bytes) -> None:
        """Send a text or a binary message. Cancelling it in the middle makes the connection useless."""
        await self._guarded(
            self._session.send_text(message) if isinstance(message, str) else self._session.send_bytes(message)
        )

    async def keep_alive(self) -> None:
        """Ping for ever; the answers are what ``heard`` waits for, and what keeps ``SILENCE_S`` from coming true."""
        while True:
            await self._guarded(self._session.ping(_PING))
            await trio.sleep(PING_S)

    async def _guarded(self, sending: Awaitable[object]) -> None:
        try:
            await sending
            return
        except httpx_ws.HTTPXWSException:
            pass
        raise StreamEndedError(f"the control stream: {self._stream.ending}")


Talk = Callable[[WebSocket], Awaitable[None]]
Shown = Callable[[str], str]


async def converse(plane: ControlPlane, path: str, talk: Talk) -> Answer | None:
    """Open a WebSocket, let ``talk`` have it, close it; returns the answer that came instead of one, or None.

    Raises UnreachableError (StreamEndedError once it was open) and BadAnswerError; nothing else of the network's.
    """
    key = base64.b64encode(secrets.token_bytes(16)).decode("ascii")
    response = await plane.upgrade(path, _handshake(key))
    if isinstance(response, Answer):
        return response
    try:
        _check_handshake(key, response.headers)
        await talk_over(response.extensions["network_stream"], plane.shown, talk)
    finally:
        with trio.move_on_after(CLOSE_S, shield=True):
            await response.aclose()
    return None


async def talk_over(network: httpcore.AsyncNetworkStream, shown: Shown, talk: Talk) -> None:
    """``converse`` after the handshake, on any stream of bytes. ``shown`` makes words of the peer fit for a message."""
    stream = _BoundedStream(network)
    session = httpx_ws.AsyncWebSocketSession(stream, keepalive_ping_interval_seconds=None)
    session.connection = _BoundedConnection(session.connection, stream)  # type: ignore[assignment]  # all of it that is used
    failure: LinkError | None = None
    try:
        async with session:
            try:
                await _kept_alive(WebSocket(session, stream, shown), talk)
            finally:
                stream.write_limit_s = CLOSE_S
    except* LinkError as group:
        failure = _first(group)
    if failure is not None:
        failure.__cause__ = failure.__context__ = None
        raise failure.with_traceback(None)


async def _kept_alive(socket: WebSocket, talk: Talk) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.keep_alive)
        await talk(socket)
        nursery.cancel_scope.cancel()


def _first(group: BaseExceptionGroup[LinkError]) -> LinkError:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, LinkError)
    return first


def _handshake(key: str) -> dict[str, str]:
    return {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}


def _check_handshake(key: str, headers: httpx.Headers | Mapping[str, str]) -> None:
    """Whether a WebSocket server has read our key (RFC 6455 section 4.1); httpx-ws does not look."""
    digest = hashlib.sha1(f"{key}{_GUID}".encode("ascii"), usedforsecurity=False).digest()
    expected = binascii.b2a_base64(digest, newline=False).decode("ascii")
    if headers.get("sec-websocket-accept", "").strip() != expected:
        raise BadFrameError("the control stream: Sec-WebSocket-Accept of the answer does not belong to our request")


class _BoundedStream(httpcore.AsyncNetworkStream):
    """The connection, with a limit on every wait; remembers in words how it ended."""

    def __init__(self, network: httpcore.AsyncNetworkStream) -> None:
        self._network = network
        self.ending = ""
        self.first = trio.Event()
        """Something came, or the end."""
        self.write_limit_s = WRITE_S

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002  # never looser
        try:
            data = await self._network.read(max_bytes, timeout=SILENCE_S)
        except httpcore.ReadTimeout:
            raise httpcore.ReadError(self._ended(f"nothing was heard for {SILENCE_S:g} s")) from None
        except httpcore.ReadError:
            self._ended("the connection was lost")
            raise
        if not data:
            self._ended("the server ended the connection")
        self.first.set()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  # never looser
        if self.ending:
            raise httpcore.WriteError(self.ending)
        try:
            await self._network.write(buffer, timeout=self.write_limit_s)
        except httpcore.WriteTimeout:
            raise httpcore.WriteError(self._ended(f"the server took nothing for {self.write_limit_s:g} s")) from None
        except httpcore.WriteError:
            self._ended("the connection was lost")
            raise
        except trio.Cancelled:
            self._ended("left in the middle of a frame")
            raise

    async def aclose(self) -> None:
        with trio.move_on_after(CLOSE_S):
            await self._network.aclose()

    def _ended(self, ending: str) -> str:
        self.ending = self.ending or ending
        self.first.set()
        return self.ending


class _BoundedConnection:
    """What a session uses of wsproto's connection, with a limit on messages and with errors of ours."""

    def __init__(self, connection: Any, stream: _BoundedStream) -> None:
        self._connection = connection
        self._stream = stream
        self._size = 0

    @property
    def state(self) -> Any:
        return self._connection.state

    def send(self, event: Any) -> bytes:
        # The answer to the peer's last frame may still go out, nothing else: a frame sent then is a fault to wsproto.
        if self._connection.state.name != "OPEN" and not hasattr(event, "code"):
            raise StreamEndedError(f"the control stream: {self._stream.ending or 'closed by the server'}")
        data: bytes = self._connection.send(event)
        return data

    def receive_data(self, data: bytes) -> None:
        self._connection.receive_data(data)

    def events(self) -> Iterator[Any]:
        for event in self._connection.events():
            if hasattr(event, "message_finished"):
                self._count(event)
            elif hasattr(event, "payload") and not hasattr(event, "response"):
                continue  # a pong has done its work by arriving; one of the peer's own accord is a KeyError further up
            yield event

    def _count(self, message: Any) -> None:
        data = message.data
        self._size += len(data.encode()) if isinstance(data, str) else len(data)
        if self._size > MAX_FRAME:
            raise BadFrameError(f"the control stream: a frame is longer than {MAX_FRAME} bytes")
        if message.message_finished:
            self._size = 0

"""The other end of a statistics API: h2's server side, which answers each call as a script says.

async def script(call: Call) -> None:
    await call.answer(stats_message({"user>>>a>>>traffic>>>uplink": 1}))

async with listening_core(script) as core:
    XrayApiSource(core.address)
"""

import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import trio

Script = Callable[["Call"], Awaitable[None]]


@dataclass
class Call:
    """A call that has arrived whole, and the connection to answer it on."""

    http: h2.connection.H2Connection
    stream: trio.abc.Stream
    stream_id: int
    headers: dict[bytes, bytes]
    request: bytes = b""

    @property
    def path(self) -> str:
        return self.headers[b":path"].decode()

    async def answer(self, message: bytes, *, flag: int = 0, trailers: Mapping[str, str] | None = None) -> None:
        """Headers, a message and trailers, as a core that is well does."""
        self.begin()
        await self.send_body(struct.pack(">BI", flag, len(message)) + message)
        await self.end(trailers or {"grpc-status": "0"})

    async def refuse(self, code: int, detail: str) -> None:
        """A refusal as gRPC in Go sends it: headers alone."""
        words = {"grpc-status": str(code), "grpc-message": quote(detail, safe=" ,.:")}
        self.begin(end_stream=True, **words)
        await self.flush()

    def begin(self, *, end_stream: bool = False, **headers: str) -> None:
        """The headers, with others added or put in place."""
        words = {":status": "200", "content-type": "application/grpc"} | headers
        self.http.send_headers(self.stream_id, list(words.items()), end_stream=end_stream)

    async def send_body(self, body: bytes) -> None:
        """Data frames, as fast as the windows of the other side allow."""
        while body:
            room = min(
                self.http.local_flow_control_window(self.stream_id), self.http.max_outbound_frame_size, len(body)
            )
            self.http.send_data(self.stream_id, body[:room])
            await self.flush()
            body = body[room:]
            if not room:
                self.http.receive_data(bytes(await self.stream.receive_some()))

    async def end(self, trailers: Mapping[str, str]) -> None:
        """The trailers, which end the stream."""
        self.http.send_headers(self.stream_id, list(trailers.items()), end_stream=True)
        await self.flush()

    async def flush(self) -> None:
        """Sends what has been prepared."""
        await self.stream.send_all(self.http.data_to_send())


async def serve(stream: trio.abc.Stream, script: Script) -> None:
    """Answers calls until the other side goes away."""
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    http.initiate_connection()
    calls: dict[int, Call] = {}
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h2.exceptions.H2Error):
        async with stream:
            await stream.send_all(http.data_to_send())
            while data := await stream.receive_some():
                for event in http.receive_data(bytes(data)):
                    await _take(event, http, stream, calls, script)
                await stream.send_all(http.data_to_send())


async def _take(
    event: h2.events.Event,
    http: h2.connection.H2Connection,
    stream: trio.abc.Stream,
    calls: dict[int, Call],
    script: Script,
) -> None:
    match event:
        case h2.events.RequestReceived(stream_id=number, headers=headers):
            calls[number] = Call(http, stream, number, dict(headers))
        case h2.events.DataReceived(stream_id=number, data=data):
            calls[number].request += data
        case h2.events.StreamEnded(stream_id=number):
            await script(calls.pop(number))


@dataclass
class ListeningCore:
    """``address`` is what a source is given."""

    port: int
    connections: list[trio.SocketStream] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def listening(
    handle: Callable[[trio.SocketStream], Awaitable[None]], host: str = "127.0.0.1"
) -> AsyncIterator[ListeningCore]:
    """Anything that listens on loopback."""
    (listener,) = await trio.open_tcp_listeners(0, host=host)
    core = ListeningCore(listener.socket.getsockname()[1])

    async def accept(stream: trio.SocketStream) -> None:
        core.connections.append(stream)
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await handle(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, accept, [listener])
        yield core
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def listening_core(script: Script, host: str = "127.0.0.1") -> AsyncIterator[ListeningCore]:
    """A core on loopback that answers as the script says."""
    async with listening(partial(serve, script=script), host) as core:
        yield core


# --- messages --------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """Written anew and plainly, to be compared with."""
    groups = [value & 127]
    while value := value >> 7:
        groups.append(value & 127)
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def nested(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def stats_message(stats: Mapping[str, int]) -> bytes:
    """A QueryStatsResponse. A negative value is written as an int64 is; 0 is left out as Go does."""
    return b"".join(
        nested(1, nested(1, name.encode()) + (b"\x10" + varint(value % 2**64) if value else b""))
        for name, value in stats.items()
    )


def uptime_message(seconds: int) -> bytes:
    """A SysStatsResponse, with another field before the uptime."""
    return b"\x08\x11" + (b"\x50" + varint(seconds) if seconds else b"")

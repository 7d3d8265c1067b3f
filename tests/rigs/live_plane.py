"""A control plane in its own process, with agents spoken by hand over real sockets, and operators who follow events."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import h11
import httpx
import httpx_ws
import trio

from lattice_agent.wire.base import decode, encode
from lattice_agent.wire.control import (
    MAX_CHUNK,
    OUTPUT_FROM,
    STREAMS,
    TASK_READY,
    ChunkHeader,
    Order,
    Running,
    encode_chunk,
)
from tests.rigs.server_process import Running as Server
from tests.rigs.server_process import serving, started

SECONDS = 20.0
"""For anything that is waited for."""
Lease = dict[str, Any]


@dataclass
class Script:
    """What a script writes, in order; its result has the same bytes."""

    written: Sequence[tuple[str, bytes]]

    @property
    def size(self) -> int:
        return sum(len(data) for _, data in self.written)

    def stream(self, name: str) -> bytes:
        return b"".join(data for stream, data in self.written if stream == name)

    def chunks(self, lease: Lease, position: int, end: int | None = None) -> list[bytes]:
        """Frames from this position on, as an agent cuts them."""
        frames, at, offsets = [], 0, dict.fromkeys(STREAMS, 0)
        for stream, data in self.written:
            for start in range(0, len(data), MAX_CHUNK):
                piece = data[start : start + MAX_CHUNK]
                new = piece[max(0, position - at) :]
                if new and (end is None or at < end):
                    skipped = len(piece) - len(new)
                    header = ChunkHeader(
                        task_id=lease["id"],
                        lease_id=lease["lease_id"],
                        stream=stream,
                        offset=offsets[stream] + skipped,
                        position=at + skipped,
                    )
                    frames.append(encode_chunk(header, new))
                at += len(piece)
                offsets[stream] += len(piece)
        return frames


@dataclass(frozen=True)
class Talk:
    """An open control stream, the agent's end."""

    socket: httpx_ws.AsyncWebSocketSession

    async def order(self) -> Order:
        with trio.fail_after(SECONDS):
            return decode(Order, (await self.socket.receive_text()).encode())

    async def running(self, lease: Lease) -> int:
        """Says that the run goes on; the position that the server wants it from."""
        said = Running(task_id=lease["id"], lease_id=lease["lease_id"])
        await self.socket.send_text(encode(said).decode())
        while (order := await self.order()).type == TASK_READY:
            pass
        assert (order.type, order.task_id, order.lease_id) == (OUTPUT_FROM, lease["id"], lease["lease_id"])
        return order.position

    async def tell(self, lease: Lease, script: Script, position: int = 0, end: int | None = None) -> None:
        for frame in script.chunks(lease, position, end):
            await self.socket.send_bytes(frame)


@dataclass(frozen=True)
class Node:
    """The requests of one node, made by hand."""

    plane: "LivePlane"
    id: str
    token: str

    async def poll(self) -> Lease:
        answer = await self.plane.client.get(
            f"{self.plane.url}/api/agent/tasks", params={"node_id": self.id}, headers=self.headers
        )
        [lease] = answer.raise_for_status().json()
        return dict(lease)

    async def report(self, lease: Lease, script: Script, exit_code: int = 0) -> None:
        result = {"task_id": lease["id"], "lease_id": lease["lease_id"], "node_id": self.id, "exit_code": exit_code}
        result |= {stream: script.stream(stream).decode() for stream in STREAMS}
        answer = await self.plane.client.post(
            f"{self.plane.url}/api/agent/task-result",
            json={"node_id": self.id, "result": result},
            headers=self.headers,
        )
        answer.raise_for_status()

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Talk]:
        url = f"{self.plane.url}/api/agent/control/stream?node_id={self.id}"
        async with httpx_ws.aconnect_ws(url, self.plane.client, headers=self.headers) as socket:
            yield Talk(socket)

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}


@dataclass
class Event:
    name: str = ""
    id: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, block: str) -> "Event":
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        return cls(fields["event"], fields.get("id", ""), json.loads(fields["data"]))


class Answered(Exception):  # noqa: N818  # an answer, not a fault
    """Something else than an event stream."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class Reader:
    """An event stream as an operator reads it; ``shown`` is what a page would show of the output. Its socket is its
    own: the generators of httpx are not closed in order when a stream is left before its end."""

    stream: trio.SocketStream
    http: h11.Connection
    shown: dict[str, bytes] = field(default_factory=lambda: dict.fromkeys(STREAMS, b""))
    last_id: str = ""
    resets: int = 0
    comments: int = 0
    text: bytes = b""

    async def begin(self, target: str, headers: dict[str, str]) -> None:
        request = h11.Request(method="GET", target=target, headers=[("host", "control"), *headers.items()])
        sent = self.http.send(request), self.http.send(h11.EndOfMessage())
        await self.stream.send_all(b"".join(piece for piece in sent if piece))
        answer = await self._next()
        assert isinstance(answer, h11.Response)
        if answer.status_code != 200:
            raise Answered(answer.status_code)
        assert dict(answer.headers)[b"content-type"].startswith(b"text/event-stream")

    async def event(self, patience_s: float = SECONDS) -> Event | None:
        """The next one; None at the end of the stream."""
        with trio.fail_after(patience_s):
            while True:
                block, found, rest = self.text.partition(b"\n\n")
                if found:
                    self.text = rest
                    if not block.startswith(b":"):
                        return self._show(Event.read(block.decode()))
                    self.comments += 1
                    continue
                more = await self._next()
                if not isinstance(more, h11.Data):
                    return None
                self.text += more.data

    async def _next(self) -> object:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.stream.receive_some())
        return event

    async def until(self, name: str) -> Event:
        while (event := await self.event()) is not None:
            if event.name == name:
                return event
        raise AssertionError(f"the stream ended without an event {name}")

    async def until_shown(self, size: int) -> None:
        while sum(map(len, self.shown.values())) < size:
            assert await self.event() is not None

    def _show(self, event: Event) -> Event:
        self.last_id = event.id or self.last_id
        if event.name == "reset":
            self.resets += 1
            self.shown = dict.fromkeys(STREAMS, b"")
        elif event.name == "output":
            stream = event.data["stream"]
            assert len(self.shown[stream]) == event.data["offset"]
            self.shown[stream] += base64.b64decode(event.data["data"])
        return event


@dataclass(frozen=True)
class LivePlane:
    server: Server
    token: str
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.post(f"{self.url}/api/v1/{path}", json=body, headers=self.headers)
        return dict(answer.raise_for_status().json())

    async def show(self, task_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"{self.url}/api/v1/tasks/{task_id}", headers=self.headers)
        return dict(answer.raise_for_status().json()["task"])

    async def node(self, node_id: str) -> Node:
        return Node(self, node_id, (await self.post("nodes", {"id": node_id}))["token"])

    async def task(self, *nodes: str, **limits: object) -> str:
        answer = await self.post("tasks", {"nodes": list(nodes), "script": "true", **limits})
        return str(answer["task"]["id"])

    @asynccontextmanager
    async def follow(self, task_id: str, what: str, *, last_id: str = "", **query: str) -> AsyncIterator[Reader]:
        """``Answered`` for anything but an event stream."""
        headers = self.headers | ({"last-event-id": last_id} if last_id else {})
        address = urlsplit(self.url)
        async with await trio.open_tcp_stream(str(address.hostname), int(address.port or 0)) as stream:
            reader = Reader(stream, h11.Connection(h11.CLIENT))
            await reader.begin(f"/api/v1/tasks/{task_id}/{what}?{urlencode(query)}", headers)
            yield reader


@asynccontextmanager
async def live_plane(folder: Path, port: int = 0, **settings: object) -> AsyncIterator[LivePlane]:
    """Started again on the same folder and port, it has the same database."""
    token_file = folder / "operator.token"
    command = serving(db_path=str(folder / "db"), init_token_file=str(token_file), port=port, **settings)
    with started(command) as server:
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client:
            yield LivePlane(server, token_file.read_text().strip(), client)

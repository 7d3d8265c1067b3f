"""An idle agent as the control plane sees it: a heartbeat over a connection that is kept, and an open control stream.

Both lines are spoken by hand over sockets of asyncio, so that hundreds fit into one process; retries follow the agent's
own rule. Frames of the server are read and pings answered; nothing is ever said.
"""

import asyncio
import os
import random
import struct
import time
from dataclasses import dataclass, field
from typing import Final

from lattice_agent.link import control_stream
from lattice_agent.link.backoff import Backoff
from lattice_agent.link.retry_after import retry_after_s
from lattice_agent.report import heartbeat
from lattice_agent.wire.base import encode
from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.metrics import Heartbeat, Metrics
from lattice_agent.wire.metrics_detail import MetricsDetail

JITTER: Final = 0.05
BEAT_RETRY_S: Final = heartbeat.RETRY_BASE_S, heartbeat.RETRY_CAP_S
STREAM_RETRY_S: Final = control_stream.RETRY_BASE_S, control_stream.RETRY_CAP_S
_PING, _PONG, _CLOSE = 0x9, 0xA, 0x8


@dataclass
class Seen:
    """What happened to one agent; times are ``time.monotonic``."""

    beats: list[float] = field(default_factory=list)
    refused_beats: int = 0
    stream_opened: list[float] = field(default_factory=list)
    stream_asked: list[float] = field(default_factory=list)
    """Connections for a stream that came about, whatever the answer was."""
    open: bool = False


class PutOffError(Exception):
    """No stream, and when to ask again."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


class SimulatedAgent:
    """``interval_s`` between heartbeats, within JITTER of it."""

    def __init__(self, host: str, port: int, node_id: str, token: str, interval_s: float) -> None:
        self.seen = Seen()
        self._address = host, port
        self._interval_s = interval_s
        self._rng = random.Random(node_id)
        self._headers = f"Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
        self._node_id = node_id
        beat = Heartbeat(
            node_id=node_id,
            version="0.1.0",
            metrics=Metrics(cpu_percent=3.5, load1=0.2, memory_used=2**31, memory_total=2**33, uptime_seconds=86_400),
            host_facts=HostFacts(hostname=node_id, os="linux", arch="amd64"),
            metrics_detail=MetricsDetail(),
        )
        self._beat = encode(beat)

    async def run(self) -> None:
        """For ever. Agents start spread over one interval, as those of a fleet are."""
        await asyncio.sleep(self._rng.uniform(0, self._interval_s))
        await asyncio.gather(
            self._again_and_again(self._beats, BEAT_RETRY_S), self._again_and_again(self._stream, STREAM_RETRY_S)
        )

    async def _again_and_again(self, line: "Line", retry_s: tuple[float, float]) -> None:
        backoff = Backoff(*retry_s)
        while True:
            try:
                await line(backoff)
            except PutOffError as put_off:
                await asyncio.sleep(backoff.failed(self._rng, put_off.seconds))
            except (OSError, EOFError):  # asyncio's IncompleteReadError is one
                await asyncio.sleep(backoff.failed(self._rng))

    async def _beats(self, backoff: Backoff) -> None:
        reader, writer = await asyncio.open_connection(*self._address, limit=8_192)
        request = f"POST /api/agent/metrics HTTP/1.1\r\n{self._headers}Content-Length: {len(self._beat)}\r\n\r\n"
        try:
            while True:
                writer.write(request.encode() + self._beat)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(_headers(head)["content-length"]))
                if head.startswith(b"HTTP/1.1 200"):
                    self.seen.beats.append(time.monotonic())
                    backoff.succeeded()
                else:
                    self.seen.refused_beats += 1
                await asyncio.sleep(self._interval_s * self._rng.uniform(1 - JITTER, 1 + JITTER))
        finally:
            writer.close()

    async def _stream(self, backoff: Backoff) -> None:
        reader, writer = await asyncio.open_connection(*self._address, limit=8_192)
        self.seen.stream_asked.append(time.monotonic())
        try:
            writer.write(
                f"GET /api/agent/control/stream?node_id={self._node_id} HTTP/1.1\r\n{self._headers}"
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101"):
                raise PutOffError(retry_after_s(_headers(head)))
            self.seen.stream_opened.append(time.monotonic())
            self.seen.open = True
            backoff.succeeded()
            while await _take_frame(reader, writer) != _CLOSE:
                pass
            raise EOFError
        finally:
            self.seen.open = False
            writer.close()


Line = type(SimulatedAgent._beats)


async def _take_frame(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Reads one frame of the server (never masked), answers a ping; its opcode."""
    first, size = await reader.readexactly(2)
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    payload = await reader.readexactly(size)
    opcode = first & 0x0F
    if opcode == _PING:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        writer.write(bytes([0x80 | _PONG, 0x80 | len(payload)]) + mask + masked)
    return opcode


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

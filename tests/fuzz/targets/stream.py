"""The agent's side of the control stream: bytes off the connection, orders, and the output that answers them."""

import logging
from contextlib import suppress
from typing import Final

import httpcore
import trio

from lattice_agent.errors import LinkError
from lattice_agent.link.control_stream import ControlStream
from lattice_agent.link.failures import printable
from lattice_agent.link.features import Features
from lattice_agent.link.websocket import WebSocket, talk_over
from lattice_agent.tasks.live_output import LiveOutput
from lattice_agent.tasks.live_sender import LiveSender
from lattice_agent.tasks.stream_talk import StreamTalk
from lattice_agent.wire.base import WireError, decode
from lattice_agent.wire.control import MAX_FRAME, STREAMS, ChunkHeader, Order, decode_chunk
from lattice_agent.wire.ext import CONTROL_TASKS
from server_stub.rules.live_output import OutputLog, Taken
from tests.fuzz.form import pieces
from tests.fuzz.target import Target

_TASK, _LEASE = "task_1", "lease_1"
_SAID: Final = b"what the script has said so far, and a second line\n" * 40


class _Heard:
    """Intake and runs, as far as orders reach them."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def wake(self) -> None:
        self.said.append("wake")

    def drain(self, on: bool) -> None:
        self.said.append(on)

    def cancel(self, task_id: str) -> None:
        self.said.append(task_id)

    def stream_opened(self) -> None: ...
    def stream_closed(self) -> None: ...


def _talk() -> tuple[StreamTalk, LiveSender]:
    features = Features()
    features.announced([CONTROL_TASKS])
    live, heard = LiveSender(features), _Heard()
    live.begin(_TASK, _LEASE)("stdout", _SAID)
    return StreamTalk(heard, heard, live), live  # type: ignore[arg-type]  # as far as orders reach


def _connection(data: bytes) -> None:
    """Bytes after the handshake, whole and in pieces: the same messages, and only errors of ours."""
    whole = trio.run(_listen, [data])
    assert all(len(message) <= MAX_FRAME for message in whole)
    if len(data) < 4_000:
        assert trio.run(_listen, pieces(data, 3)) == whole


async def _listen(incoming: list[bytes]) -> list[bytes]:
    heard: list[bytes] = []

    async def listen(socket: WebSocket) -> None:
        while True:
            message = await socket.receive()
            heard.append(message.encode() if isinstance(message, str) else message)

    try:
        await talk_over(httpcore.AsyncMockStream(list(incoming)), printable, listen)
    except LinkError as error:
        said = str(error)
    else:
        return heard
    assert said.isprintable()
    return heard


class _Scripted:
    """A line on which these messages come."""

    def __init__(self, messages: list[bytes]) -> None:
        self._messages = messages

    async def receive(self) -> bytes:
        if not self._messages:
            raise LinkError("over")
        return self._messages.pop(0)


def _orders(data: bytes) -> None:
    """Orders with a line feed between them, as the service reads them."""

    async def main() -> None:
        talk, live = _talk()
        service = ControlStream(_Unused(), Features(), talk, rng=_Unused())  # type: ignore[arg-type]  # not reached
        talk.opened()
        first = await talk.next_frame()
        assert _TASK in str(first)
        with suppress(LinkError):
            await service._read(_Scripted(data.split(b"\n")))  # type: ignore[arg-type]  # as far as reading goes
        with trio.move_on_after(0):
            frame = await live.next_frame()
            header, chunk = decode_chunk(frame) if isinstance(frame, bytes) else (None, b"")
            if header is not None:
                assert chunk == _SAID[header.position :][: len(chunk)]
        talk.closed()

    logging.disable(logging.CRITICAL)  # a frame that is ignored is told once, and here there are thousands
    trio.run(main)


class _Unused:
    """Stands where the service needs what reading does not."""


def _order(data: bytes) -> None:
    order = decode(Order, data)
    talk, live = _talk()
    live.output_from(order.task_id or _TASK, order.lease_id or _LEASE, order.position)
    talk.order(order)


def _output(data: bytes) -> None:
    """Two bytes of each part: where it goes and how long it is. What the server has kept is what the script wrote."""
    written, kept = LiveOutput(), OutputLog(_LEASE, len(data) + 1)
    for at in range(0, len(data) - 2, 7):
        written.append(STREAMS[data[at] % 2], data[at + 1 : at + 1 + data[at + 1] % 6])
        if data[at + 2] % 3 == 0:
            _send_one(written, kept, kept.end if data[at + 2] % 2 else data[at + 2] * 3)
    while _send_one(written, kept, kept.end):
        pass
    assert kept.end == len(written)
    for position in range(0, kept.end, 5):
        piece, chunk = kept.read(position, 64), written.chunk(position)
        assert piece is not None
        assert chunk is not None
        assert (piece.stream, piece.offset, piece.data) == (chunk.stream, chunk.offset, chunk.data[: len(piece.data)])


def _send_one(written: LiveOutput, kept: OutputLog, position: int) -> bool:
    chunk = written.chunk(position)
    if chunk is None:
        return False
    header = ChunkHeader(
        task_id=_TASK, lease_id=_LEASE, stream=chunk.stream, offset=chunk.offset, position=chunk.position
    )
    assert kept.add(header, chunk.data) is not Taken.REFUSED
    return True


def _kept_output(data: bytes) -> None:
    """Chunks of a node that lies, a form feed between them: bounded, and without a gap."""
    kept = OutputLog(_LEASE, 1_000)
    for frame in data.split(b"\f")[:200]:
        try:
            header, chunk = decode_chunk(frame)
        except WireError:
            continue
        before = kept.end
        taken = kept.add(header, chunk)
        assert (taken is Taken.ADDED) == (kept.end > before)
        assert kept.end <= 2_000
    position = 0
    while (piece := kept.read(position, 100)) is not None:
        assert piece.position == position
        position = piece.end
    assert position == kept.end


TARGETS: Final = (
    Target("stream.connection", ("lattice_agent.link.websocket",), _connection, (),
           "the same messages in any pieces, none longer than MAX_FRAME; only our errors", longest=40_000),
    Target("stream.orders", ("lattice_agent.link.control_stream", "lattice_agent.tasks.stream_talk"), _orders, (),
           "what goes out is what the script wrote", words=("task.ready", "task.cancel", "drain", "output.from")),
    Target("stream.order", ("lattice_agent.wire.control", "lattice_agent.tasks.live_sender"), _order, (WireError,),
           longest=8_192),
    Target("stream.output", ("lattice_agent.tasks.live_output", "server_stub.rules.live_output"), _output, (),
           "the server has every byte of each stream, in its order", longest=8_192),
    Target("stream.kept_output", ("server_stub.rules.live_output",), _kept_output, (), "no gap, and within the limit"),
)  # fmt: skip

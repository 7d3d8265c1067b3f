"""Frames of the control stream with the extension ``control.tasks`` (docs/protocol.md; base: protocol reference 1.13).

Server to agent, text frames of JSON: ``task.ready``, ``task.cancel``, ``drain``, ``output.from`` (and the base wire's
``terminal.open``; unknown types are ignored). Agent to server: ``task.running`` as text, live output as binary frames.

Live output of one task is one sequence of bytes of both streams, in the order in which the agent read them. A
*position* counts these bytes from the start of the run, an *offset* those of one stream alone. The agent says
``task.running`` when a run starts, and again for every run that goes on when it has connected anew; the server answers
``output.from`` with the position that it wants to go on from (what it has), and only then do chunks go out. Chunks
follow each other without a gap. What the server cannot place it drops, and says ``output.from`` again.

A binary frame is a JSON header, one line feed, and the bytes as the script wrote them:

    {"task_id":"task_1","lease_id":"lease_1","stream":"stdout","offset":0,"position":0}\\n<bytes>
"""

from typing import Annotated, Final

from lattice_agent.wire.base import OMIT, Uint, WireError, WireModel, decode, encode

MAX_FRAME: Final = 16_384
"""Bytes of a frame in either direction (protocol reference 1.13)."""
MAX_HEADER: Final = 4_096
"""Bytes of a chunk's header, its line feed included."""
MAX_CHUNK: Final = MAX_FRAME - MAX_HEADER
"""Bytes of output in one frame."""
TASK_READY: Final = "task.ready"
TASK_CANCEL: Final = "task.cancel"
DRAIN: Final = "drain"
OUTPUT_FROM: Final = "output.from"
TASK_RUNNING: Final = "task.running"
STREAMS: Final = ("stdout", "stderr")


class Order(WireModel):
    """What the server says. Which fields count depends on ``type``:

    ``task.ready``: none; there is work to ask for. ``task.cancel``: ``task_id``. ``drain``: ``on``.
    ``output.from``: ``task_id``, ``lease_id``, ``position``.
    """

    type: str = ""
    task_id: Annotated[str, OMIT] = ""
    lease_id: Annotated[str, OMIT] = ""
    position: Annotated[Uint, OMIT] = 0
    on: Annotated[bool, OMIT] = False


class Running(WireModel):
    """``task.running``: this run has started, or goes on; ``position``: bytes of output that there are by now."""

    type: str = TASK_RUNNING
    task_id: str = ""
    lease_id: str = ""
    position: Annotated[Uint, OMIT] = 0


class ChunkHeader(WireModel):
    """Where the bytes of a chunk belong."""

    task_id: str = ""
    lease_id: str = ""
    stream: str = ""
    offset: Uint = 0
    position: Uint = 0


def encode_chunk(header: ChunkHeader, data: bytes) -> bytes:
    """A binary frame. ``data`` has at most MAX_CHUNK bytes."""
    return encode(header) + b"\n" + data


def decode_chunk(frame: bytes) -> tuple[ChunkHeader, bytes]:
    """Header and bytes of a binary frame; WireError for one that is not."""
    end = frame.find(b"\n", 0, MAX_HEADER)
    if end < 0:
        raise WireError("a chunk of output has no header line")
    header = decode(ChunkHeader, frame[:end])
    if header.stream not in STREAMS:
        raise WireError("ChunkHeader: stream: neither stdout nor stderr")
    return header, frame[end + 1 :]

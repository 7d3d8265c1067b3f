"""The output of one run as it goes to whoever watches: both streams in the order in which they were read. Pure.

A *position* counts the bytes of both streams from the start of the run, an *offset* those of one stream
(``wire.control``). Bytes are kept until the run is over: a server that has lost them may ask for any position.

Memory: the bytes, which are as many as the run may keep (its output limit for each stream), and eight bytes for each
change from one stream to the other. A script that changes with every byte thus costs nine bytes for each.
"""

from array import array
from bisect import bisect_right
from typing import NamedTuple

from lattice_agent.wire.control import MAX_CHUNK, STREAMS


class Chunk(NamedTuple):
    """Bytes of one stream, at most MAX_CHUNK."""

    stream: str
    offset: int
    position: int
    data: bytes


class LiveOutput:
    """Grows at its end, is cut from any position."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        # A part is a stretch of one stream; neighbours are of different ones, so that one bit tells them all. The
        # first is of STREAMS[0] and may be empty. For each: where it begins, and bytes of STREAMS[0] before it.
        # Four bytes each: a run keeps half a MiB at most.
        self._begins = array("I", [0])
        self._firsts = array("I", [0])
        self._first_bytes = 0

    def __len__(self) -> int:
        return len(self._bytes)

    def append(self, stream: str, data: bytes) -> None:
        """What was read from ``stream``, one of ``wire.control.STREAMS``."""
        kind = STREAMS.index(stream)
        if not data:
            return
        if (len(self._begins) - 1) % 2 != kind:
            self._begins.append(len(self._bytes))
            self._firsts.append(self._first_bytes)
        self._bytes += data
        if kind == 0:
            self._first_bytes += len(data)

    def chunk(self, position: int) -> Chunk | None:
        """The longest chunk that begins at ``position``; None at the end and beyond it."""
        if not 0 <= position < len(self._bytes):
            return None
        part = bisect_right(self._begins, position) - 1
        part_end = self._begins[part + 1] if part + 1 < len(self._begins) else len(self._bytes)
        end = min(part_end, position + MAX_CHUNK)
        of_first, begin = self._firsts[part], self._begins[part]
        before = of_first if part % 2 == 0 else begin - of_first
        return Chunk(STREAMS[part % 2], before + position - begin, position, bytes(self._bytes[position:end]))

"""The live output of one run, as far as it has arrived (``lattice_agent.wire.control``).

Bytes of both streams lie in one sequence, in the order in which the agent read them. Only what follows without a gap is
taken: what is kept is a beginning of what the script has written. Which stream bytes belong to is kept by run of bytes,
so that a script that writes single bytes to both streams in turn costs ``RUN_COST`` a byte and not an object.
"""

from array import array
from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from lattice_agent.wire.control import STREAMS, ChunkHeader

RUN_COST: Final = 16
"""Bytes of memory for each change from one stream to the other."""


class Taken(Enum):
    """What became of a chunk."""

    ADDED = auto()
    REPEATED = auto()
    """All of it was there already."""
    GAP = auto()
    """Something before it is missing; the agent is to go on from ``end``. Said once for each ``end``: what was on its
    way behind the gap is no reason to ask again."""
    BEHIND_GAP = auto()
    REFUSED = auto()
    """It is beyond the limit, or does not fit what came before: nothing more is taken of this run."""


@dataclass(frozen=True)
class Piece:
    """Bytes of one stream: ``position`` counts those of both streams before it, ``offset`` those of its own."""

    stream: str
    position: int
    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """The position after it."""
        return self.position + len(self.data)


class OutputLog:
    """What one lease of a target has written so far; at most ``limit`` bytes of each stream, as in its result."""

    def __init__(self, lease_id: str, limit: int) -> None:
        self.lease_id: Final = lease_id
        self._limit = limit
        self._data = bytearray()
        self._starts = array("Q")  # position of each run of bytes of one stream
        self._offsets = array("Q")  # and its offset in that stream
        self._first = 0  # index in STREAMS of the first run; they take turns from there
        self._written = [0, 0]
        self._missing = -1
        self._shut = False

    @property
    def end(self) -> int:
        """The position that comes next."""
        return len(self._data)

    @property
    def cost(self) -> int:
        """Bytes of memory, to within the allocator's habits."""
        return len(self._data) + RUN_COST * len(self._starts)

    def add(self, header: ChunkHeader, data: bytes) -> Taken:
        """Takes the part of a chunk that is new."""
        if self._shut:
            return Taken.REFUSED
        if header.position > self.end:
            asked, self._missing = self._missing == self.end, self.end
            return Taken.BEHIND_GAP if asked else Taken.GAP
        known = self.end - header.position
        if known >= len(data):
            return Taken.REPEATED
        stream = STREAMS.index(header.stream)
        written = self._written[stream] + len(data) - known
        if header.offset + known != self._written[stream] or written > self._limit:
            self._shut = True
            return Taken.REFUSED
        self._begin_run(stream)
        self._data += memoryview(data)[known:]
        self._written[stream] = written
        return Taken.ADDED

    def read(self, position: int, most: int) -> Piece | None:
        """At most ``most`` bytes of one stream from this position on; None if there are none yet."""
        if position >= self.end:
            return None
        run = bisect_right(self._starts, position) - 1
        start = self._starts[run]
        end = self._starts[run + 1] if run + 1 < len(self._starts) else self.end
        data = bytes(self._data[position : min(end, position + most)])
        return Piece(STREAMS[self._stream_of(run)], position, self._offsets[run] + position - start, data)

    def _begin_run(self, stream: int) -> None:
        if not self._starts:
            self._first = stream
        elif self._stream_of(len(self._starts) - 1) == stream:
            return
        self._starts.append(self.end)
        self._offsets.append(self._written[stream])

    def _stream_of(self, run: int) -> int:
        return (self._first + run) % 2

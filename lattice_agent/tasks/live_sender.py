"""Which frame goes out next: live output of the runs that go on, each as it comes, none before the others.

Theory of operation. ``begin`` makes a buffer, the script's output is appended to it, and that never waits. While a
stream is open, each run is announced (``task.running``); when the server has said where to go on (``output.from``),
its bytes go out in *sendings*: the first bytes at once, then what has gathered 200 ms after the last sending, or as
soon as a full frame has gathered. Of the runs that have something to send, the one whose last frame is longest ago is
next, so that a flood delays another run's output by one frame.

A run that ends is forgotten at once if no stream is open, or if nothing was said of it: its result is on the way. Else
what is left of its output goes out, and it is forgotten then, or after LINGER_S.

Bounds: chunks by FRAMES_PER_S, as a script that changes from one stream to the other with every byte makes a frame of
each; runs by the slots; ended ones by ENDED_MOST, of which the oldest goes; bytes of a run by the limits of its
streams, since the callback gets only what the run keeps (``tasks.live_output`` has the factor).

Everything here is for the event loop's thread; nothing but ``next_frame`` waits.
"""

import logging
from dataclasses import dataclass, field
from typing import Final

import trio

from lattice_agent.exec.output_stream import OnOutput
from lattice_agent.link.features import Features
from lattice_agent.link.pacing import TokenBucket
from lattice_agent.tasks.live_output import Chunk, LiveOutput
from lattice_agent.wire.base import encode
from lattice_agent.wire.control import MAX_CHUNK, MAX_HEADER, ChunkHeader, Running, encode_chunk
from lattice_agent.wire.ext import CONTROL_TASKS

log = logging.getLogger(__name__)

PERIOD_S: Final = 0.2
"""From one sending of a run to the next, unless a full frame has gathered before."""
LINGER_S: Final = 2.0
"""What is left of an ended run waits so long for the server to say where to go on, and for its turns."""
ENDED_MOST: Final = 16
FRAMES_PER_S: Final = 150.0
"""Chunks of all runs, over any ten seconds; what is more waits. A server may take fewer frames than one can send (ours
closes a stream on which 512 wait), and full ones are still 1.8 MB/s."""
_MOST: Final = 2**64 - 1


@dataclass
class _Live:
    """A run and how far its output went out over the stream that is open."""

    lease_id: str
    output: LiveOutput = field(default_factory=LiveOutput)
    told: bool = False
    """``task.running`` was said."""
    next: int | None = None
    """The position that goes out next; None until the server has named one."""
    goal: int = 0
    """The end of the sending that is under way."""
    sent_at: float = float("-inf")
    """When the last sending was complete."""
    ended_at: float | None = None

    def start_anew(self) -> None:
        """Nothing is known of what the server has."""
        self.told, self.next, self.goal, self.sent_at = False, None, 0, float("-inf")


def due_at(live: _Live) -> float:
    """When a chunk of this run may go out, on the clock of ``sent_at``; infinity while there is none to send."""
    if live.next is None or live.next >= len(live.output):
        return float("inf")
    gathered = len(live.output) - live.next
    if live.next < live.goal or gathered >= MAX_CHUNK or live.ended_at is not None:
        return float("-inf")
    return live.sent_at + PERIOD_S


def over_at(live: _Live) -> float:
    """When a run that has ended is forgotten; infinity while it goes on."""
    if live.ended_at is None:
        return float("inf")
    all_sent = live.next is not None and live.next >= len(live.output)
    return float("-inf") if all_sent or not live.told else live.ended_at + LINGER_S


class LiveSender:
    """The buffers of all runs, and the order in which they go out."""

    def __init__(self, features: Features) -> None:
        self._features = features
        # In the order of their turns: who has sent goes to the end.
        self._runs: dict[str, _Live] = {}
        self._open = False
        self._pace: TokenBucket | None = None  # of the stream that is open
        self._paced_until = 0.0
        self._news = trio.Event()

    def begin(self, task_id: str, lease_id: str) -> OnOutput:
        """A run starts; what the callback is given goes out live. Where nobody asks for it, nothing is kept."""
        if not self._features.has(CONTROL_TASKS) or not _fits(task_id, lease_id):
            return _ignored
        live = self._runs[task_id] = _Live(lease_id)
        self._tell()

        def on_output(stream: str, data: bytes) -> None:
            live.output.append(stream, data)
            self._tell()

        return on_output

    def end(self, task_id: str) -> None:
        """The run is over; unknown ones are ignored."""
        live = self._runs.get(task_id)
        if live is None:
            return
        live.ended_at = trio.current_time()
        if not self._open or not live.told:
            del self._runs[task_id]
        self._forget_oldest()
        self._tell()

    def lease_changed(self, task_id: str, lease_id: str) -> None:
        """The server gave a task out anew that runs already: from now on its output goes under this lease."""
        live = self._runs.get(task_id)
        if live is None or live.lease_id == lease_id:
            return
        if _fits(task_id, lease_id):
            live.lease_id = lease_id
            live.start_anew()
        else:
            del self._runs[task_id]
        self._tell()

    def opened(self) -> None:
        """A stream is open; all runs that go on are announced on it."""
        self._open = True
        self._pace, self._paced_until = TokenBucket(limit_per_s=FRAMES_PER_S, now_s=trio.current_time()), 0.0
        self._tell()

    def closed(self) -> None:
        """It is gone, and with it whatever was under way; the next one starts where the server says."""
        self._open = False
        for task_id, live in list(self._runs.items()):
            live.start_anew()
            if live.ended_at is not None:
                del self._runs[task_id]

    def output_from(self, task_id: str, lease_id: str, position: int) -> None:
        """The server has the bytes before ``position``. Ignored for another lease, and beyond what there is."""
        live = self._runs.get(task_id)
        if live is None or live.lease_id != lease_id or not live.told:
            return
        if position > len(live.output):
            log.debug("task %s: output asked for from %d, there are %d bytes", task_id, position, len(live.output))
            return
        live.next = live.goal = position
        self._tell()

    async def next_frame(self) -> str | bytes:
        """The next frame to send, for one caller. It counts as sent."""
        while True:
            news, now = self._news, trio.current_time()
            self._forget_over(now)
            if self._open and (frame := self._announcement() or self._chunk(now)) is not None:
                return frame
            with trio.move_on_at(self._next_at()):
                await news.wait()

    def _next_at(self) -> float:
        due = min((due_at(live) for live in self._runs.values()), default=float("inf"))
        over = min((over_at(live) for live in self._runs.values()), default=float("inf"))
        return min(max(due, self._paced_until), over)

    def _announcement(self) -> str | None:
        for task_id, live in self._runs.items():
            if not live.told:
                live.told = True
                running = Running(task_id=task_id, lease_id=live.lease_id, position=len(live.output))
                return encode(running).decode()
        return None

    def _chunk(self, now: float) -> bytes | None:
        for task_id, live in self._runs.items():
            if due_at(live) <= now:
                return self._next_of(task_id, live, now) if self._may_send(now) else None
        return None

    def _may_send(self, now: float) -> bool:
        assert self._pace is not None
        wait_s = self._pace.take(now)
        self._paced_until = now + wait_s
        return wait_s == 0.0

    def _next_of(self, task_id: str, live: _Live, now: float) -> bytes:
        assert live.next is not None
        if live.next >= live.goal:
            live.goal = len(live.output)
        chunk = live.output.chunk(live.next)
        assert chunk is not None
        live.next += len(chunk.data)
        if live.next >= live.goal:
            live.sent_at = now
        self._runs[task_id] = self._runs.pop(task_id)
        return _frame(task_id, live.lease_id, chunk)

    def _forget_over(self, now: float) -> None:
        for task_id in [task_id for task_id, live in self._runs.items() if over_at(live) <= now]:
            del self._runs[task_id]

    def _forget_oldest(self) -> None:
        ended = sorted((live.ended_at, task_id) for task_id, live in self._runs.items() if live.ended_at is not None)
        for _, task_id in ended[:-ENDED_MOST]:
            del self._runs[task_id]

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


def _frame(task_id: str, lease_id: str, chunk: Chunk) -> bytes:
    header = ChunkHeader(
        task_id=task_id, lease_id=lease_id, stream=chunk.stream, offset=chunk.offset, position=chunk.position
    )
    return encode_chunk(header, chunk.data)


def _fits(task_id: str, lease_id: str) -> bool:
    """Whether a chunk's header has room for the ids; a run with longer ones (the server's have 37) is not live."""
    longest = ChunkHeader(task_id=task_id, lease_id=lease_id, stream="stdout", offset=_MOST, position=_MOST)
    return len(encode(longest)) < MAX_HEADER


def _ignored(stream: str, data: bytes) -> None:
    """Output that nobody asked for."""

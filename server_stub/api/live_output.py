"""The live output of all runs that agents tell of: bounded, in memory, gone with the process.

Theory of operation. An agent says that a run goes on; from then on there is a log of that target under its lease, empty
at first, and the agent sends from its end. The log ends with the target's result, which is authoritative; without a
result it is let go some time after the lease. It begins anew with another lease, and after a restart of the server, for
the agent keeps what it has sent until the run has ended. A viewer sees that the log is another one, and begins anew.

When all logs together exceed their bound, the one that was quiet for longest is let go. Nothing more of that run is
taken until the agent connects again: taking it from the start at once would only push out the next.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from lattice_agent.wire.control import ChunkHeader
from server_stub.api.watch import Watcher
from server_stub.config import Limits
from server_stub.rules.live_output import OutputLog, Taken

_LOG_COST: Final = 1_024
"""Bytes of memory of an empty log, roughly; counted so that their number is bounded, too."""

Key = tuple[str, str]
"""Task and node."""


@dataclass
class _Kept:
    log: OutputLog
    until: float
    """By the clock of ``LiveOutputs``' callers; then it may go."""


class LiveOutputs:
    """By task and node. For the event loop's thread only; ``now`` is ``Clock.monotonic``."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.live_output_bytes
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()  # the quietest first
        self._cost = 0
        self._watchers: dict[Key, set[Watcher]] = {}

    def begin(self, task_id: str, node_id: str, lease_id: str, limit: int, until: float, now: float) -> int:
        """The run goes on under this lease; the position that the agent is to send from.

        ``limit``: bytes of each stream; ``until``: when the log may be forgotten if nothing ends it.
        """
        self._forget_old(now)
        key = task_id, node_id
        kept = self._kept.get(key)
        if kept is None or kept.log.lease_id != lease_id:
            self._drop(key)
            kept = self._kept[key] = _Kept(OutputLog(lease_id, limit), until)
            self._cost += _LOG_COST
            self._make_room()
            self._ring(key)
        return kept.log.end

    def add(self, node_id: str, header: ChunkHeader, data: bytes) -> tuple[Taken, int]:
        """A chunk that the node has sent, and the position that comes next. Of a run that nobody spoke of, nothing is
        taken."""
        key = header.task_id, node_id
        kept = self._kept.get(key)
        if kept is None or kept.log.lease_id != header.lease_id:
            return Taken.REFUSED, 0
        before = kept.log.cost
        taken = kept.log.add(header, data)
        if taken is Taken.ADDED:
            self._cost += kept.log.cost - before
            self._kept.move_to_end(key)
            self._make_room()
            self._ring(key)
        return taken, kept.log.end

    def ended(self, task_id: str, node_id: str) -> None:
        """The target's result is in the store; viewers take it from there."""
        self._drop((task_id, node_id))

    def log(self, task_id: str, node_id: str) -> OutputLog | None:
        """As far as there is one. A log that is no longer this one has been replaced or let go."""
        kept = self._kept.get((task_id, node_id))
        return None if kept is None else kept.log

    @contextmanager
    def viewed(self, task_id: str, node_id: str, watcher: Watcher) -> Iterator[None]:
        """The watcher rings whenever there is more, or another log."""
        key = task_id, node_id
        self._watchers.setdefault(key, set()).add(watcher)
        try:
            yield
        finally:
            watchers = self._watchers[key]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[key]

    def _forget_old(self, now: float) -> None:
        for key in [key for key, kept in self._kept.items() if kept.until < now]:
            self._drop(key)

    def _make_room(self) -> None:
        while self._cost > self._most and len(self._kept) > 1:  # one alone is bounded by its task's limit
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._cost -= _LOG_COST + kept.log.cost
            self._ring(key)

    def _ring(self, key: Key) -> None:
        for watcher in self._watchers.get(key, ()):
            watcher.ring()

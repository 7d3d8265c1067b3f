"""The open control streams of agents, and what is to be said over them (``lattice_agent.wire.control``).

Nothing here is the only way: what an agent misses because its stream is down, or because it does not read, it learns
from the database, by its next poll or when its stream opens again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from lattice_agent.wire.control import DRAIN, TASK_CANCEL, TASK_READY, Order
from server_stub.config import Limits
from server_stub.errors import Refused
from server_stub.store.records import Credential

_WAITING_MOST: Final = 64
"""Orders for an agent that does not read; what would be more is dropped, as the reference does beyond 16. An agent that
has connected anew is answered one for each of up to 16 runs, beside what it is told anyway."""
POLICY_VIOLATION: Final = 1008
SERVICE_RESTART: Final = 1012


class AgentStream:
    """One control stream: orders on their way out, and whether it may go on."""

    def __init__(self, credential: Credential) -> None:
        self.credential: Final = credential
        self._orders: deque[Order] = deque()
        self._news = anyio.Event()
        self.closed_with: tuple[int, str] | None = None
        """Code and reason of the server's end; nothing more is said then."""

    def say(self, order: Order) -> bool:
        """Queue an order; False if it was dropped. One that waits already is not queued again; of ``drain`` only the
        last word waits, for on, off and on again must end with on."""
        if order.type == DRAIN:
            self._orders = deque(waiting for waiting in self._orders if waiting.type != DRAIN)
        if order in self._orders:
            return True
        if len(self._orders) >= _WAITING_MOST and order.type != DRAIN:  # it is in there once at most
            return False
        self._orders.append(order)
        self._news.set()
        return True

    def close(self, code: int, reason: str) -> None:
        """Nothing more is said, not even what waits."""
        self.closed_with = code, reason
        self._news.set()

    async def next(self) -> Order | None:
        """The oldest order; waits for one. None when the stream is to be closed."""
        while not self._orders and self.closed_with is None:
            self._news = anyio.Event()
            await self._news.wait()
        return None if self.closed_with is not None else self._orders.popleft()


class AgentStreams:
    """All of them, by node. For the event loop's thread only."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._streams: dict[str, list[AgentStream]] = {}
        self._count = 0
        self._stopping = False

    @contextmanager
    def open(self, credential: Credential) -> Iterator[AgentStream]:
        """A stream of this node, as long as the block lasts. ``Refused`` 429 beyond the limits, 503 at the end."""
        if self._stopping:
            raise Refused(503, "the server stops")
        node_id = credential.node_id
        own = self._streams.get(node_id, [])
        if len(own) >= self._limits.control_streams_per_node or self._count >= self._limits.control_streams:
            raise Refused(429, "too many control streams")
        stream = AgentStream(credential)
        self._streams.setdefault(node_id, []).append(stream)
        self._count += 1
        try:
            yield stream
        finally:
            self._count -= 1
            self._streams[node_id].remove(stream)
            if not self._streams[node_id]:
                del self._streams[node_id]

    def connected(self, node_id: str) -> bool:
        """Whether the node has a stream open."""
        return node_id in self._streams

    def revoke(self, node_of: Callable[[bytes], Credential | None]) -> None:
        """Close the streams whose credential is not what ``Store.node_of`` says by now: disabled, or another token."""
        for streams in self._streams.values():
            for stream in streams:
                if node_of(stream.credential.token_sha256) != stream.credential:
                    stream.close(POLICY_VIOLATION, "the token is no longer good")

    def close(self) -> None:
        """The server stops: all are closed, and no more are opened."""
        self._stopping = True
        for streams in self._streams.values():
            for stream in streams:
                stream.close(SERVICE_RESTART, "the server stops")

    def wake(self, node_ids: Iterable[str]) -> None:
        """There is work for these nodes."""
        for node_id in node_ids:
            self._say(node_id, Order(type=TASK_READY))

    def cancel(self, node_id: str, task_id: str) -> None:
        """The node is to end this task."""
        self._say(node_id, Order(type=TASK_CANCEL, task_id=task_id))

    def drain(self, node_id: str, on: bool) -> None:
        """The node is to take no tasks, or to take some again."""
        self._say(node_id, Order(type=DRAIN, on=on))

    def _say(self, node_id: str, order: Order) -> None:
        for stream in self._streams.get(node_id, ()):
            stream.say(order)

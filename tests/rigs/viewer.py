"""An operator who watches a target's output to its end, whatever happens to the connection or to the server.

It does what an ``EventSource`` does and a page adds (docs/protocol.md, section 8): connects again with the last id that
it was given, and clears what is shown at ``reset``.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import h11
import trio

from lattice_agent.wire.control import STREAMS
from tests.rigs.live_plane import Answered, Event, LivePlane

AGAIN_S = 0.1
"""Between two attempts; a server that starts is back within a few."""


@dataclass
class Viewer:
    """``follow`` runs in a task of its own; ``pause_s`` after each event makes a slow reader."""

    plane: LivePlane
    task_id: str
    node_id: str
    pause_s: float = 0.0
    shown: dict[str, bytes] = field(default_factory=lambda: dict.fromkeys(STREAMS, b""))
    last_id: str = ""
    resets: int = 0
    connections: int = 0
    ending: Event | None = None
    _news: trio.Event = field(default_factory=trio.Event)

    async def follow(self) -> None:
        """Until ``result`` or ``end``."""
        while self.ending is None:
            with suppress(OSError, Answered, trio.BrokenResourceError, h11.RemoteProtocolError):  # the server is away
                await self._one_connection()
            if self.ending is None:
                await trio.sleep(AGAIN_S)

    async def _one_connection(self) -> None:
        async with self.plane.follow(self.task_id, "output", last_id=self.last_id, node=self.node_id) as reader:
            self.connections += 1
            reader.shown = self.shown
            while (event := await reader.event(patience_s=float("inf"))) is not None:
                self.shown, self.last_id = reader.shown, reader.last_id
                if event.name == "reset":
                    self.resets += 1
                if event.name in ("result", "end"):
                    self.ending = event
                self._news.set()
                self._news = trio.Event()
                await trio.sleep(self.pause_s)

    async def until(self, condition: Callable[["Viewer"], object]) -> None:
        """Looks after each event."""
        while not condition(self):
            await self._news.wait()

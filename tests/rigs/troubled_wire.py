"""A proxy of bytes between agent and control plane: connections that are cut, swallow everything, or are slow.

What it holds it delivers later, as TCP would after a black hole; who has hung up meanwhile does not get it. Trouble is
for the control stream alone or for everything: a connection counts as the control stream from the moment at which its
upgrade is asked for.
"""

import itertools
import select
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from urllib.parse import urlsplit

PIECE = 16_384
CONNECT_S = 20.0
_UPGRADE = b"GET /api/agent/control/stream"
_HEARTBEAT = b"POST /api/agent/metrics"


class Trouble(Enum):
    """Whom it is for."""

    NOBODY = "nobody"
    STREAM = "stream"
    EVERYBODY = "everybody"


class TroubledWire(socketserver.ThreadingTCPServer):
    """Between the agent and ``upstream`` (a URL)."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        place = urlsplit(upstream)
        self.upstream = str(place.hostname), place.port or 0
        self.beats: list[float] = []
        """Monotonic times at which heartbeats were handed to the control plane."""
        self.streams = 0
        """Upgrades that were asked for."""
        self.stream_pace: float | None = None
        """Bytes a second from the agent on the control stream; None: as fast as it goes."""
        self.cut_within: int | None = None
        """The control stream is cut after so many more bytes from the agent, wherever that is."""
        self._held = Trouble.NOBODY
        self._changed = threading.Condition()
        self._links: set[_Link] = set()
        self._over = False
        super().__init__(("127.0.0.1", 0), _Link)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def hold(self, whom: Trouble) -> None:
        """A black hole in both directions, from now on; ``NOBODY`` ends it."""
        with self._changed:
            self._held = whom
            self._changed.notify_all()

    def cut(self) -> None:
        """Ends all connections."""
        for link in list(self._links):
            link.cut()

    def wait_passable(self, link: "_Link") -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._over or not self._holds(link))

    def _holds(self, link: "_Link") -> bool:
        return self._held is Trouble.EVERYBODY or (self._held is Trouble.STREAM and link.is_stream)

    def end(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self.cut()

    def longest_gap(self, since: float, until: float) -> float:
        """Seconds without a heartbeat, between these moments."""
        moments = [since, *(beat for beat in list(self.beats) if since <= beat <= until), until]
        return max(later - earlier for earlier, later in itertools.pairwise(moments))


class _Link(socketserver.BaseRequestHandler):
    """One connection of the agent, and the one behind it."""

    server: TroubledWire
    request: socket.socket

    def setup(self) -> None:
        self.is_stream = False
        self.behind: socket.socket | None = None
        self.server._links.add(self)

    def handle(self) -> None:
        with suppress(OSError):
            with socket.create_connection(self.server.upstream, CONNECT_S) as self.behind:
                self.behind.settimeout(None)
                back = threading.Thread(target=self._pump, args=(self.behind, self.request, False), daemon=True)
                back.start()
                self._pump(self.request, self.behind, True)
                back.join()

    def finish(self) -> None:
        self.server._links.discard(self)

    def cut(self) -> None:
        for end in (self.request, self.behind):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _pump(self, source: socket.socket, sink: socket.socket, from_agent: bool) -> None:
        try:
            while True:
                select.select([source], [], [])
                self.server.wait_passable(self)
                data = source.recv(PIECE)
                if not data:
                    return
                if from_agent and _UPGRADE in data:
                    self.is_stream = True
                    self.server.streams += 1
                self.server.wait_passable(self)  # also what was on its way already
                sink.sendall(self._troubled(data) if from_agent else data)
                if from_agent and _HEARTBEAT in data:
                    self.server.beats.append(time.monotonic())
        except OSError:
            pass  # either side has hung up
        finally:
            self.cut()

    def _troubled(self, data: bytes) -> bytes:
        if not self.is_stream:
            return data
        pace, within = self.server.stream_pace, self.server.cut_within
        if pace is not None:
            time.sleep(len(data) / pace)
        if within is None:
            return data
        self.server.cut_within = within - len(data)
        if self.server.cut_within >= 0:
            return data
        self.server.cut_within = None
        assert self.behind is not None
        self.behind.sendall(data[:within])
        raise ConnectionError("cut in the middle")


@contextmanager
def troubled_wire(upstream: str) -> Iterator[TroubledWire]:
    """Runs until the end of the block."""
    with TroubledWire(upstream) as wire:
        thread = threading.Thread(target=wire.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield wire
        finally:
            wire.shutdown()
            wire.end()
            thread.join()

"""A proxy between agent and control plane that loses what a test tells it to lose, and notes what passed and when.

It speaks the little HTTP/1.1 that the two speak with each other: requests one after another on a connection, bodies
with a Content-Length. Losing means that the agent's connection is cut.
"""

import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedIOBase
from urllib.parse import urlsplit

STUCK_S = 20.0
"""No exchange of these tests takes this long; a connection on which nothing comes is closed."""


@dataclass(frozen=True)
class Exchange:
    """A request that arrived here; ``at`` is monotonic time in seconds."""

    path: str
    at: float


class CuttingProxy(socketserver.ThreadingTCPServer):
    """``upstream`` (a URL) may be changed while it runs; a control plane that is not there looks like a cut."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.exchanges: list[Exchange] = []
        self.lose_request: Callable[[str], bool] = lambda path: False
        """Asked with the path of each request, in its thread; such a request does not reach the control plane."""
        self.lose_answer: Callable[[str], bool] = lambda path: False
        """Likewise; the control plane has dealt with the request and its answer goes nowhere."""
        self.hand_over: Callable[[str, BufferedIOBase, bytes], object] = lambda path, agent, answer: agent.write(answer)
        """How an answer gets to the agent."""
        self.tls: ssl.SSLContext | None = None
        """What new connections begin with; None: cleartext."""
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Connection)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def beats(self) -> list[float]:
        """When heartbeats came."""
        return self.times("/api/agent/metrics")

    def cut(self) -> None:
        """Ends all connections of the agent."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def times(self, path: str) -> list[float]:
        """When requests to the path came."""
        return [exchange.at for exchange in self.exchanges if exchange.path == path]


class _Connection(socketserver.StreamRequestHandler):
    """One connection of the agent."""

    server: CuttingProxy
    timeout = STUCK_S

    def setup(self) -> None:
        self.server._open.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.server._open = {connection for connection in self.server._open if connection.fileno() >= 0}
        self.server._open.discard(self.request)
        super().finish()

    def handle(self) -> None:
        with suppress(OSError):  # either side hung up, or does not trust the other
            if self.server.tls is None:
                self._forward_all()
                return
            with self.server.tls.wrap_socket(self.request, server_side=True) as private:
                self.server._open.add(private)
                self.rfile, self.wfile = private.makefile("rb"), private.makefile("wb", buffering=0)
                self._forward_all()

    def _forward_all(self) -> None:
        place = urlsplit(self.server.upstream)
        request = _read_message(self.rfile)
        if not request.complete or place.hostname is None or place.port is None:
            return
        with socket.create_connection((place.hostname, place.port), STUCK_S) as plane, plane.makefile("rb") as answers:
            while request.complete and self._forward(request.content, plane, answers):
                request = _read_message(self.rfile)

    def _forward(self, request: bytes, plane: socket.socket, answers: BufferedIOBase) -> bool:
        """One exchange; False when the connection ends with it."""
        path = urlsplit(request.split(b" ", 2)[1].decode()).path
        self.server.exchanges.append(Exchange(path, time.monotonic()))
        if self.server.lose_request(path):
            return False
        plane.sendall(request)
        answer = _read_message(answers)
        if self.server.lose_answer(path):
            return False
        self.server.hand_over(path, self.wfile, answer.content)
        return answer.complete


@dataclass(frozen=True)
class _Message:
    content: bytes
    complete: bool


def _read_message(stream: BufferedIOBase) -> _Message:
    """Head and body, or what there was of them before the end of the stream."""
    head, length = b"", 0
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return _Message(head, complete=False)
        head += line
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    body = stream.read(length)
    return _Message(head + body, complete=len(body) == length)


@contextmanager
def cutting_proxy(upstream: str) -> Iterator[CuttingProxy]:
    """Runs until the end of the block."""
    with CuttingProxy(upstream) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()

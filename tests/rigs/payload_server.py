"""What users of a proxy download: ``GET /N`` answers with N bytes, which a test can hold up on their way."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

HELD_S: Final = 20.0
"""Outer limit of a hold: an answer that is held for longer ends short."""

_CHUNK: Final = 65_536


class PayloadServer(ThreadingHTTPServer):
    """``moved``: bytes that were sent, and when (monotonic seconds)."""

    daemon_threads = True

    def __init__(self) -> None:
        self.moved: list[tuple[float, int]] = []
        self._flows = threading.Event()
        self._flows.set()
        self._stands = threading.Event()
        super().__init__(("127.0.0.1", 0), _Payload)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it one download at least stands still where it is, and all others that there are; none is closed."""
        self._stands.clear()
        self._flows.clear()
        try:
            assert self._stands.wait(HELD_S), "there is no download"
            yield
        finally:
            self._flows.set()

    def send(self, target: "_Payload", size: int) -> None:
        """In the thread of the connection."""
        while size > 0 and self._may_go():
            written = target.wfile.write(bytes(min(size, _CHUNK)))
            self.moved.append((time.monotonic(), written))
            size -= written

    def _may_go(self) -> bool:
        if not self._flows.is_set():
            self._stands.set()
        return self._flows.wait(HELD_S)


class _Payload(BaseHTTPRequestHandler):
    """One connection."""

    server: PayloadServer

    def do_GET(self) -> None:
        size = int(self.path.lstrip("/"))
        try:
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.server.send(self, size)
        except ConnectionError:
            pass  # the proxy was killed on the way

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def payload_server() -> Iterator[PayloadServer]:
    """Runs until the end of the block."""
    server = PayloadServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(HELD_S)
        server.server_close()

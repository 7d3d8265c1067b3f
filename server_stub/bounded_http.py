"""HTTP/1.1 as uvicorn speaks it, with bounds where it has none: it reads a request's head, and the trailers behind a
chunked body, whatever their size, waits for a head for as long as somebody keeps the connection open, and queues every
request that came in one reading, 14,000 of 18 bytes, which cost some 20 MiB. All of this is before anybody has shown a
token."""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_OVERHEAD: Final = 65_536
"""Bytes of a request that are not its body: line, headers, frames of chunks, trailers. One reading (256 KiB) may come
on top; then the answer is 400 and the connection ends."""
HEAD_SECONDS: Final = 30.0
"""From the connection, or from the first byte of a later request, to the end of the head; then the connection ends. The
body has a deadline of its own (``server_stub.api.body``)."""

PIPELINED_MOST: Final = 16
"""Requests that wait for the answers to earlier ones; with one more the connection is cut off. No client of ours sends
a request before it has the answer to the last one."""


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    _overhead = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        # uvicorn leaves it for a connection that was reset: with its buffers that would stay for two minutes.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > MAX_OVERHEAD and self.transport.get_protocol() is self:  # and not a WebSocket's by now
            self._refuse()

    def on_message_begin(self) -> None:
        self._overhead = 0
        self._start_deadline()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_deadline()
        if len(self.pipeline) >= PIPELINED_MOST:
            self.transport.abort()
            raise ValueError("too many requests at once")  # for the parser, which stops
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def on_body(self, body: bytes) -> None:
        self._overhead = max(0, self._overhead - len(body))
        super().on_body(body)

    def _refuse(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.send_400_response("The head of the request is too large.")
        else:  # an answer is on its way: no other one can be put into it
            self.transport.close()

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._end)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        self._deadline = None
        self.transport.close()

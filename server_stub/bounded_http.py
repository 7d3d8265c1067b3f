"""HTTP/1.1 as uvicorn speaks it, with bounds where it has none: it reads a request's head, and the trailers behind a
chunked body, whatever their size, and waits for a head for as long as somebody keeps the connection open. All of this
is before anybody has shown a token."""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_OVERHEAD: Final = 65_536
"""Bytes of a request that are not its body: line, headers, frames of chunks, trailers. One reading (256 KiB) may come
on top; then the answer is 400 and the connection ends."""
HEAD_SECONDS: Final = 30.0
"""From the connection, or from the first byte of a later request, to the end of the head; then the connection ends. The
body has a deadline of its own (``server_stub.api.body``)."""


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    _overhead = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
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
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead = max(0, self._overhead - len(body))
        super().on_body(body)

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
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

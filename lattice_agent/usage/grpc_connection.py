"""Unary gRPC calls over plaintext HTTP/2, with h2 on trio (docs/adr/0013-h2-instead-of-grpcio.md).

One call at a time, and no deadline of its own: the caller has one. What arrives is bounded by ``MESSAGE_LIMIT`` for
the message and ``WIRE_LIMIT`` for everything, so that a peer that sends frames without content comes to an end too.
The window of a stream is HTTP/2's own 65,535 bytes, given back as they are read.
"""

from types import TracebackType
from typing import Final, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import trio

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.grpc_answer import MESSAGE_LIMIT, Answer, NotGrpcError, framed

WIRE_LIMIT: Final = 2 * MESSAGE_LIMIT
"""Bytes received for one call, frames and all."""

_CHUNK: Final = 65_536
_SETTINGS: Final = 4  # type of the frame that every HTTP/2 peer begins with (RFC 9113, 3.4)
_TYPE_AT: Final = 3  # behind three bytes of length
_ENDED: Final = "the connection ended before an answer had come"
_HEADERS: Final = ((b"te", b"trailers"), (b"content-type", b"application/grpc"), (b"user-agent", b"lattice-agent"))
_SETUP: Final = h2.config.H2Configuration(client_side=True, header_encoding=None)


class GrpcConnection:
    """A connection over ``stream``, which it owns; use as ``async with``. ``authority`` is the host and port asked.

    ``sent`` and ``received`` count bytes on the wire since the connection was made.
    """

    def __init__(self, stream: trio.abc.Stream, authority: str) -> None:
        self._stream = stream
        self._authority = authority.encode()
        self._http = h2.connection.H2Connection(_SETUP)
        self._http.initiate_connection()
        self.sent = 0
        self.received = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await trio.aclose_forcefully(self._stream)  # the call is over or lost; there is nothing left to say

    async def call(self, path: str, request: bytes) -> bytes:
        """The answer's message to the one in ``request``, from the method ``/package.Service/Method``.

        ``RefusedCallError`` if the core refuses, ``UsageSourceError`` if it does not answer in gRPC.
        """
        answer, limit = Answer(), self.received + WIRE_LIMIT
        try:
            stream_id = await self._send(path, framed(request))
            is_over = False
            while not is_over:
                is_over = self._take(await self._receive(), stream_id, answer)
                await self._flush()
                if self.received > limit:
                    raise UsageSourceError(f"the answer takes more than {WIRE_LIMIT} bytes on the wire")
        except h2.exceptions.H2Error as error:
            raise NotGrpcError(f"the core breaks the rules of HTTP/2: {type(error).__name__}") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise NotGrpcError(_ENDED) from None
        return answer.message()

    async def _send(self, path: str, body: bytes) -> int:
        stream_id = self._http.get_next_available_stream_id()
        pseudo = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()))
        self._http.send_headers(stream_id, (*pseudo, (b":authority", self._authority), *_HEADERS))
        # A request is a few dozen bytes. A peer whose window is smaller than that gets an error, not patience.
        self._http.send_data(stream_id, body, end_stream=True)
        await self._flush()
        return stream_id

    async def _receive(self) -> list[h2.events.Event]:
        data = await self._stream.receive_some(_CHUNK)
        if not data:
            raise NotGrpcError(_ENDED)
        self._check_opening(data)
        self.received += len(data)
        return self._http.receive_data(bytes(data))

    def _check_opening(self, data: bytes | bytearray) -> None:
        # Other protocols seem to h2 to announce a frame of megabytes, and it would wait for that.
        place = _TYPE_AT - self.received
        if 0 <= place < len(data) and data[place] != _SETTINGS:
            raise NotGrpcError("what listens there does not speak HTTP/2")

    async def _flush(self) -> None:
        data = self._http.data_to_send()
        self.sent += len(data)
        if data:
            await self._stream.send_all(data)

    def _take(self, events: list[h2.events.Event], stream_id: int, answer: Answer) -> bool:
        """Puts what came into the answer; whether that was all of it."""
        is_over = False
        for event in events:
            match event:
                case h2.events.ConnectionTerminated(error_code=code):
                    raise UsageSourceError(f"the core ends the connection (GOAWAY, code {code!s:.40})")
                case _ if getattr(event, "stream_id", None) != stream_id:
                    continue
                case h2.events.ResponseReceived(headers=headers) | h2.events.TrailersReceived(headers=headers):
                    answer.take_headers(headers or ())
                case h2.events.DataReceived(data=data, flow_controlled_length=size):
                    answer.take_data(data or b"")
                    self._http.acknowledge_received_data(size or 0, stream_id)
                case h2.events.StreamReset(error_code=code):
                    raise UsageSourceError(f"the core ends the call (RST_STREAM, code {code!s:.40})")
                case h2.events.StreamEnded():
                    is_over = True
        return is_over

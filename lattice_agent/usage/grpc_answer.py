"""The answer to a unary gRPC call, put together from what an HTTP/2 stream brings (pure).

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: headers, then one message with a prefix of five bytes
(a flag for compression, the length), then trailers with the status. A refusal may come as headers alone.
"""

import struct
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from lattice_agent.errors import UsageSourceError

MESSAGE_LIMIT: Final = 1_048_576
"""Bytes of an answer's message; a longer one is refused while it arrives."""

UNIMPLEMENTED: Final = 12

_PREFIX: Final = struct.Struct(">BI")
_DETAIL_LIMIT: Final = 200  # characters of a core's own words that a report can hold besides ours


class NotGrpcError(UsageSourceError):
    """What listens does not answer as gRPC does."""

    default_hint = "check that this is the port of the core's statistics API, without TLS"


class RefusedCallError(UsageSourceError):
    """The core answered with a status other than 0: ``code``, and ``detail`` in its own words (may be empty)."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"the core refuses the call with gRPC status {code}{detail and ': '}{detail}")
        self.code = code
        self.detail = detail


def framed(message: bytes) -> bytes:
    """A message with its prefix, not compressed."""
    return _PREFIX.pack(0, len(message)) + message


class Answer:
    """Takes headers, data and trailers as they come; ``message`` is what they amount to at the end of the stream."""

    def __init__(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()

    def take_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Headers or trailers; of those that come again, the last counts."""
        self._headers.update(headers)
        if self._headers.get(b":status", b"200") != b"200":
            raise NotGrpcError(f"the answer has HTTP status {_text(self._headers[b':status'])}, so it is not gRPC")
        if not self._headers.get(b"content-type", b"").startswith(b"application/grpc"):
            raise NotGrpcError("the answer is HTTP/2 but not gRPC")

    def take_data(self, data: bytes) -> None:
        """A piece of the body."""
        self._body += data
        if len(self._body) > MESSAGE_LIMIT + _PREFIX.size:
            raise UsageSourceError(f"the answer is longer than {MESSAGE_LIMIT} bytes")

    def message(self) -> bytes:
        """The message of a stream that has ended; ``RefusedCallError`` if the core refused the call."""
        self._check_status()
        if len(self._body) < _PREFIX.size:
            raise NotGrpcError("the answer holds no message")
        flag, size = _PREFIX.unpack_from(self._body)
        if flag:
            raise UsageSourceError("the answer is compressed although that was not asked for")
        if size != len(self._body) - _PREFIX.size:
            raise NotGrpcError("the answer is cut, or holds more than one message")
        return bytes(self._body[_PREFIX.size :])

    def _check_status(self) -> None:
        status = self._headers.get(b"grpc-status")
        if status is None:
            raise NotGrpcError("the answer ends without a gRPC status")
        if not (status.isdigit() and len(status) <= 3):
            raise NotGrpcError(f"the answer has the gRPC status {_text(status)!r}")
        if int(status):
            raise RefusedCallError(int(status), _text(unquote_to_bytes(self._headers.get(b"grpc-message", b""))))


def _text(content: bytes) -> str:
    text = content.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text).strip()[:_DETAIL_LIMIT]

"""Server-sent events (text/event-stream), read in pieces of any size.

Of the format in the HTML standard this reads what the operator API sends: lines that end with a line feed (a carriage
return before it is dropped), ``event``, ``data`` and ``id`` fields, comments. Other fields are ignored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from server_stub.cli.errors import AnswerError

EVENT_LIMIT: Final = 8 * 2**20
"""Bytes. A result is at most 3 MiB of JSON (0.5 MiB of text, all of it escaped); a larger event is an error."""
OPENED: Final = "opened"
"""The name of an event of our own making: the server has begun to answer."""


@dataclass(frozen=True)
class Event:
    """One event; ``id`` is empty if it carries none."""

    name: str
    data: str
    id: str = ""


class EventParser:
    """Bytes in, events out. Raises ``AnswerError`` for one larger than the limit and for what is not UTF-8."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._name = "message"
        self._id = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[Event]:
        self._buffer += piece
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            self._searched = 0
            event = self._take(line)
            if event is not None:
                yield event
        self._searched = len(self._buffer)  # a long line is not searched again from its start for each piece
        self._check_size(len(self._buffer))

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        if line.startswith(b":"):
            return None
        self._size += len(line) + 1
        self._check_size(0)
        name, _, value = _decoded(line).partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "id":
                self._id = value
            case "data":
                self._data.append(value)
        return None

    def _dispatch(self) -> Event | None:
        """The event that an empty line ends; one without data is none."""
        event = Event(self._name, "\n".join(self._data), self._id) if self._data else None
        self._name, self._id, self._data, self._size = "message", "", [], 0
        return event

    def _check_size(self, more: int) -> None:
        if self._size + more > EVENT_LIMIT:
            raise AnswerError(f"an event of the answer is larger than {EVENT_LIMIT} bytes")


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise AnswerError("an event of the answer is not UTF-8") from None

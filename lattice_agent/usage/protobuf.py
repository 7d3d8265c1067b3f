"""The wire format of protocol buffers, as far as two small messages need it (pure).

https://protobuf.dev/programming-guides/encoding: a message is a run of fields, each a varint of number and wire type
followed by a value. Whatever the bytes are, reading raises nothing but ``UsageSourceError`` and ends after one pass.
"""

from collections.abc import Iterator
from typing import Final

from lattice_agent.errors import UsageSourceError

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5
_FIXED_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_VARINT_LIMIT: Final = 2**64
_LAST_FIELD: Final = 2**29 - 1
_MORE: Final = 0x80


Field = tuple[int, int | bytes]
"""A field's number and value: a number below 2**64 for a varint, bytes for everything else."""


def string_field(number: int, text: str) -> bytes:
    """An encoded string field."""
    content = text.encode()
    return _varint(number << 3 | _LENGTH) + _varint(len(content)) + content


def bool_field(number: int, value: bool) -> bytes:
    """An encoded boolean, written out even if it is false."""
    return _varint(number << 3 | _VARINT) + bytes([value])


def fields(message: bytes, *, limit: int) -> Iterator[Field]:
    """The fields of ``message`` in order.

    ``UsageSourceError`` at the first that is cut or of no known type, and after ``limit`` fields: a megabyte of fields
    of two bytes would hold the event loop for half a second.
    """
    position = count = 0
    while position < len(message):
        count += 1
        if count > limit:
            raise UsageSourceError(f"the answer has a protobuf message of more than {limit} fields")
        key, position = _read_varint(message, position)
        number, kind = key >> 3, key & 7
        if not 0 < number <= _LAST_FIELD:
            raise UsageSourceError(f"the answer has a protobuf field {number}")
        if kind == _VARINT:
            value, position = _read_varint(message, position)
            yield number, value
            continue
        size, position = _size(message, position, kind)
        if size > len(message) - position:
            raise UsageSourceError("the answer ends within a protobuf field")
        yield number, message[position : position + size]
        position += size


def _size(message: bytes, position: int, kind: int) -> tuple[int, int]:
    if kind == _LENGTH:
        return _read_varint(message, position)
    if kind not in _FIXED_SIZES:
        raise UsageSourceError(f"the answer has a protobuf field of wire type {kind}")
    return _FIXED_SIZES[kind], position


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    if position < len(message) and message[position] < _MORE:
        return message[position], position + 1  # nearly all of them
    value = shift = 0
    for byte in message[position : position + 10]:  # ten groups of seven bits hold 64
        position += 1
        value |= (byte & ~_MORE) << shift
        if byte < _MORE:
            if value >= _VARINT_LIMIT:
                break
            return value, position
        shift += 7
    raise UsageSourceError("the answer has a protobuf number that is cut or above 64 bits")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= _MORE:
        encoded.append(value & ~_MORE & 0xFF | _MORE)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

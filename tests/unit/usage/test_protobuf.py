from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.protobuf import bool_field, fields, string_field
from tests.rigs.scripted_core import nested, varint


def refusal(message: bytes, limit: int = 10) -> str:
    with pytest.raises(UsageSourceError) as raised:
        list(fields(message, limit=limit))
    return str(raised.value)


def test_the_encoding_is_the_one_of_the_specification() -> None:
    # https://protobuf.dev/programming-guides/encoding: field 2 "testing", and field 1 = 150
    assert string_field(2, "testing") == bytes.fromhex("12 07 74 65 73 74 69 6e 67")
    assert bool_field(2, value=False) == b"\x10\x00"
    assert [*fields(bytes.fromhex("08 96 01 12 07 74 65 73 74 69 6e 67"), limit=2)] == [(1, 150), (2, b"testing")]


def test_fixed_fields_are_read_as_bytes() -> None:
    assert [*fields(b"\x09" + b"8" * 8 + b"\x0d" + b"4" * 4, limit=2)] == [(1, b"8" * 8), (1, b"4" * 4)]


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (b"\x80", "the answer has a protobuf number that is cut or above 64 bits"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "the answer has a protobuf number that is cut or above 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "the answer has a protobuf number that is cut or above 64 bits"),
        (b"\x08", "the answer has a protobuf number that is cut or above 64 bits"),
        (b"\x00\x01", "the answer has a protobuf field 0"),
        (varint(2**29 << 3) + b"\x01", "the answer has a protobuf field 536870912"),
        (b"\x0b", "the answer has a protobuf field of wire type 3"),
        (b"\x0f", "the answer has a protobuf field of wire type 7"),
        (b"\x0a\x02a", "the answer ends within a protobuf field"),
        (b"\x09" + b"8" * 7, "the answer ends within a protobuf field"),
        (b"\x0a" + varint(2**64 - 1), "the answer ends within a protobuf field"),
        (b"\x08\x01" * 11, "the answer has a protobuf message of more than 10 fields"),
    ],
)
def test_every_refusal_has_a_sentence(message: bytes, sentence: str) -> None:
    assert refusal(message) == sentence


def test_the_largest_number_is_read() -> None:
    assert [*fields(b"\x08" + varint(2**64 - 1), limit=1)] == [(1, 2**64 - 1)]


numbers = st.integers(1, 2**29 - 1)


@given(st.lists(st.tuples(numbers, st.integers(0, 2**64 - 1) | st.binary(max_size=300)), max_size=20))
def test_what_was_written_is_read(written: list[tuple[int, int | bytes]]) -> None:
    message = b"".join(
        varint(number << 3) + varint(value) if isinstance(value, int) else nested(number, value)
        for number, value in written
    )
    assert [*fields(message, limit=20)] == written


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_read_or_refused(message: bytes) -> None:
    with suppress(UsageSourceError):
        for number, value in fields(message, limit=1000):
            assert 0 < number < 2**29
            assert isinstance(value, bytes) or 0 <= value < 2**64

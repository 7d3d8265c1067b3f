"""The bytes of a task and of its record. What native/cell makes of them is tested in test_cell_program."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import SandboxError
from lattice_agent.exec.dispatch import (
    ITEMS_MOST,
    LIMITS_MOST,
    MESSAGE_MOST,
    RECORD_BYTES,
    CellRecord,
    decode_record,
    encode_task,
)

ITEM = st.binary(max_size=30).filter(lambda item: b"\0" not in item)
NUMBER = st.integers(0, 2**64 - 1)


@given(
    st.lists(ITEM, min_size=1, max_size=20),
    st.lists(ITEM, max_size=20),
    st.lists(st.tuples(NUMBER, NUMBER, NUMBER), max_size=LIMITS_MOST),
)
def test_what_goes_in_can_be_read_from_the_message(
    argv: list[bytes], environment: list[bytes], limits: list[tuple[int, int, int]]
) -> None:
    data = encode_task(argv, environment, limits)
    counts = struct.unpack_from("=4I", data)
    assert counts == (len(limits), len(argv), len(environment), 0)
    at = 16
    for limit in limits:
        assert struct.unpack_from("=3Q", data, at) == limit
        at += 24
    assert data[at:].split(b"\0") == [*argv, *environment, b""]


@pytest.mark.parametrize(("argv", "environment"), [([b"/bin/sh\0", b"x"], []), ([b"/bin/sh"], [b"A=x\0y"])])
def test_a_nul_byte_is_refused_with_a_word_about_it(argv: list[bytes], environment: list[bytes]) -> None:
    with pytest.raises(SandboxError, match="NUL"):
        encode_task(argv, environment, [])


def test_too_many_items_are_refused() -> None:
    assert len(encode_task([b"x"] * ITEMS_MOST, [], [])) == 16 + 2 * ITEMS_MOST
    with pytest.raises(SandboxError, match=f"513 .* more than {ITEMS_MOST}"):
        encode_task([b"x"] * 500, [b"A=b"] * 13, [])


def test_too_many_limits_and_no_program_are_refused() -> None:
    encode_task([b"x"], [], [(0, 0, 0)] * LIMITS_MOST)
    with pytest.raises(SandboxError):
        encode_task([b"x"], [], [(0, 0, 0)] * (LIMITS_MOST + 1))
    with pytest.raises(SandboxError):
        encode_task([], [b"A=b"], [])


def test_the_largest_message_fits_and_one_byte_more_is_refused() -> None:
    room = MESSAGE_MOST - len(encode_task([b"/bin/sh", b""], [], []))
    assert len(encode_task([b"/bin/sh", b"x" * room], [], [])) == MESSAGE_MOST
    with pytest.raises(SandboxError, match=f"{MESSAGE_MOST + 1} bytes are more than {MESSAGE_MOST}"):
        encode_task([b"/bin/sh", b"x" * (room + 1)], [], [])


def test_a_record_is_status_killed_processor_time_and_memory() -> None:
    data = struct.pack("=iIQQ", 0x0300, 4, 1_500_000, 2048)
    assert len(data) == RECORD_BYTES
    assert decode_record(data) == CellRecord(0x0300, 4, 1.5, 2 << 20)


@pytest.mark.parametrize("length", [0, 1, RECORD_BYTES - 1, RECORD_BYTES + 1])
def test_anything_else_is_no_record(length: int) -> None:
    assert decode_record(b"\1" * length) is None

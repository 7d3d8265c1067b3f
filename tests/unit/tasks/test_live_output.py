"""The buffer of live output: whatever is asked for, in whatever order, the bytes are those that were produced."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.tasks.live_output import Chunk, LiveOutput
from lattice_agent.wire.control import MAX_CHUNK, STREAMS

WRITES = st.lists(st.tuples(st.sampled_from(STREAMS), st.binary(max_size=40)), max_size=30)


def filled(writes: list[tuple[str, bytes]]) -> LiveOutput:
    output = LiveOutput()
    for stream, data in writes:
        output.append(stream, data)
    return output


def of(stream: str, writes: list[tuple[str, bytes]]) -> bytes:
    return b"".join(data for name, data in writes if name == stream)


@given(WRITES, st.data())
def test_a_chunk_from_anywhere_is_what_was_written_there(writes: list[tuple[str, bytes]], data: st.DataObject) -> None:
    output = filled(writes)
    position = data.draw(st.integers(0, len(output) + 1))
    chunk = output.chunk(position)
    if position >= len(output):
        assert chunk is None
        return
    assert chunk is not None
    everything = b"".join(data for _, data in writes)
    assert chunk.position == position
    assert chunk.data == everything[position : position + len(chunk.data)]
    assert chunk.data == of(chunk.stream, writes)[chunk.offset : chunk.offset + len(chunk.data)]


@given(WRITES)
def test_chunks_in_a_row_give_both_streams(writes: list[tuple[str, bytes]]) -> None:
    output = filled(writes)
    seen = dict.fromkeys(STREAMS, b"")
    position = 0
    while (chunk := output.chunk(position)) is not None:
        assert chunk.offset == len(seen[chunk.stream])
        assert chunk.data
        seen[chunk.stream] += chunk.data
        position += len(chunk.data)
    assert position == len(output)
    assert seen == {stream: of(stream, writes) for stream in STREAMS}


def test_a_chunk_is_as_long_as_a_frame_has_room() -> None:
    output = filled([("stdout", b"x" * MAX_CHUNK), ("stdout", b"yz"), ("stderr", b"!")])
    assert output.chunk(0) == Chunk("stdout", 0, 0, b"x" * MAX_CHUNK)
    assert output.chunk(MAX_CHUNK) == Chunk("stdout", MAX_CHUNK, MAX_CHUNK, b"yz")
    assert output.chunk(MAX_CHUNK + 2) == Chunk("stderr", 0, MAX_CHUNK + 2, b"!")


def test_a_script_that_changes_streams_with_every_byte_costs_nine_bytes_for_each() -> None:
    tracemalloc.start()
    output = filled([(STREAMS[count % 2], b"x") for count in range(100_000)])
    current, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(output) == 100_000
    assert current < 100_000 * 9 * 1.25  # a growing array is ahead by an eighth

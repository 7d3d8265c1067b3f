"""The log of a run's live output: a beginning of what was written, whatever arrives."""

from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.wire.control import STREAMS, ChunkHeader
from server_stub.rules.live_output import RUN_COST, OutputLog, Piece, Taken

LIMIT = 64

Written = list[tuple[str, bytes]]
written = st.lists(st.tuples(st.sampled_from(STREAMS), st.binary(min_size=1, max_size=9)), max_size=12)


def chunks(written: Written) -> list[tuple[ChunkHeader, bytes]]:
    """What an agent would send that sends every write as a chunk of its own."""
    offsets = dict.fromkeys(STREAMS, 0)
    position, sent = 0, []
    for stream, data in written:
        header = ChunkHeader(task_id="t", lease_id="l", stream=stream, offset=offsets[stream], position=position)
        sent.append((header, data))
        offsets[stream] += len(data)
        position += len(data)
    return sent


def contents(log: OutputLog, position: int = 0, most: int = 7) -> list[Piece]:
    pieces = []
    while (piece := log.read(position, most)) is not None:
        pieces.append(piece)
        position = piece.end
    return pieces


def stream_of(pieces: list[Piece], stream: str) -> bytes:
    return b"".join(piece.data for piece in pieces if piece.stream == stream)


@given(written, st.lists(st.integers(0, 11), max_size=40))
def test_what_is_kept_is_a_beginning_of_what_was_written_in_its_order(written: Written, arrivals: list[int]) -> None:
    sent = chunks(written)
    log = OutputLog("l", 1_000)
    for index in arrivals:
        if index < len(sent):
            log.add(*sent[index])

    everything = [(stream, bytes([byte])) for stream, data in written for byte in data]
    kept = [(piece.stream, bytes([byte])) for piece in contents(log) for byte in piece.data]
    assert kept == everything[: log.end]
    for piece in contents(log, most=1):
        before = [byte for stream, byte in everything[: piece.position] if stream == piece.stream]
        assert piece.offset == len(before)


@given(written, st.data())
def test_an_agent_that_is_told_where_to_go_on_delivers_all_whatever_was_lost(
    written: Written, data: st.DataObject
) -> None:
    sent = chunks(written)
    log = OutputLog("l", 1_000)
    for _ in range(3):
        for chunk in sent:
            if data.draw(st.booleans()):
                log.add(*chunk)
    for header, text in sent:  # connected anew: from the position that was asked for
        if header.position + len(text) > log.end:
            assert log.add(header, text) is Taken.ADDED

    for stream in STREAMS:
        assert stream_of(contents(log), stream) == b"".join(text for name, text in written if name == stream)


@given(written, st.integers(0, 200))
def test_reading_can_begin_anywhere(written: Written, position: int) -> None:
    log = OutputLog("l", 1_000)
    for chunk in chunks(written):
        log.add(*chunk)
    whole = b"".join(data for _, data in written)
    assert b"".join(piece.data for piece in contents(log, position)) == whole[position:]


def test_a_gap_is_told_once() -> None:
    first, second, third = chunks([("stdout", b"one"), ("stdout", b"two"), ("stderr", b"three")])
    log = OutputLog("l", LIMIT)
    assert log.add(*second) is Taken.GAP
    assert log.add(*third) is Taken.BEHIND_GAP
    assert log.add(*first) is Taken.ADDED
    assert log.add(*third) is Taken.GAP
    assert log.add(*second) is Taken.ADDED
    assert log.add(*second) is Taken.REPEATED
    assert log.end == 6


def test_beyond_the_limit_of_a_stream_nothing_more_is_taken() -> None:
    log = OutputLog("l", LIMIT)
    fill, over, other = chunks([("stdout", b"x" * LIMIT), ("stdout", b"y"), ("stderr", b"z")])
    assert log.add(*fill) is Taken.ADDED
    assert log.add(*over) is Taken.REFUSED
    assert log.add(*other) is Taken.REFUSED
    assert log.end == LIMIT


def test_of_a_chunk_that_is_partly_there_the_rest_is_taken() -> None:
    log = OutputLog("l", 4)
    assert log.add(ChunkHeader(stream="stdout", offset=0, position=0), b"abc") is Taken.ADDED
    assert log.add(ChunkHeader(stream="stdout", offset=1, position=1), b"bcd") is Taken.ADDED
    assert contents(log) == [Piece("stdout", 0, 0, b"abcd")]


def test_an_offset_that_does_not_fit_ends_it() -> None:
    log = OutputLog("l", LIMIT)
    assert log.add(ChunkHeader(stream="stdout", offset=1, position=0), b"x") is Taken.REFUSED
    assert log.end == 0


def test_single_bytes_of_both_streams_in_turn_cost_no_objects() -> None:
    log = OutputLog("l", LIMIT)
    for chunk in chunks([(STREAMS[number % 2], b"x") for number in range(100)]):
        assert log.add(*chunk) is Taken.ADDED
    assert log.cost == 100 + 100 * RUN_COST == 1_700
    assert len(contents(log)) == 100

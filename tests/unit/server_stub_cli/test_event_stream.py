"""Server-sent events from pieces of any size, and what is too large."""

from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_stub.cli.errors import AnswerError
from server_stub.cli.event_stream import EVENT_LIMIT, Event, EventParser

STREAM = (
    ': alive\n\nevent: output\nid: 7\ndata: {"é":1}\n\ndata: a\ndata:b\r\n\r\nid: 1\n\nevent: end\ndata\n\n'.encode()
)
EVENTS = [Event("output", '{"é":1}', "7"), Event("message", "a\nb"), Event("end", "")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    parser, borders = EventParser(), [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in pairwise(borders)]

    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS


@pytest.mark.long
@pytest.mark.parametrize("piece", [b"data: ", b"data: x\n", b"x" * 100, b"x: y\n"])
def test_an_event_without_end_does_not_grow_for_ever(piece: bytes) -> None:
    parser = EventParser()
    big = piece * (2**16 // len(piece))

    pieces = (big for _ in range(2 * EVENT_LIMIT // len(big)))

    with pytest.raises(AnswerError, match="larger than"):
        list(chain.from_iterable(map(parser.feed, pieces)))


def test_what_is_not_utf_8_is_refused() -> None:
    with pytest.raises(AnswerError, match="UTF-8"):
        list(EventParser().feed(b"data: \xff\n\n"))

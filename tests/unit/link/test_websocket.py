"""What the agent adds to the WebSocket library: limits on every wait and on every message, in virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
from httpcore._backends.trio import TrioStream
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from lattice_agent.errors import LinkError
from lattice_agent.link.errors import BadFrameError, StreamEndedError
from lattice_agent.link.failures import printable
from lattice_agent.link.websocket import CLOSE_S, PING_S, SILENCE_S, WRITE_S, WebSocket, talk_over
from lattice_agent.wire.control import MAX_FRAME
from tests.rigs.steered_control_stream import Peer


@asynccontextmanager
async def peer_of(talk: Callable[[WebSocket], Awaitable[None]]) -> AsyncIterator[tuple[Peer, Callable[[], LinkError]]]:
    """A peer of ``talk``, and the error with which that ended."""
    ours, theirs = memory_stream_pair()
    peer = Peer(theirs)
    errors: list[LinkError] = []

    async def side() -> None:
        try:
            await talk_over(TrioStream(ours), printable, talk)
        except LinkError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run)
        nursery.start_soon(side)
        yield peer, lambda: errors[0]


async def listen(socket: WebSocket) -> None:
    while True:
        await socket.receive()


async def test_messages_go_both_ways(autojump_clock: MockClock) -> None:
    async def echo(socket: WebSocket) -> None:
        for _ in range(2):
            await socket.send(await socket.receive())

    async with peer_of(echo) as (peer, _):
        await peer.say("text")
        await peer.say(b"\x00\xff")
        assert [await peer.next(), await peer.next()] == ["text", b"\x00\xff"]
        await peer.over.wait()
    assert peer.closed_with == 1000


async def test_a_peer_that_answers_pings_may_say_nothing_for_hours(autojump_clock: MockClock) -> None:
    async def some_hours(socket: WebSocket) -> None:
        with trio.move_on_after(3 * 3600):
            await listen(socket)

    async with peer_of(some_hours) as (peer, _):
        await peer.over.wait()
    assert peer.pings == pytest.approx(3 * 3600 / PING_S, abs=1)


async def test_a_silent_peer_is_given_up_within_a_minute(autojump_clock: MockClock) -> None:
    """As a black hole is: what is sent vanishes, and TCP says nothing."""
    async with peer_of(listen) as (peer, error):
        await peer.say("the last word")
        peer.answers_pings = False
    assert trio.current_time() == pytest.approx(SILENCE_S, abs=0.1)
    assert SILENCE_S < 60
    assert isinstance(error(), StreamEndedError)
    assert "nothing was heard for 45 s" in str(error())


async def test_a_peer_is_heard_by_its_answer_to_the_first_ping(autojump_clock: MockClock) -> None:
    heard_at: list[float] = []

    async def wait(socket: WebSocket) -> None:
        await socket.heard()
        heard_at.append(trio.current_time())

    async with peer_of(wait) as (peer, _):
        await peer.over.wait()
    assert heard_at == [0]


async def test_waiting_to_hear_a_silent_peer_ends_with_it(autojump_clock: MockClock) -> None:
    async def wait(socket: WebSocket) -> None:
        await socket.heard()

    async with peer_of(wait) as (peer, error):
        peer.answers_pings = False
    assert trio.current_time() == pytest.approx(SILENCE_S, abs=0.1)
    assert "nothing was heard for 45 s" in str(error())


async def test_a_peer_that_takes_nothing_is_given_up(autojump_clock: MockClock) -> None:
    ours, theirs = lockstep_stream_pair()  # nothing is sent before it is read

    async def flood(socket: WebSocket) -> None:
        await socket.send(b"x" * MAX_FRAME)

    with pytest.raises(StreamEndedError, match="took nothing for 20 s"):
        await talk_over(TrioStream(ours), printable, flood)
    assert trio.current_time() == pytest.approx(WRITE_S, abs=0.1)
    await trio.aclose_forcefully(theirs)


async def test_leaving_a_peer_that_takes_nothing_is_quick(autojump_clock: MockClock) -> None:
    """The library writes its last frame where no cancellation reaches it."""
    ours, theirs = lockstep_stream_pair()
    with trio.move_on_after(1):
        await talk_over(TrioStream(ours), printable, listen)
    assert trio.current_time() <= 1 + 2 * CLOSE_S
    await trio.aclose_forcefully(theirs)


async def test_a_longest_message_is_taken_and_a_longer_one_ends_the_stream(autojump_clock: MockClock) -> None:
    got: list[str | bytes] = []

    async def collect(socket: WebSocket) -> None:
        while True:
            got.append(await socket.receive())

    async with peer_of(collect) as (peer, error):
        await peer.say("x" * MAX_FRAME)
        await peer.say("y" * (MAX_FRAME + 1))
    assert got == ["x" * MAX_FRAME]
    assert isinstance(error(), BadFrameError)
    assert f"longer than {MAX_FRAME} bytes" in str(error())


async def test_a_message_without_end_is_not_gathered(autojump_clock: MockClock) -> None:
    """A frame's length may say 2^40; what counts is what is kept of it."""
    async with peer_of(listen) as (peer, error):
        await peer.raw(b"\x82\x7f" + (2**40).to_bytes(8, "big") + bytes(2 * MAX_FRAME))
    assert isinstance(error(), BadFrameError)


async def test_bytes_that_are_no_frame_end_the_stream(autojump_clock: MockClock) -> None:
    async with peer_of(listen) as (peer, error):
        await peer.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert isinstance(error(), StreamEndedError)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=4))
def test_whatever_bytes_come_the_end_is_an_error_of_ours(pieces: list[bytes]) -> None:
    async def scenario() -> None:
        async with peer_of(listen) as (peer, error):
            for piece in pieces:
                with suppress(trio.BrokenResourceError):  # it has hung up by now
                    await peer.raw(piece)
            await peer.cut()
        assert isinstance(error(), StreamEndedError | BadFrameError)

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


async def test_a_pong_that_nobody_asked_for_is_nothing(autojump_clock: MockClock) -> None:
    async def one(socket: WebSocket) -> None:
        await socket.send(await socket.receive())

    async with peer_of(one) as (peer, _):
        await peer.pong_unasked()
        await peer.say("still here")
        assert await peer.next() == "still here"


async def test_the_end_is_told_in_words(autojump_clock: MockClock) -> None:
    async with peer_of(listen) as (peer, error):
        await peer.close(1012, "restart\x1b[31m")
    assert str(error()) == "the control stream: closed by the server with code 1012 (restart?[31m)"
    async with peer_of(listen) as (peer, error):
        await wait_all_tasks_blocked()  # until the first ping is answered
        await peer.cut()
    assert str(error()) == "the control stream: the server ended the connection"


async def test_errors_leave_without_a_chain(autojump_clock: MockClock) -> None:
    """Frames of the libraries may hold the request, and with it the token."""
    async with peer_of(listen) as (peer, error):
        await peer.cut()
    assert error().__cause__ is None
    assert error().__context__ is None


async def test_a_fault_of_ours_is_not_taken_for_one_of_the_network(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()

    async def fault(socket: WebSocket) -> None:
        raise ValueError("a fault")

    with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
        await talk_over(TrioStream(ours), printable, partial(fault))
    await theirs.aclose()

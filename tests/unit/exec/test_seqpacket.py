"""Messages and descriptors over a real SOCK_SEQPACKET pair."""

import os
import socket
from collections.abc import Iterator

import pytest

from lattice_agent.exec.kernel import seqpacket


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = seqpacket.pair()
    with ours, theirs:
        yield ours, theirs


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_a_message_comes_whole_with_its_descriptors_closed_on_exec(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    read_end, write_end = os.pipe()
    ours.sendmsg([b"take this"], seqpacket.rights([write_end]))
    received = seqpacket.receive(theirs, 100)
    assert received is not None
    data, [passed] = received
    assert data == b"take this"
    assert not os.get_inheritable(passed)
    os.write(passed, b"through")
    assert os.read(read_end, 100) == b"through"
    seqpacket.close_all([read_end, write_end, passed])


def test_nothing_there_is_none_and_the_end_is_empty(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    assert seqpacket.receive(theirs, 100) is None
    ours.close()
    assert seqpacket.receive(theirs, 100) == (b"", [])


def test_the_end_of_a_peer_that_left_messages_unread_is_an_end_too(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.send(b"unread")
    ours.close()
    assert seqpacket.receive(theirs, 100) == (b"", [])


@pytest.mark.parametrize(("length", "descriptors"), [(101, 1), (10, seqpacket.ANCILLARY_DESCRIPTORS + 1)])
def test_what_does_not_fit_is_refused_and_its_descriptors_are_closed(
    ends: tuple[socket.socket, socket.socket], length: int, descriptors: int
) -> None:
    ours, theirs = ends
    before = open_descriptors()
    read_end, write_end = os.pipe()
    ours.sendmsg([b"x" * length], seqpacket.rights([write_end] * descriptors))
    with pytest.raises(seqpacket.CutMessageError) as caught:
        seqpacket.receive(theirs, 100)
    assert caught.value.data == (b"" if length > 100 else b"x" * length)  # whole, or nothing of it
    seqpacket.close_all([read_end, write_end])
    assert open_descriptors() == before


def test_sending_to_nobody_is_told_and_does_not_raise(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    assert seqpacket.send(ours, b"hello")
    theirs.close()
    assert not seqpacket.send(ours, b"hello")

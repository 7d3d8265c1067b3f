"""A hostile agent's side of the spawner's socket: what is not exactly a request is refused, closed and survived.

What may be asked of a cell in which state, step by step, is in ``tests/unit/exec/test_cells.py``; here it is asked in
the wrong order, cut, blown up, and with descriptors that nobody asked for.
"""

import os
import select
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from lattice_agent.exec.cell_ends import prepare_request
from lattice_agent.exec.kernel import seqpacket
from lattice_agent.exec.launch import SpawnerProcess, start_spawner
from lattice_agent.exec.library import DEFAULT_PROFILE
from lattice_agent.exec.requests import (
    FROM_SPAWNER,
    MAX_MESSAGE,
    CellGone,
    CellReady,
    KillCell,
    Message,
    PrepareCell,
    Refused,
    TerminateCell,
    decode,
    encode,
)
from tests.hostile.cell_rig import eventually

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root]

ANSWER_S = 10.0
MOST_PASSED = 253
"""Descriptors in one message, as many as the kernel takes (SCM_MAX_FD)."""


class HostileAgent:
    """Whatever is to be said to a spawner, and what it answers."""

    def __init__(self) -> None:
        self.spawner: SpawnerProcess = start_spawner()
        self._held: list[int] = []
        self.spawner.socket.setblocking(True)
        self.spawner.socket.settimeout(ANSWER_S)

    def say(self, data: bytes, descriptors: list[int] | tuple[()] = ()) -> None:
        self.spawner.socket.sendmsg([data], seqpacket.rights(descriptors))

    def hear(self) -> Message:
        """The next message. What comes with it is held until ``let_go``: a cell whose ends are closed ends."""
        assert select.select([self.spawner.socket], [], [], ANSWER_S)[0], "no answer"
        received = seqpacket.receive(self.spawner.socket, MAX_MESSAGE)
        assert received is not None
        data, passed = received
        assert data, "the spawner has hung up"
        self._held += passed
        return decode(data, FROM_SPAWNER, len(passed))

    def let_go(self) -> None:
        """Close the ends of all cells that were heard of."""
        seqpacket.close_all(self._held)
        self._held = []

    def refusal(self) -> str:
        """Why it says no, which it has to say next."""
        answer = self.hear()
        assert isinstance(answer, Refused), answer
        return answer.reason.decode()

    def expect(self, kind: type[CellReady] | type[CellGone], cell: int) -> None:
        """The next message is of this kind and about this cell."""
        answer = self.hear()
        assert isinstance(answer, kind), answer
        assert answer.cell == cell

    def descriptors(self) -> int:
        """How many the spawner has open."""
        return len(os.listdir(f"/proc/{self.spawner.pid}/fd"))

    def build_and_kill(self, number: int) -> None:
        """It still works."""
        self.say(encode(prepare_request(number, DEFAULT_PROFILE)))
        self.expect(CellReady, number)
        self.say(encode(KillCell(number)))
        self.expect(CellGone, number)
        self.let_go()


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileAgent]:
    agent = HostileAgent()
    agent.build_and_kill(1)
    yield agent
    agent.spawner.close()


PREPARE = encode(prepare_request(7, DEFAULT_PROFILE))
TERMINATE = encode(TerminateCell(7))
NOT_REQUESTS = {
    **{f"cut after {size} bytes": PREPARE[:size] for size in range(1, len(PREPARE))},
    **{f"terminate cut after {size} bytes": TERMINATE[:size] for size in range(1, len(TERMINATE))},
    "a byte too many": PREPARE + b"\0",
    "twice": PREPARE * 2,
    "too long": PREPARE.ljust(MAX_MESSAGE + 1, b"\0"),
    "much too long": bytes(1 << 17),
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "a length of four gigabytes": PREPARE[:10] + b"\xff\xff\xff\xff" + PREPARE[14:],
    **{f"type {number}": struct.pack("!H", number) + TERMINATE[2:] for number in (0, 7, 16, *range(17, 60), 0xFFFF)},
    "a level that has no cells": PREPARE.replace(b"strict", b"no-way"),
}


@pytest.mark.parametrize("name", NOT_REQUESTS)
def test_what_is_not_a_request_is_refused(name: str, hostile: HostileAgent) -> None:
    hostile.say(NOT_REQUESTS[name])
    assert hostile.refusal()


def test_everything_at_once_is_refused_one_by_one_and_survived(hostile: HostileAgent) -> None:
    before = hostile.descriptors()
    for _ in range(5):
        for data in NOT_REQUESTS.values():
            hostile.say(data)
            assert hostile.refusal()
    hostile.build_and_kill(8)
    eventually(lambda: hostile.descriptors() <= before, True)


@pytest.mark.parametrize("count", [1, 3, 8, 9, MOST_PASSED])
def test_descriptors_that_nobody_asked_for_are_closed(count: int, hostile: HostileAgent) -> None:
    before = hostile.descriptors()
    for data in (PREPARE, TERMINATE, b"nonsense"):
        read, write = os.pipe()
        try:
            hostile.say(data, [write] * count)
        finally:
            os.close(write)
        assert hostile.refusal()
        assert select.select([read], [], [], ANSWER_S)[0], "somebody holds the other end"
        assert os.read(read, 1) == b""
        os.close(read)
    eventually(lambda: hostile.descriptors() <= before, True)
    hostile.build_and_kill(9)


def test_its_own_socket_is_no_present(hostile: HostileAgent) -> None:
    """A socket that holds itself in its queue: nobody would ever see its end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        seqpacket.send(ours, b"x", [ours.fileno(), theirs.fileno()])
        hostile.say(TERMINATE, [theirs.fileno(), ours.fileno()])
        assert hostile.refusal()
    hostile.build_and_kill(10)


def test_requests_in_the_wrong_order_are_refused(hostile: HostileAgent) -> None:
    """It may be ready before or after the refusals are there."""
    hostile.say(encode(prepare_request(20, DEFAULT_PROFILE)))
    hostile.say(encode(prepare_request(20, DEFAULT_PROFILE)))
    hostile.say(encode(TerminateCell(20)))
    answers = [hostile.hear() for _ in range(3)]
    reasons = [answer.reason.decode() for answer in answers if isinstance(answer, Refused)]
    assert [isinstance(answer, CellReady) for answer in answers].count(True) == 1
    assert "taken" in reasons[0]
    assert "state" in reasons[1]
    hostile.say(encode(TerminateCell(20)))
    assert "state" in hostile.refusal()
    for _ in range(2):
        hostile.say(encode(KillCell(20)))
        hostile.expect(CellGone, 20)
    hostile.let_go()
    hostile.build_and_kill(20)


def test_paths_that_make_no_sense_are_refused(hostile: HostileAgent) -> None:
    good = prepare_request(30, DEFAULT_PROFILE)
    for path in (b"", b"usr", b"/usr/../root", b"/..", b"/a\0b", b"/", b"/proc", b"/tmp", b"/dev/", b"//etc"):
        for name in ("read_only", "writable"):
            bad = PrepareCell(*good.fields())  # type: ignore[arg-type]
            setattr(bad, name, [path])
            hostile.say(encode(bad))
            assert hostile.refusal(), path
    hostile.build_and_kill(30)


def test_a_spawner_whose_agent_hangs_up_in_the_middle_of_it_all_is_gone() -> None:
    hostile = HostileAgent()
    for number in range(1, 20):
        hostile.say(encode(prepare_request(number, DEFAULT_PROFILE)))
    started = time.monotonic()
    hostile.spawner.close()
    assert time.monotonic() - started < ANSWER_S

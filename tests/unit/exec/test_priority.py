"""The spawner goes before others while it watches, and nobody inherits that."""

import os

import pytest

from lattice_agent.exec.priority import LOWEST, SLICE_NS, Attention

pytestmark = pytest.mark.needs_root
ORDINARY = (os.SCHED_OTHER, 0, 0)


def present() -> tuple[int, int, int]:
    """Policy without its flag, nice value, real-time priority."""
    policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    return policy, os.getpriority(os.PRIO_PROCESS, 0), os.sched_getparam(0).sched_priority


def in_a_child(uid: int, nice: int) -> list[tuple[int, int, int]]:
    """What a process of that uid has with attention, what its own child has, and what it has after it."""
    theirs, ours = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.nice(nice)
        os.setresuid(uid, uid, uid)
        attention = Attention()
        attention.demand(wanted=True)
        attention.demand(wanted=True)
        found = [present()]
        inner = os.fork()
        if inner == 0:
            os.write(ours, repr(present()).encode() + b"\n")
            os._exit(0)
        os.waitpid(inner, 0)
        attention.demand(wanted=False)
        found.append(present())
        os.write(ours, b"\n".join(repr(each).encode() for each in found))
        os._exit(0)
    os.close(ours)
    os.waitpid(pid, 0)
    with open(theirs) as file:
        child, raised, after = (tuple(int(word) for word in line.strip(" ()\n").split(",")) for line in file)
    return [raised, child, after]  # type: ignore[list-item]


def test_root_is_a_real_time_process_for_the_time_being() -> None:
    assert in_a_child(0, 0) == [(os.SCHED_FIFO, 0, LOWEST), ORDINARY, ORDINARY]


@pytest.mark.parametrize(("uid", "nice"), [(61000, 0), (61000, 5), (0, 5)])
def test_others_stay_what_they_are(uid: int, nice: int) -> None:
    assert in_a_child(uid, nice) == [(os.SCHED_OTHER, nice, 0)] * 3


def test_who_may_not_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object) -> None:
        raise PermissionError

    turns: list[int] = []
    monkeypatch.setattr(os, "sched_setscheduler", refused)
    monkeypatch.setattr("lattice_agent.exec.priority._short_turns", turns.append)
    attention = Attention()
    attention.demand(wanted=True)
    assert turns == [SLICE_NS]
    attention.demand(wanted=False)
    monkeypatch.setattr("lattice_agent.exec.priority._short_turns", refused)
    attention.demand(wanted=True)
    assert attention.raised

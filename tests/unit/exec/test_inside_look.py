"""A look from inside of a cell's user namespace, at real processes; and what is no answer."""

import os
import select
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from lattice_agent.exec import inside_look, memory_watch
from lattice_agent.exec.blueprint import LANDLOCK, Blueprint
from lattice_agent.exec.cell_processes import Processes
from lattice_agent.exec.cells import Cell, Cells
from lattice_agent.exec.inside_look import InsideLook
from lattice_agent.exec.kernel import namespaces
from lattice_agent.exec.memory_watch import Place
from lattice_agent.exec.open_files import SOCKET_BYTES, ends_of
from tests.hostile.rig import children_of
from tests.rigs.cells import (
    NOBODY,
    CellLine,
    a_cell_line,
    a_reachable_program,
    fork_spawner_as,
    heard_from,
    init_of,
    start,
    status_of,
)

pytestmark = pytest.mark.needs_root

LOOKS_MOST = 500
"""Ten seconds of waiting, where an answer takes some ms."""


@pytest.fixture(scope="module")
def line() -> Iterator[CellLine]:
    with (
        pytest.MonkeyPatch.context() as patch,
        a_reachable_program(patch),
        a_cell_line(fork_spawner_as(NOBODY)) as line,
    ):
        yield line


@pytest.fixture
def processes(line: CellLine) -> Iterator[Processes]:
    """Those of a cell with a user namespace of its own, of which one has a pipe and a socket more."""
    cell = line.cell()
    script = "import os, socket\nheld = os.pipe(), socket.socket()\nprint('up', flush=True)\nos.read(held[0][0], 1)"
    start(cell, script, interpreter="/usr/bin/python3")
    heard_from(cell, b"up\n")
    found = Processes(init_of(cell), os.open(f"/proc/{init_of(cell)}/root/proc", os.O_RDONLY | os.O_DIRECTORY))
    yield found
    found.close()
    line.end(cell)


def look(processes: Processes, pids: list[int], lead_to: Callable[[int], list[str]]) -> dict[int, list[str]]:
    """Ask until there is an answer."""
    inside = InsideLook(processes, pids, lead_to)
    try:
        while (found := inside.answer()) is None:
            pass
        return found
    finally:
        inside.close()


def test_inside_is_seen_what_there_is(processes: Processes) -> None:
    pids = processes.ids()
    seen = look(processes, pids, lambda pid: ends_of(processes, pid))
    assert seen.keys() == set(pids)
    assert sorted(seen[pids[0]]) == sorted(ends_of(processes, pids[0]))
    assert any(end.startswith("socket:") for end in seen[pids[0]])


def test_the_look_is_taken_in_the_namespace_of_the_cell(processes: Processes) -> None:
    [pid] = processes.ids()
    here = os.readlink("/proc/self/ns/user")
    [there] = look(processes, [pid], lambda _pid: [os.readlink("/proc/self/ns/user")])[pid]
    assert there == os.readlink(f"{pid}/ns/user", dir_fd=processes.directory) != here


@pytest.mark.parametrize("reaped", [False, True])
def test_nothing_is_left_of_a_look(processes: Processes, *, reaped: bool) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    inside = InsideLook(processes, processes.ids(), lambda _pid: ["x"])
    if reaped:  # as the spawner's loop may do
        os.waitpid(inside.pid, 0)
    inside.close()
    inside.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert "Z" not in {status_of(pid)["State"][0] for pid in children_of(os.getpid())}


def test_without_a_process_more_nothing_is_left_of_a_look_either(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_flags: int) -> tuple[int, int]:
        raise BlockingIOError

    monkeypatch.setattr(namespaces, "clone", refuse)
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(BlockingIOError):
        InsideLook(processes, processes.ids(), lambda _pid: ["x"])
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_who_is_gone_has_no_namespace_to_look_from(processes: Processes) -> None:
    inside = InsideLook(processes, [4_000_000], lambda _pid: ["x"])
    assert (inside.pid, inside.answer()) == (0, {})
    inside.close()


def test_an_answer_that_does_not_come_in_time_may_come_later(processes: Processes, gate: tuple[int, int]) -> None:
    [pid] = processes.ids()
    inside = InsideLook(processes, [pid], lambda _pid: [os.read(gate[0], 1).decode()])
    assert inside.answer() is inside.answer() is None
    os.write(gate[1], b"x")
    while (found := inside.answer()) is None:
        pass
    assert found == inside.answer() == {pid: ["x"]}
    inside.close()


def test_a_look_that_fails_is_no_answer(processes: Processes) -> None:
    def fail(_pid: int) -> list[str]:
        raise ZeroDivisionError

    assert look(processes, processes.ids(), fail) == {}


def test_more_than_there_can_be_is_no_answer(processes: Processes) -> None:
    many = ["x" * 1000] * (inside_look.ANSWER_MOST // 1000 + 200)
    assert look(processes, processes.ids(), lambda _pid: many) == {}


# --- who measures the memory of a cell, and has to ask inside ---


@pytest.fixture
def place(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Of the cell; where its descriptors lead is not to be seen from outside."""
    init = os.open(f"/proc/{os.getpid()}/fd/{processes.directory}", os.O_RDONLY | os.O_DIRECTORY)
    place = Place(1, init, -1, own_network=False)
    monkeypatch.setattr(place.processes, "names", lambda _path: [])
    yield place
    place.close()


@pytest.fixture
def gate() -> Iterator[tuple[int, int]]:
    """A pipe: who looks from inside waits for a byte of it."""
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


@pytest.fixture
def looks_late(gate: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_watch, "ends_of", lambda _processes, _pid: [os.read(gate[0], 1).decode()])


def states(processes: Processes) -> set[str]:
    return {processes.read(f"{pid}/stat").rpartition(b") ")[2][:1].decode() for pid in processes.ids()}


def over_in_the_end(place: Place, limit: int) -> tuple[int, bool]:
    """As the spawner does: look again while it is not known."""
    for _ in range(LOOKS_MOST):
        if (seen := place.over(limit)) != (0, False):
            return seen
        assert states(place.processes) == {"T"}
    pytest.fail(f"not decided at the {LOOKS_MOST}th look")


@pytest.mark.usefixtures("looks_late")
def test_a_cell_is_stopped_until_its_descriptors_are_seen_and_then_goes_on(
    place: Place, gate: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    continued: list[int] = []
    proceed = place.processes.proceed

    def proceed_and_tell() -> None:
        continued.append(1)
        proceed()

    monkeypatch.setattr(place.processes, "proceed", proceed_and_tell)
    used, _over = place.over(1 << 40)
    limit = used + SOCKET_BYTES  # it has more descriptors than that
    assert place.over(limit) == (0, False)
    continued.clear()
    for _ in range(3):
        assert place.over(limit) == (0, False)
        assert states(place.processes) == {"T"}
        assert place.room == 0
        assert place.child in children_of(os.getpid())
    assert not continued
    os.write(gate[1], b"x")
    found, over = over_in_the_end(place, limit)
    assert (over, place.child) == (False, 0)
    assert 0 < found <= limit
    assert "T" not in states(place.processes)
    assert place.over(limit)[1] is False


def test_a_cell_that_is_over_its_limit_stays_stopped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_watch, "ends_of", lambda _processes, _pid: ["socket:[1]", "socket:[2]", "socket:[3]"])
    monkeypatch.setattr(memory_watch, "UNDECIDED_S", 1e9)
    used, _over = place.over(1 << 40)
    found, over = over_in_the_end(place, used + 2 * SOCKET_BYTES)
    assert over
    assert found == pytest.approx(used + 3 * SOCKET_BYTES, abs=SOCKET_BYTES / 2)
    assert place.child == 0
    assert states(place.processes) == {"T"}


@pytest.mark.usefixtures("looks_late")
def test_what_is_never_seen_counts_in_full(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_watch, "UNDECIDED_S", 0.1)
    used, _over = place.over(1 << 40)
    assert over_in_the_end(place, used + SOCKET_BYTES)[1] is True


@pytest.mark.usefixtures("looks_late")
def test_each_time_that_it_is_not_known_has_its_own_limit(
    place: Place, gate: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun_s = [0.0]
    clock = SimpleNamespace(monotonic=lambda: begun_s[0] + time.monotonic(), monotonic_ns=time.monotonic_ns)
    monkeypatch.setattr(memory_watch, "time", clock)
    used, _over = place.over(1 << 40)
    limit = used + SOCKET_BYTES
    assert place.over(limit) == (0, False)
    os.write(gate[1], b"x")
    assert over_in_the_end(place, limit)[1] is False
    begun_s[0] += 2 * memory_watch.UNDECIDED_S
    place._last = None  # as after a while in which it could have grown
    assert place.over(limit) == (0, False)
    begun_s[0] += memory_watch.UNDECIDED_S
    assert place.over(limit)[1] is True


def test_who_is_missing_in_an_answer_is_asked_for_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a fork(2) that was begun before the cell was stopped."""
    asked: list[list[int]] = []

    class OfNobodyAtFirst(InsideLook):
        def __init__(self, processes: Processes, pids: list[int], lead_to: Callable[[int], list[str]]) -> None:
            asked.append(pids)
            super().__init__(processes, pids, lead_to) if len(asked) > 1 else super().__init__(processes, [], lead_to)

    monkeypatch.setattr(memory_watch, "InsideLook", OfNobodyAtFirst)
    used, _over = place.over(1 << 40)
    limit = used + SOCKET_BYTES
    assert place.over(limit) == (0, False)
    assert over_in_the_end(place, limit)[1] is False
    assert asked == [place.processes.ids()] * 2
    assert "T" not in states(place.processes)


@pytest.mark.usefixtures("looks_late")
def test_memory_that_is_over_the_limit_by_itself_needs_no_answer(place: Place) -> None:
    used, _over = place.over(1 << 40)
    found, over = place.over(used // 4)
    assert over
    assert found > used // 4


@pytest.mark.usefixtures("looks_late")
def test_what_looks_from_inside_ends_with_the_place(place: Place) -> None:
    used, _over = place.over(1 << 40)
    assert place.over(used + SOCKET_BYTES) == (0, False)
    child = place.child
    place.close()
    assert child not in children_of(os.getpid())


@pytest.mark.usefixtures("looks_late")
def test_what_looks_from_inside_is_no_orphan_and_its_end_no_cells(place: Place) -> None:
    """The spawner reaps it in its loop, or would sweep it, if the table did not know it."""
    cells = Cells(select.poll(), lambda _message, _descriptors: None)
    entry = Cell(1, Blueprint(LANDLOCK), b"", 0)
    cells._cells[1] = entry
    entry.place = place
    used, _over = place.over(1 << 40)
    place.over(used + SOCKET_BYTES)
    assert place.child in cells
    assert place.child + 1 not in cells
    assert cells.ended(place.child)
    assert not cells.ended(place.child + 1)
    assert 1 in cells._cells


@pytest.mark.parametrize("text", [b"", b"5 pipe:[1]\n", b"5 pipe:[1]\nen", b"end\nmore\n"])
def test_an_answer_without_its_end_is_none(text: bytes) -> None:
    assert inside_look._parsed(text) == {}


def test_an_answer_names_everybody_who_was_looked_at() -> None:
    assert inside_look._parsed(b"5 \n5 pipe:[1]\n5 socket:[2]\n6 \nend\n") == {5: ["pipe:[1]", "socket:[2]"], 6: []}


@pytest.mark.parametrize("line", [b"", b"x", b"-1 pipe:[2]", b"9" * 5000])
def test_a_line_without_a_process_in_an_answer_is_passed_over(line: bytes) -> None:
    assert inside_look._parsed(line + b"\n5 pipe:[1]\nend\n") == {5: ["pipe:[1]"]}

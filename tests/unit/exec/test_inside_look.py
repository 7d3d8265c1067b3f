"""A look from inside of a cell's user namespace, at real processes; and what is no answer."""

import os
import time
from collections.abc import Iterator

import pytest

from lattice_agent.exec import inside_look
from lattice_agent.exec.cell_processes import Processes
from lattice_agent.exec.open_files import ends_of
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


def test_inside_is_seen_what_there_is(processes: Processes) -> None:
    pids = processes.ids()
    seen = inside_look.look(processes, pids, lambda pid: ends_of(processes, pid))
    assert seen.keys() == set(pids)
    assert sorted(seen[pids[0]]) == sorted(ends_of(processes, pids[0]))
    assert any(end.startswith("socket:") for end in seen[pids[0]])


def test_the_look_is_taken_in_the_namespace_of_the_cell(processes: Processes) -> None:
    [pid] = processes.ids()
    here = os.readlink("/proc/self/ns/user")
    [there] = inside_look.look(processes, [pid], lambda _pid: [os.readlink("/proc/self/ns/user")])[pid]
    assert there == os.readlink(f"{pid}/ns/user", dir_fd=processes.directory) != here


def test_nothing_is_left_of_a_look(processes: Processes) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    inside_look.look(processes, processes.ids(), lambda _pid: ["x"])
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert "Z" not in {status_of(pid)["State"][0] for pid in children_of(os.getpid())}


def test_who_is_gone_has_no_namespace_to_look_from(processes: Processes) -> None:
    assert inside_look.look(processes, [4_000_000], lambda _pid: ["x"]) == {}


def test_an_answer_that_does_not_come_in_time_is_none(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside_look, "ANSWER_S", 0.05)
    read, write = os.pipe()  # nobody writes: the look waits until it is killed
    begun = time.monotonic()
    assert inside_look.look(processes, processes.ids(), lambda _pid: [str(os.read(read, 1))]) == {}
    assert time.monotonic() - begun < 5
    os.close(read)
    os.close(write)


def test_a_look_that_fails_is_no_answer(processes: Processes) -> None:
    def fail(_pid: int) -> list[str]:
        raise ZeroDivisionError

    assert inside_look.look(processes, processes.ids(), fail) == {}


def test_more_than_there_can_be_is_no_answer(processes: Processes) -> None:
    many = ["x" * 1000] * (inside_look.ANSWER_MOST // 1000 + 200)
    assert inside_look.look(processes, processes.ids(), lambda _pid: many) == {}


@pytest.mark.parametrize("text", [b"", b"5 pipe:[1]\n", b"5 pipe:[1]\nen", b"end\nmore\n"])
def test_an_answer_without_its_end_is_none(text: bytes) -> None:
    assert inside_look._parsed(text) == {}


def test_an_answer_names_everybody_who_was_looked_at() -> None:
    assert inside_look._parsed(b"5 \n5 pipe:[1]\n5 socket:[2]\n6 \nend\n") == {5: ["pipe:[1]", "socket:[2]"], 6: []}


@pytest.mark.parametrize("line", [b"", b"x", b"-1 pipe:[2]", b"9" * 5000])
def test_a_line_without_a_process_in_an_answer_is_passed_over(line: bytes) -> None:
    assert inside_look._parsed(line + b"\n5 pipe:[1]\nend\n") == {5: ["pipe:[1]"]}

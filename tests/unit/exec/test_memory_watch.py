"""What a cell's memory is measured as, against allocations of known size in real cells."""

import os
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lattice_agent.exec.cell_ends import CellEnds
from lattice_agent.exec.memory_watch import VFORK, Place
from lattice_agent.exec.open_files import PIPE_BYTES, SOCKET_BYTES, Held, open_count
from lattice_agent.exec.requests import CellGone, UseCell
from tests.hostile.rig import children_of
from tests.rigs.cells import (
    NOBODY,
    CellLine,
    a_cell_line,
    a_reachable_program,
    fork_spawner_as,
    heard_from,
    init_of,
    settled,
    start,
)

pytestmark = pytest.mark.needs_root

MIB = 1 << 20
NO_LIMIT = 1 << 60
OUTPUTS = 2
"""Pipes that every cell has."""
SLACK = 3 * MIB
"""An interpreter's own ups and downs."""
HEADER = "import mmap, os, socket, sys, time\n"
STAY = "\nsys.stdout.write('up\\n'); sys.stdout.flush()\ntime.sleep(60)\n"


@pytest.fixture(scope="module")
def line() -> Iterator[CellLine]:
    with a_cell_line() as line:
        yield line


@contextmanager
def holding(line: CellLine, allocate: str, **changes: object) -> Iterator[tuple[CellEnds, Place]]:
    """A cell whose script has allocated something and stays, and a place to look at it from outside."""
    cell = line.cell(**changes)
    start(cell, HEADER + textwrap.dedent(allocate) + STAY, interpreter="/usr/bin/python3")
    heard_from(cell, b"up\n")
    root = f"/proc/{init_of(cell)}/root"
    descriptors = [os.open(f"{root}/{name}", os.O_RDONLY | os.O_DIRECTORY) for name in ("proc", "tmp")]
    place = Place(init_of(cell), *descriptors, own_network=True)
    try:
        yield cell, place
    finally:
        place.close()
        line.end(cell)


def cheap(place: Place) -> int:
    used, over = place.over(NO_LIMIT)
    assert not over
    return used


def exact(place: Place) -> int:
    """A limit just below the cheap measure makes it look again."""
    used, _over = place.over(cheap(place) - 1)
    return used


def more(line: CellLine, allocate: str, measure: Callable[[Place], int]) -> int:
    """What the allocation adds to an interpreter that does nothing."""
    found = []
    for text in ("", allocate):
        with holding(line, text) as (_cell, place):
            found.append(measure(place))
    return found[1] - found[0]


@pytest.mark.parametrize("measure", [cheap, exact])
def test_anonymous_memory_that_is_used(line: CellLine, measure: Callable[[Place], int]) -> None:
    assert more(line, "held = b'x' * (40 << 20)", measure) == pytest.approx(40 * MIB, abs=SLACK)


def test_memory_that_is_only_reserved_is_not_used(line: CellLine) -> None:
    assert abs(more(line, "held = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE)", cheap)) < SLACK


FORKS = """
    held = b'x' * (20 << 20)
    for _ in range(4):
        if os.fork() == 0:
            time.sleep(60)
"""


def test_pages_that_forks_share_count_once_where_it_matters(line: CellLine) -> None:
    assert more(line, FORKS, cheap) > 5 * 20 * MIB
    assert more(line, FORKS, exact) == pytest.approx(20 * MIB, abs=10 * MIB)  # and five interpreters


def test_a_script_that_shares_is_not_over_a_limit_between_the_two_measures(line: CellLine) -> None:
    with holding(line, FORKS) as (_cell, place):
        assert cheap(place) > 60 * MIB > exact(place)
        used, over = place.over(60 * MIB)
    assert not over
    assert used < 60 * MIB


def test_memory_that_each_fork_writes_counts_for_each(line: CellLine) -> None:
    own = """
        import gc
        for _ in range(4):
            if os.fork() == 0:
                held = b'y' * (20 << 20)
                sys.stdout.write('.'); sys.stdout.flush()
                time.sleep(60)
        time.sleep(0.3)
    """
    assert more(line, own, exact) > 4 * 20 * MIB


def test_files_on_the_tmpfs(line: CellLine) -> None:
    text = """
        for path, count in ('/tmp/a', 64), ('/dev/shm/b', 48):
            with open(path, 'wb') as file:
                for _ in range(count): file.write(b'x' * 65536)
    """
    assert more(line, text, cheap) == pytest.approx(7 * MIB, abs=MIB)


def test_files_that_are_deleted_and_held(line: CellLine) -> None:
    text = """
        held = open('/tmp/a', 'wb')
        for _ in range(80): held.write(b'x' * 65536)
        held.flush()
        os.unlink('/tmp/a')
    """
    assert more(line, text, cheap) == pytest.approx(5 * MIB, abs=MIB)


def test_pipes_count_in_full_and_once_and_files_not_at_all(line: CellLine) -> None:
    text = """
        held = [os.pipe() for _ in range(80)]
        files = [open('/etc/passwd') for _ in range(60)]
        for number in range(20):
            os.mkfifo(f'/tmp/{number}')
            held.append(os.open(f'/tmp/{number}', os.O_RDWR))
        for _ in range(3):
            if os.fork() == 0: time.sleep(60)
    """
    with holding(line, text) as (_cell, place):
        held = Held(place.processes, dict, sockets=False)
        for pid in place.processes.ids():
            held.add(pid)
    assert held.bytes == (80 + 20 + OUTPUTS) * PIPE_BYTES


def test_sockets_count_by_themselves_where_the_network_is_shared(line: CellLine) -> None:
    with holding(line, "held = [socket.socketpair() for _ in range(30)]\nos.fork()") as (_cell, place):
        found = []
        for sockets in (True, False):
            held = Held(place.processes, dict, sockets=sockets)
            for pid in place.processes.ids():
                held.add(pid)
            found.append(held.bytes)
    assert found[0] - found[1] == 60 * SOCKET_BYTES


def test_the_kernel_tells_how_many_descriptors_there_are(line: CellLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with holding(line, "held = [open('/etc/passwd') for _ in range(60)]") as (_cell, place):
        pid = place.processes.ids()[0]
        listed = len(place.processes.names(f"{pid}/fd"))
        assert open_count(place.processes, pid) == listed > 60
        monkeypatch.setattr(place.processes, "size", lambda _path: 0)  # before Linux 6.2
        assert open_count(place.processes, pid) == listed


def test_who_is_stopped_for_a_look_goes_on_but_who_stopped_itself_does_not(line: CellLine) -> None:
    text = """
        import signal
        stopped = os.fork()
        if stopped == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        os.waitpid(stopped, os.WUNTRACED)
    """
    with holding(line, text) as (_cell, place):
        states = lambda: sorted(place._state_and_faults(pid)[0] for pid in place.processes.ids())  # noqa: E731
        settled(lambda: states() == [b"S", b"T"])
        place.processes.stop()
        settled(lambda: states() == [b"T", b"T"])
        place.processes.proceed()
        settled(lambda: states() == [b"S", b"T"])


def test_memory_that_a_vfork_shares_counts_once(line: CellLine) -> None:
    # The child of a vfork goes on in the memory of its parent, which waits.
    text = """
        import ctypes
        held = b'x' * (40 << 20)
        pause = ctypes.CDLL(None).syscall
        if ctypes.CDLL(None).syscall(VFORK) == 0:
            sys.stdout.write('up\\n'); sys.stdout.flush()
            time.sleep(60)
    """
    if VFORK is None:
        pytest.skip("an architecture without vfork(2)")
    with holding(line, text.replace("VFORK", str(VFORK))) as (_cell, place):
        assert cheap(place) > 80 * MIB
        assert 40 * MIB < exact(place) < 70 * MIB


@pytest.mark.parametrize("kind", ["AF_UNIX", "AF_INET"])
def test_each_socket_is_charged_whatever_is_in_it(line: CellLine, kind: str) -> None:
    text = f"held = [socket.socket(socket.{kind}) for _ in range(40)]"
    assert more(line, text, cheap) == pytest.approx(40 * SOCKET_BYTES, abs=SLACK)


def test_page_tables(line: CellLine) -> None:
    # One byte in every two megabytes: each needs a page of page table, and all of them are the same page of zeros.
    text = """
        held = mmap.mmap(-1, 2 << 30, flags=mmap.MAP_PRIVATE)
        held.madvise(mmap.MADV_NOHUGEPAGE)
        for at in range(0, 2 << 30, 2 << 20):
            held[at]
    """
    assert more(line, text, cheap) == pytest.approx(1024 * 4096, abs=MIB)


def test_a_process_that_ended_holds_nothing(line: CellLine) -> None:
    text = """
        pid = os.fork()
        if pid == 0:
            held = b'x' * (40 << 20)
            os._exit(0)
        time.sleep(0.3)
    """
    assert abs(more(line, text, cheap)) < SLACK  # it is a zombie: nobody waits for it


def test_looking_at_a_cell_that_ends_meanwhile_is_no_error(line: CellLine) -> None:
    cell = line.cell()
    root = f"/proc/{init_of(cell)}/root"
    place = Place(
        init_of(cell),
        *(os.open(f"{root}/{name}", os.O_RDONLY | os.O_DIRECTORY) for name in ("proc", "tmp")),
        own_network=True,
    )
    assert cheap(place) > 0
    line.end(cell)
    assert place.processes.ids() == []
    assert (place.processes.status(12345), place.processes.names("12345/fd"), place.processes.link("12345/fd/0")) == (
        b"", [], "",
    )  # fmt: skip
    assert place.over(NO_LIMIT) == (place._tmpfs_bytes(), False)
    place.close()
    place.close()


def test_on_the_hosts_tree_the_descendants_of_the_init_are_measured(line: CellLine) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        cell = line.cell(level=b"landlock", directory=os.fsencode(directory))
        start(cell, HEADER + textwrap.dedent(FORKS) + STAY, interpreter="/usr/bin/python3")
        heard_from(cell, b"up\n")
        place = Place(init_of(cell), -1, -1, own_network=False)
        assert cheap(place) > 5 * 20 * MIB
        assert 20 * MIB < exact(place) < 60 * MIB
        place.close()
        line.end(cell)


# --- the spawner's watch ---


def watched(line: CellLine, allocate: str, limit: int) -> CellGone:
    cell = line.cell()
    line.send(UseCell(cell.number, limit, 64, 0))
    start(cell, HEADER + textwrap.dedent(allocate) + STAY, interpreter="/usr/bin/python3")
    gone = line.hear()
    assert isinstance(gone, CellGone)
    return gone


GROWS = "held = []\nwhile True: held.append(b'x' * (1 << 20))"
GROW_TOGETHER = """
for _ in range(9):
    if os.fork() == 0:
        held = b'y' * (20 << 20)
        time.sleep(60)
"""
SOCKETS = """
held = []
try:
    while True: held += socket.socketpair()
except OSError:
    pass
"""


@pytest.mark.parametrize("allocate", [GROWS, GROW_TOGETHER, SOCKETS], ids=["one-process", "many-processes", "sockets"])
def test_too_much_is_killed_soon_and_told(line: CellLine, allocate: str) -> None:
    limit = 48 * MIB
    gone = watched(line, allocate, limit)
    assert gone.memory_hit == 1
    assert limit < gone.memory_peak
    if allocate != SOCKETS:  # these are charged what they may hold, and are made faster than filled
        assert gone.memory_peak < limit + 64 * MIB


def test_what_stays_below_is_told_with_its_peak(line: CellLine) -> None:
    text = "held = b'x' * (30 << 20)\ntime.sleep(0.2)\ndel held\ntime.sleep(0.1)\nsys.exit(0)"
    gone = watched(line, text, 100 * MIB)
    assert gone.memory_hit == 0
    assert 30 * MIB < gone.memory_peak < 60 * MIB


@pytest.mark.long
def test_an_unprivileged_spawner_sees_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_reachable_program(monkeypatch), a_cell_line(fork_spawner_as(NOBODY)) as line:
        gone = watched(line, GROWS, 48 * MIB)
        assert gone.memory_hit == 1
        assert 48 * MIB < gone.memory_peak < 112 * MIB
        assert watched(line, SOCKETS, 48 * MIB).memory_hit == 1
        settled(lambda: not children_of(line.spawner.pid))

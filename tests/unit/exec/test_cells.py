"""The spawner's table of cells, over its socket: what may be asked in which state, what fails, what is given back."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import prctl
import pytest

from lattice_agent.exec import cell, cell_steps, launch, template
from lattice_agent.exec.cell_ends import CellEnds
from lattice_agent.exec.cells import CELLS_MOST, TEMPLATES_MOST
from lattice_agent.exec.kernel import libc, seqpacket
from lattice_agent.exec.launch import start_spawner
from lattice_agent.exec.priority import Attention
from lattice_agent.exec.requests import (
    CellFailed,
    CellGone,
    KillCell,
    Message,
    Refused,
    TerminateCell,
    UseCell,
    encode,
)
from lattice_agent.exec.step import Step
from tests.hostile.rig import REPOSITORY, alive, children_of
from tests.rigs.cells import (
    NOBODY,
    CellLine,
    Hold,
    a_cell_line,
    a_hold,
    a_place,
    a_reachable_program,
    ended,
    fork_spawner_as,
    heard_from,
    init_of,
    its_init_listens,
    refusal,
    settled,
    start,
    status_of,
)
from tests.rigs.extent import mostly_long

pytestmark = pytest.mark.needs_root

PROMPT_S = 3.0
"""Far above what hanging up takes, far below the bounds after which the spawner gives up waiting."""


@pytest.fixture(scope="module")
def shared() -> Iterator[list[CellLine]]:
    """The spawner of all tests that need no special one."""
    lines = [CellLine(start_spawner())]
    yield lines
    lines[0].close()


@pytest.fixture
def line(shared: list[CellLine]) -> Iterator[CellLine]:
    yield shared[0]
    if not shared[0].forget():
        shared[0].close()
        shared[0] = CellLine(start_spawner())
        pytest.fail("a cell is left")


@pytest.fixture
def hold() -> Iterator[Hold]:
    with a_hold() as hold:
        yield hold


@pytest.fixture
def held_makers(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> Iterator[CellLine]:
    """A spawner whose makers stay in their first step until they are released: cells are building."""
    monkeypatch.setattr(cell_steps, "CELL_STEPS", (hold.written_step, *cell_steps.CELL_STEPS))
    with a_cell_line(fork_spawner_as(0)) as line:
        yield line


@pytest.fixture
def held_template(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> Iterator[CellLine]:
    """A spawner whose templates stay in their second step until they are released: cells are waiting."""
    first, *rest = template.TEMPLATE_STEPS
    monkeypatch.setattr(template, "TEMPLATE_STEPS", (first, hold.step, *rest))
    with a_cell_line(fork_spawner_as(0)) as line:
        yield line


def everything(number: int) -> list[Message]:
    """Every request about one cell that is not its end."""
    return [UseCell(number, 1 << 30, 10, 0), TerminateCell(number)]


def not_now(number: int) -> Refused:
    return Refused(number, f"cell {number} is not in the state for this request".encode())


def taken(answers: list[Message | CellEnds]) -> bool:
    """Whether the only request was refused because of its number."""
    return "is taken" in refusal(answers)


# --- each request in each state ---


def test_of_a_cell_that_is_not_there_only_the_end_is_told(line: CellLine) -> None:
    assert line.answers(*everything(77)) == []
    assert line.answers(KillCell(77), KillCell(77)) == [CellGone(77, 0, 0)] * 2


def test_a_waiting_cell_takes_nothing_but_its_end(held_template: CellLine, hold: Hold) -> None:
    held_template.send(held_template.request(5))
    assert held_template.answers(*everything(5)) == [not_now(5)] * 2
    assert taken(held_template.answers(held_template.request(5)))
    assert held_template.answers(KillCell(5)) == [CellGone(5, 0, 0)]
    again = held_template.request(5)
    held_template.send(again)
    hold.release()
    ready = held_template.hear()
    assert isinstance(ready, CellEnds)
    assert ready.number == 5


def test_a_cell_that_is_being_built_takes_nothing_but_its_end(held_makers: CellLine, hold: Hold) -> None:
    hold.release()
    held_makers.end(held_makers.cell())  # template and filter are there now
    hold.again()
    held_makers.send(held_makers.request(5))
    assert held_makers.answers(*everything(5)) == [not_now(5)] * 2
    assert taken(held_makers.answers(held_makers.request(5)))
    held_makers.send(KillCell(5))
    assert held_makers.hear() == CellGone(5, 0, 0)
    settled(lambda: not children_of(held_makers.spawner.pid))  # the helper that began it may be reaped after it


def test_a_ready_cell_can_be_used_once(line: CellLine) -> None:
    cell = line.cell(5)
    assert line.answers(TerminateCell(5)) == [not_now(5)]
    assert taken(line.answers(line.request(5)))
    assert line.answers(UseCell(5, 1 << 30, 10, 0)) == []
    assert line.answers(UseCell(5, 1 << 30, 10, 0)) == [not_now(5)]
    assert taken(line.answers(line.request(5)))
    assert line.end(cell).memory_hit == 0


def test_a_ready_cell_can_be_ended(line: CellLine) -> None:
    cell = line.cell()
    assert line.end(cell) == CellGone(cell.number, 0, 0)
    ended(cell)
    assert cell.record() is None


def test_a_cell_in_use_can_be_asked_to_end(line: CellLine) -> None:
    cell = line.cell()
    start(cell, "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.02; done")
    line.send(UseCell(cell.number, 1 << 30, 10, 0))
    heard_from(cell, b"up\n")
    line.send(TerminateCell(cell.number))
    heard_from(cell, b"asked\n")
    gone = line.hear()
    assert isinstance(gone, CellGone)
    assert (gone.cell, gone.memory_hit) == (cell.number, 0)
    record = cell.record()
    assert record is not None
    assert os.waitstatus_to_exitcode(record.status) == 5


def test_a_cell_in_use_can_be_killed_with_all_that_is_in_it(line: CellLine) -> None:
    cell = line.cell()
    start(cell, "trap '' TERM; (setsid sleep 60 &); sleep 60 & echo up; wait")
    line.send(UseCell(cell.number, 1 << 30, 10, 0))
    heard_from(cell, b"up\n")
    assert line.end(cell).killed == 2
    ended(cell)
    assert os.read(cell.stdout, 1) == b""  # nobody is left who holds it


def test_an_ending_cell_keeps_its_number_until_it_is_gone(line: CellLine, tmp_path: Path) -> None:
    # At level landlock the init does the killing; a stopped one is on its way as long as the test likes.
    cell = line.cell(5, level=b"landlock", directory=os.fsencode(tmp_path))
    its_init_listens(cell)
    init = init_of(cell)
    os.kill(init, signal.SIGSTOP)
    try:
        assert line.answers(KillCell(5), *everything(5), KillCell(5)) == []
        assert taken(line.answers(line.request(5)))
        assert alive(init)
    finally:
        os.kill(init, signal.SIGCONT)
    assert line.hear() == CellGone(5, 0, 0)
    assert line.answers(KillCell(5)) == [CellGone(5, 0, 0)]


def test_a_cell_whose_ends_are_closed_ends_by_itself(line: CellLine) -> None:
    cell = line.cell(5)
    cell.close()
    assert line.hear() == CellGone(5, 0, 0)


def test_a_script_that_ends_is_told_without_being_asked(line: CellLine) -> None:
    cell = line.cell(5)
    start(cell, "exit 3")
    assert line.hear() == CellGone(5, 0, 0)


def test_descriptors_that_come_with_a_request_are_refused_and_closed(line: CellLine) -> None:
    before = line.descriptors()
    read_end, write_end = os.pipe()
    for message in (line.request(5), *everything(5), KillCell(5)):
        line.spawner.socket.sendmsg([encode(message)], seqpacket.rights([write_end]))
        answer = line.hear()
        assert isinstance(answer, Refused)
        assert b"1 descriptors" in answer.reason
    os.close(write_end)
    assert os.read(read_end, 1) == b""
    os.close(read_end)
    assert line.descriptors() == before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"level": b"host"}, "no such level"),
        ({"level": b""}, "no such level"),
        ({"level": b"landlock"}, "needs a work directory"),
        ({"read_only": [b"opt"]}, "not a path"),
        ({"writable": [b"/opt/../root"]}, "not a path"),
        ({"writable": [b"/"]}, "not a path"),
        ({"read_only": [b"/proc/"]}, "not a path"),
        ({"read_only": [b"/opt\0"]}, "not a path"),
        ({"work_bytes": 0}, "without limits"),
        ({"work_inodes": 0}, "without limits"),
        ({"work_bytes": 1 << 60}, "too large"),
    ],
)
def test_a_cell_that_makes_no_sense_is_refused(line: CellLine, change: dict[str, object], word: str) -> None:
    assert word in refusal(line.answers(line.request(5, **change)))
    assert line.answers(KillCell(5)) == [CellGone(5, 0, 0)]


# --- the successor ---


def test_a_successor_is_built_when_the_cell_is_gone(line: CellLine) -> None:
    cell = line.cell(5)
    line.send(UseCell(5, 1 << 30, 10, 0, 6))
    start(cell, "exit 0")
    heard = [line.hear(), line.hear()]
    assert [one.cell for one in heard if isinstance(one, CellGone)] == [5]
    [successor] = [one for one in heard if isinstance(one, CellEnds)]
    assert successor.number == 6
    start(successor, "echo as usable as any")
    heard_from(successor, b"as usable as any\n")


def test_a_successor_is_built_while_the_script_goes_on(line: CellLine) -> None:
    cell = line.cell(5)
    start(cell, "echo up; sleep 60")
    heard_from(cell, b"up\n")
    line.send(UseCell(5, 1 << 30, 10, 0, 6))
    successor = line.hear()
    assert isinstance(successor, CellEnds)
    assert successor.number == 6
    assert alive(init_of(cell))
    line.end(cell)
    assert line.answers() == []  # one, not another one at the end


def test_the_successor_of_a_cell_that_was_gone_by_then_is_built_too(line: CellLine) -> None:
    cell = line.cell(5)
    start(cell, "exit 0")
    assert line.hear() == CellGone(5, 0, 0)
    line.send(UseCell(5, 1 << 30, 10, 0, 6))
    successor = line.hear()
    assert isinstance(successor, CellEnds)
    assert successor.number == 6


def test_a_successor_is_of_the_same_kind(line: CellLine) -> None:
    with a_place() as place:
        cell = line.cell(5, read_only=[os.fsencode(place)], work_bytes=1 << 20)
        line.send(UseCell(5, 1 << 30, 10, 0, 6))
        start(cell, "exit 0")
        heard = [line.hear(), line.hear()]
        [successor] = [one for one in heard if isinstance(one, CellEnds)]
        start(successor, f"ls -d {place}; df -k /tmp | tail -1 | (read a size b; echo $size)")
        heard_from(successor, f"{place}\n1024\n".encode())


def test_a_successor_that_cannot_be_is_told_as_a_failure(line: CellLine) -> None:
    first, second = line.cell(5), line.cell(6)
    line.send(UseCell(5, 1 << 30, 10, 0, 6))
    start(first, "exit 0")
    heard = [line.hear(), line.hear()]
    assert {(type(one), one.cell) for one in heard if isinstance(one, Message)} == {(CellGone, 5), (CellFailed, 6)}
    assert line.answers(UseCell(77, 1 << 30, 10, 0, 78)) == [CellFailed(78, b"1 cells now")]
    line.end(second)


# --- what fails ---


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"read_only": [b"/nowhere/at/all"]}, "sources: No such file or directory (/nowhere/at/all)"),
        ({"writable": [b"/etc/passwd/x"]}, "sources: Not a directory (/etc/passwd/x)"),
        ({"work_inodes": 1}, "work-directory: No space left on device (mkdirat /tmp/work)"),
        (
            {"level": b"landlock", "directory": b"/nowhere"},
            "work-directory: No such file or directory (openat /nowhere)",
        ),
        (
            {"level": b"landlock", "directory": b"/etc/passwd"},
            "work-directory: Not a directory (openat /etc/passwd)",
        ),
    ],
)
def test_a_step_that_fails_is_told_by_its_name_and_the_next_cell_is_built(
    line: CellLine, change: dict[str, object], reason: str
) -> None:
    line.send(line.request(5, **change))
    failed = line.hear()
    assert failed == CellFailed(5, reason.encode())
    settled(lambda: line.answers(KillCell(5)) == [CellGone(5, 0, 0)])
    assert line.cell().number != 5


def test_a_template_that_failed_is_tried_again(line: CellLine) -> None:
    with a_place() as place:
        request = line.request(5, read_only=[os.fsencode(place / "late")])
        line.send(request)
        assert isinstance(line.hear(), CellFailed)
        (place / "late").mkdir()
        line.send(request)
        assert isinstance(line.hear(), CellEnds)


def test_a_file_can_be_shown_to_a_cell(line: CellLine) -> None:
    cell = line.cell(read_only=[b"/etc/hostname"])
    start(cell, "cat /etc/hostname; echo x > /etc/hostname || echo refused")
    heard_from(cell, Path("/etc/hostname").read_bytes() + b"refused\n")


@pytest.mark.parametrize("uid", mostly_long([0, NOBODY]))
def test_a_work_directory_can_be_on_disk_and_the_next_cell_has_its_own_all_the_same(
    uid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_place() as place, a_reachable_program(monkeypatch), a_cell_line(fork_spawner_as(uid)) as line:
        line.end(line.cell())
        os.chown(place, uid, uid)
        on_disk = line.cell(directory=os.fsencode(place))
        start(on_disk, "echo left > here; stat -f -c %T . /tmp; echo done")
        heard_from(on_disk, b"tmpfs\ndone\n")
        assert (place / "here").read_text() == "left\n"
        assert isinstance(line.hear(), CellGone)
        in_memory = line.cell()
        start(in_memory, "ls; stat -f -c %T .")
        heard_from(in_memory, b"script\ntmpfs\n")


def test_while_a_cell_is_watched_the_spawner_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even until a child is executed, which can take long beside a script with many processes."""
    spawn, spawned = os.posix_spawn, count(1)

    def spawn_once(*arguments: Any, **options: Any) -> int:
        if next(spawned) > 1:
            raise OSError(11, "not now")
        return spawn(*arguments, **options)

    monkeypatch.setattr(os, "posix_spawn", spawn_once)
    monkeypatch.setattr(Attention, "demand", lambda attention, wanted: setattr(attention, "raised", wanted))
    with a_cell_line(fork_spawner_as(0)) as line:
        watched = line.cell()
        line.send(UseCell(watched.number, 1 << 30, 10, 0))
        start(watched, "sleep 0.05; echo up; sleep 60")
        heard_from(watched, b"up\n")  # after some looks
        other = line.cell()
        start(other, "echo as usable as any")
        heard_from(other, b"as usable as any\n")


@pytest.mark.parametrize("place", [b"/tmp/x", b"/var/tmp/x", b"/proc/sys"])
def test_a_path_that_a_cell_covers_by_its_own_is_refused(line: CellLine, place: bytes) -> None:
    """Below a directory that every cell has its own of it would not be seen, or would break the building."""
    assert "not a path" in refusal(line.answers(line.request(5, read_only=[place])))


def held_in(line: CellLine) -> list[int]:
    """Makers that have come to the hold: what they wait for is that it can be opened."""
    found = []
    for pid in children_of(line.spawner.pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/syscall").read_text().split()[0] == str(libc.NUMBERS["openat"]):
                found.append(pid)
    return found


def test_a_cell_of_which_a_descriptor_is_missing_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = tuple(step for step in cell_steps.CELL_STEPS if step.name != "held-namespace")
    monkeypatch.setattr(cell_steps, "CELL_STEPS", steps)
    with a_cell_line(fork_spawner_as(0)) as line:
        line.send(line.request(5))
        assert line.hear() == CellFailed(5, b"its maker did not hand over everything")
        assert line.hear() == CellGone(5, 0, 0)
        settled(lambda: not children_of(line.spawner.pid))  # the helper that began it may be reaped after it


def test_a_maker_that_is_killed_half_way_is_a_failure(held_makers: CellLine, hold: Hold) -> None:
    hold.release()
    held_makers.end(held_makers.cell())
    hold.again()
    held_makers.send(held_makers.request(5))
    settled(lambda: held_in(held_makers))
    [maker] = held_in(held_makers)
    os.kill(maker, signal.SIGKILL)
    assert held_makers.hear() == CellFailed(5, b"its maker died")
    assert held_makers.hear() == CellGone(5, 0, 0)
    hold.release()
    assert held_makers.cell(5).number == 5


def test_a_templates_maker_that_is_killed_fails_all_that_wait_for_it(held_template: CellLine, hold: Hold) -> None:
    held_template.send(held_template.request(5), held_template.request(6))
    assert held_template.answers(*everything(6)) == [not_now(6)] * 2  # both have been read
    # The other child is the filter's; the one that has a mount namespace of its own is the template's.
    own = os.readlink("/proc/self/ns/mnt")
    found: list[int] = []

    def look() -> bool:
        for pid in children_of(held_template.spawner.pid):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/mnt") != own:
                    found.append(pid)
        return bool(found)

    settled(look)
    os.kill(found[0], signal.SIGKILL)
    failures = [CellFailed(5, b"the template's maker died"), CellFailed(6, b"the template's maker died")]
    assert [held_template.hear(), held_template.hear()] == failures
    hold.release()
    assert held_template.cell().number not in (5, 6)


def test_without_libseccomp_every_cell_fails_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Path(prctl.__file__).parent
    for name in ("prctl.py", next(site.glob("_prctl*.so")).name):
        (tmp_path / name).symlink_to(site / name)
    monkeypatch.setattr(launch, "_import_places", lambda: [os.fspath(REPOSITORY), os.fspath(tmp_path)])
    with a_cell_line(start_spawner()) as line:
        for number in (1, 2, 3):  # each time, not only the first
            line.send(line.request(number))
            failed = line.hear()
            assert isinstance(failed, CellFailed)
            assert failed.cell == number
            assert b"seccomp: cannot load libseccomp" in failed.reason
            assert b"install the package libseccomp2" in failed.reason
        assert line.answers() == []


def test_without_its_program_every_cell_fails_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "__file__", os.fspath(tmp_path / "cell.py"))
    with a_cell_line(fork_spawner_as(0)) as line:
        for number in (1, 2):
            line.send(line.request(number))
            failed = line.hear()
            assert isinstance(failed, CellFailed)
            assert failed.cell == number
            assert b"native/cell is missing" in failed.reason
            assert b"C compiler" in failed.reason


def test_a_cell_killed_before_its_init_listens_leaves_nothing(
    held_makers: CellLine, hold: Hold, tmp_path: Path
) -> None:
    """At level landlock the init does the killing: a signal that comes before it can must not end it alone."""
    hold.release()
    held_makers.end(held_makers.cell())  # the filter is there now
    hold.again()
    held_makers.send(held_makers.request(5, level=b"landlock", directory=os.fsencode(tmp_path)))
    settled(lambda: held_in(held_makers))
    [maker] = held_in(held_makers)
    ptrace(PTRACE_SEIZE, maker, PTRACE_O_TRACEFORK)
    hold.release()
    cell = held_makers.hear()
    assert isinstance(cell, CellEnds)
    assert os.waitpid(maker, WALL)[1] >> 8 == signal.SIGTRAP | PTRACE_EVENT_FORK << 8
    [launcher] = children_of(maker)
    os.waitpid(launcher, WALL)
    ptrace(PTRACE_DETACH, launcher, 0)  # this one may go on; its init is held where it has just forked
    start(cell, "echo up; exec sleep 60")
    heard_from(cell, b"up\n")
    assert held_makers.answers(KillCell(5)) == []
    ptrace(PTRACE_DETACH, maker, 0)
    assert held_makers.hear() == CellGone(5, 0, 0)
    left = alive(launcher)
    with suppress(ProcessLookupError):
        os.kill(launcher, signal.SIGKILL)
    assert not left


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_O_TRACEFORK, PTRACE_EVENT_FORK, WALL = 17, 0x4206, 2, 1, 0x4000_0000


def ptrace(request: int, pid: int, data: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(word) for word in (request, pid, 0, data)]
    assert libc.ptrace(*words) == 0, os.strerror(ctypes.get_errno())


# --- bounds ---


def test_as_many_cells_as_there_may_be_each_with_ids_of_its_own(tmp_path: Path) -> None:
    with a_cell_line() as line:
        line.send(*(line.request(number) for number in range(1, CELLS_MOST)))
        line.send(line.request(CELLS_MOST, level=b"landlock", directory=os.fsencode(tmp_path)))
        ready = [line.hear() for _ in range(CELLS_MOST)]
        cells = [one for one in ready if isinstance(one, CellEnds)]
        assert {one.number for one in cells} == set(range(1, CELLS_MOST + 1))
        ids = [uid for one in cells for uid in ids_of(one)]
        assert len(set(ids)) == len(ids) == 2 * CELLS_MOST
        assert min(ids) >= 0x7000_0000
        assert "64 cells now" in refusal(line.answers(line.request(100)))

        # An id is free when its cell is gone, not when its end has begun.
        last = next(one for one in cells if one.number == CELLS_MOST)
        freed = set(ids_of(last))
        its_init_listens(last)
        os.kill(init_of(last), signal.SIGSTOP)
        assert line.answers(KillCell(last.number)) == []
        assert "64 cells now" in refusal(line.answers(line.request(100)))
        os.kill(init_of(last), signal.SIGCONT)
        assert line.hear() == CellGone(last.number, 0, 0)
        assert set(ids_of(line.cell(100))) == freed


def ids_of(cell: CellEnds) -> list[int]:
    """The user ids of a cell's init and launcher."""
    init = init_of(cell)
    settled(lambda: len(children_of(init)) == 1 and "lattice-cell" in Path(f"/proc/{init}/cmdline").read_text())
    [launcher] = children_of(init)
    settled(lambda: status_of(launcher)["Uid"] != status_of(init)["Uid"])
    found = [status_of(pid)["Uid"].split() for pid in (init, launcher)]
    assert all(len(set(uids)) == 1 for uids in found)
    return [int(uids[0]) for uids in found]


@pytest.fixture
def many_places() -> Iterator[list[bytes]]:
    """Directories that make a profile each."""
    with a_place() as base:
        places = [base / str(number) for number in range(TEMPLATES_MOST + 4)]
        for place in places:
            place.mkdir()
        yield [os.fsencode(place) for place in places]


def held_templates(line: CellLine) -> int:
    return sum(target.startswith("mnt:") for target in line.descriptors())


@pytest.mark.long
def test_templates_are_bounded_and_the_one_not_used_for_longest_goes(many_places: list[bytes]) -> None:
    with a_cell_line() as line:
        for place in many_places:
            line.end(line.cell(read_only=[place]))
        settled(lambda: held_templates(line) == TEMPLATES_MOST)
        first = line.cell(read_only=[many_places[0]])  # its template is made again
        start(first, f"ls -d {many_places[0].decode()}")
        heard_from(first, many_places[0] + b"\n")


@pytest.mark.parametrize("filter_first", [True, False])
@pytest.mark.long
def test_more_profiles_at_once_than_templates_are_all_served(many_places: list[bytes], filter_first: bool) -> None:
    with a_cell_line() as line:
        if filter_first:
            line.end(line.cell())
        line.send(*(line.request(100 + number, read_only=[place]) for number, place in enumerate(many_places)))
        heard = [line.hear() for _ in many_places]
        assert [one for one in heard if not isinstance(one, CellEnds)] == []
        assert {one.number for one in heard if isinstance(one, CellEnds)} == {100 + n for n in range(len(many_places))}


@pytest.mark.long
def test_after_two_hundred_cells_the_spawner_holds_what_it_held_after_ten(line: CellLine) -> None:
    def some(count: int) -> list[str]:
        for _ in range(count):
            cell = line.cell()
            line.end(cell)
            cell.close()
            line._cells.remove(cell)
        line.send(line.request(5, work_inodes=1), line.request(6, read_only=[b"/nowhere"]))
        assert {type(line.hear()) for _ in range(3)} == {CellFailed, CellGone}  # the one had a process already
        kinds: list[str] = []

        def quiet() -> bool:  # namespaces of cells are let go when nothing else is to be done
            nonlocal kinds
            before, kinds = kinds, [target.split(":")[0] for target in line.descriptors()]
            return before == kinds and kinds.count("net") == 0

        settled(quiet)
        return kinds

    assert some(10) == some(190)


# --- the end of it all ---


def test_hanging_up_ends_cells_in_every_state_at_once(held_makers: CellLine, hold: Hold) -> None:
    hold.release()
    ready, used = held_makers.cell(), held_makers.cell()
    start(used, "trap '' TERM; setsid sleep 60 & echo up; sleep 60")
    held_makers.send(UseCell(used.number, 1 << 30, 10, 0))
    heard_from(used, b"up\n")
    hold.again()
    held_makers.send(held_makers.request(50))
    settled(lambda: len(children_of(held_makers.spawner.pid)) == 3)
    makers = children_of(held_makers.spawner.pid)
    begun = time.monotonic()
    held_makers.spawner.close()
    assert time.monotonic() - begun < PROMPT_S
    for one in (ready, used):
        ended(one)
    assert not any(alive(pid) for pid in makers)


def test_hanging_up_while_cells_wait_ends_at_once(held_template: CellLine) -> None:
    held_template.send(held_template.request(1), held_template.request(2))
    assert held_template.answers(*everything(1)) == [not_now(1)] * 2
    begun = time.monotonic()
    held_template.spawner.close()
    assert time.monotonic() - begun < PROMPT_S


def test_hanging_up_at_once_ends_at_once() -> None:
    with a_cell_line() as line:
        line.send(line.request(), line.request())
        begun = time.monotonic()
        line.spawner.close()
        assert time.monotonic() - begun < PROMPT_S


def hold_helpers(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers stay before they enter the user namespace, and before the maker is born."""
    monkeypatch.setattr(cell_steps, "CELL_STEPS", (hold.written_step, *cell_steps.CELL_STEPS))
    monkeypatch.setattr(cell_steps, "ON_HOST", (hold.written_step.name, *cell_steps.ON_HOST))


def test_hanging_up_while_an_unprivileged_cell_goes_through_its_user_namespace(
    hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_helpers(hold, monkeypatch)
    with a_reachable_program(monkeypatch), a_cell_line(fork_spawner_as(NOBODY)) as line:
        hold.release()
        line.end(line.cell())
        hold.again()
        line.send(line.request(5))
        settled(lambda: children_of(line.spawner.pid))
        begun = time.monotonic()
        line.spawner.close()
        assert time.monotonic() - begun < PROMPT_S


FAILS = b"fails: Bad file descriptor (close)"


@pytest.mark.long
def test_an_unprivileged_maker_that_was_reaped_before_it_was_known_is_told_and_forgotten(
    hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Step("fails", lambda build: build.recipe.call("close", -1), "fails", "to be over before it is known")
    monkeypatch.setattr(cell_steps, "CELL_STEPS", (failing, *cell_steps.CELL_STEPS))
    hold_helpers(hold, monkeypatch)
    with a_reachable_program(monkeypatch), a_cell_line(fork_spawner_as(NOBODY)) as line:
        hold.release()
        line.send(line.request(4))
        assert line.hear() == CellFailed(4, FAILS)  # template and filter are there now
        settled(lambda: not children_of(line.spawner.pid))
        line.answers()
        hold.again()
        line.send(line.request(5))
        settled(lambda: children_of(line.spawner.pid))
        os.kill(line.spawner.pid, signal.SIGSTOP)
        hold.release()
        settled(lambda: [status_of(pid)["State"][0] for pid in children_of(line.spawner.pid)] == ["Z", "Z"])
        os.kill(line.spawner.pid, signal.SIGCONT)
        assert [line.hear(), line.hear()] == [CellFailed(5, FAILS), CellGone(5, 0, 0)]
        assert line.answers(KillCell(5)) == [CellGone(5, 0, 0)]
        begun = time.monotonic()
        line.spawner.close()
        assert time.monotonic() - begun < PROMPT_S


def test_who_may_be_a_maker_that_nobody_has_told_of_is_not_taken_for_an_orphan(
    hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = os.posix_spawn

    def spawn_with_strangers(*arguments: Any, **options: Any) -> int:
        """Two more children: one lives on; the other ends, and the spawner looks for more that are not its own."""
        pid = spawn(*arguments, **options)
        for sleeps in (True, False):
            if os.fork() == 0:
                if sleeps:
                    signal.pause()
                os._exit(0)
        return pid

    monkeypatch.setattr(os, "posix_spawn", spawn_with_strangers)
    hold_helpers(hold, monkeypatch)
    with a_cell_line(fork_spawner_as(0)) as line:
        line.send(line.request(5))
        settled(lambda: len(children_of(line.spawner.pid)) == 2)  # the helper, and who sleeps; the other is reaped
        assert line.answers() == []  # after that it has gone round once more
        assert len(children_of(line.spawner.pid)) == 2
        hold.release()
        cell = line.hear()
        assert isinstance(cell, CellEnds), cell
        settled(lambda: children_of(line.spawner.pid) == [init_of(cell)])


def test_an_unprivileged_cell_killed_on_its_way_is_told_when_it_is_gone(
    hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_helpers(hold, monkeypatch)
    with a_reachable_program(monkeypatch), a_cell_line(fork_spawner_as(NOBODY)) as line:
        hold.release()
        line.end(line.cell())
        hold.again()
        line.send(line.request(5), line.request(6))
        assert line.answers(KillCell(5)) == []
        hold.release()
        heard = [line.hear(), line.hear()]
        assert CellGone(5, 0, 0) in heard
        assert any(isinstance(one, CellEnds) and one.number == 6 for one in heard)
        # And when the one on the way dies instead of coming through, that is the end too.
        hold.again()
        line.send(line.request(7))
        settled(lambda: len(children_of(line.spawner.pid)) == 2)
        assert line.answers(KillCell(7)) == []
        init = init_of(next(one for one in heard if isinstance(one, CellEnds)))
        [helper] = set(children_of(line.spawner.pid)) - {init}
        os.kill(helper, signal.SIGKILL)
        assert line.hear() == CellGone(7, 0, 0)


def test_a_spawner_that_is_killed_takes_its_cells_along() -> None:
    with a_cell_line() as line:
        cells = [line.cell(), line.cell(), line.cell()]
        start(cells[0], "trap '' TERM; setsid sleep 60 & echo up; sleep 60")
        line.send(UseCell(cells[0].number, 1 << 30, 10, 0))
        heard_from(cells[0], b"up\n")
        os.kill(line.spawner.pid, signal.SIGKILL)
        for one in cells:
            ended(one)
        assert os.read(cells[0].stdout, 1) == b""

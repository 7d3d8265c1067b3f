"""What the memory watch concludes from what it saw; values in, values out."""

import subprocess
import sys
from pathlib import Path

import pytest

from lattice_agent.exec.cell_processes import Processes
from lattice_agent.exec.memory_watch import (
    CLONE,
    CLONE_VFORK,
    GROWTH_BYTES_PER_MS,
    HUGE_PAGE,
    INTERVAL_MS,
    MIB,
    PAGE,
    PATIENCE_MS,
    SHORTEST_MS,
    VFORK,
    Exact,
    Seen,
    bytes_of_a_fault,
    exact_ms,
    faulted_most,
    growth_most,
    kilobytes,
    most_since,
    pause_ms,
    waits_for_vfork,
)
from lattice_agent.exec.open_files import LATER_PIPE_BYTES, PIPE_BYTES, PIPES_BYTES, SOCKET_BYTES, may_hold

PARENT, CHILD, NEW = 2, 3, 4


def seen(pid: int, anonymous: int = 100 * MIB, tables: int = 0, files: int = 0) -> Seen:
    return Seen(pid, anonymous, tables, files)


def looked(anonymous: int, files: int, faults: dict[int, int]) -> Exact:
    found = Exact(0, anonymous, files)
    found.faults = faults
    return found


@pytest.mark.parametrize(
    ("room", "processors", "pause"),
    [
        (1 << 40, 2, INTERVAL_MS),
        (5 * GROWTH_BYTES_PER_MS, 1, 5),
        (8 * GROWTH_BYTES_PER_MS, 2, 4),
        (1, 2, SHORTEST_MS),
        (-1, 2, SHORTEST_MS),
    ],
)
def test_the_next_look_is_before_the_limit_can_be_reached(room: int, processors: int, pause: int) -> None:
    assert pause_ms(room, processors) == pause
    assert growth_most(pause, processors) <= room or pause == SHORTEST_MS


def test_without_page_faults_nothing_has_come() -> None:
    faults = {PARENT: 5000, CHILD: 70}
    assert faulted_most(faults, faults, [seen(PARENT), seen(CHILD)], PAGE) == 0


def test_a_page_fault_brings_a_page_but_not_more_than_there_is() -> None:
    then = {PARENT: 5000, CHILD: 70}
    now = {PARENT: 5010, CHILD: 70 + 100_000}
    assert faulted_most(then, now, [seen(PARENT), seen(CHILD)], PAGE) == 10 * PAGE + 100 * MIB
    assert faulted_most(then, now, [seen(PARENT)], HUGE_PAGE) == 10 * HUGE_PAGE


def test_of_a_process_that_was_not_looked_at_everything_is_new() -> None:
    assert faulted_most({PARENT: 1}, {PARENT: 1, NEW: 3}, [seen(PARENT), seen(NEW)], PAGE) == 100 * MIB
    assert faulted_most({PARENT: 1}, {}, [seen(PARENT)], PAGE) == 100 * MIB


def test_what_has_come_is_bounded_by_faults_and_by_time() -> None:
    last = looked(120 * MIB, 10 * MIB, {PARENT: 0})
    many, few = {PARENT: 1 << 20}, {PARENT: 256}
    files = [seen(PARENT, files=50 * MIB)]
    assert most_since(last, many, files, 20 * MIB, PAGE) == (120 + 20 + 10 + 20) * MIB
    assert most_since(last, few, files, 20 * MIB, PAGE) == (120 + 1 + 10 + 20) * MIB
    assert most_since(last, few, files, 1 << 40, PAGE) == (120 + 1 + 50) * MIB


def test_what_an_exact_look_takes() -> None:
    assert exact_ms([seen(PARENT, 20 * MIB)]) < PATIENCE_MS
    assert exact_ms([seen(pid, 10 * MIB) for pid in range(40)]) > PATIENCE_MS
    assert exact_ms([seen(PARENT, 0, tables=16 * MIB)]) > PATIENCE_MS


def test_pipes_beyond_what_a_uid_may_have_are_small() -> None:
    large = PIPES_BYTES // PIPE_BYTES
    assert may_hold(3, 2) == 3 * PIPE_BYTES + 2 * SOCKET_BYTES
    assert may_hold(large + 10, 0) == PIPES_BYTES + 10 * LATER_PIPE_BYTES


@pytest.mark.skipif(VFORK is None, reason="an architecture without vfork(2)")
def test_a_parent_that_waits_for_its_vfork_is_known_by_its_call() -> None:
    assert waits_for_vfork(f"{VFORK} 0x0 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f12\n".encode())
    assert waits_for_vfork(f"{CLONE} {CLONE_VFORK | 0x111:#x} 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f12\n".encode())
    assert not waits_for_vfork(f"{CLONE} 0x1200011 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f12\n".encode())
    assert not waits_for_vfork(b"0 0x4000 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f12\n")
    assert not any(waits_for_vfork(text) for text in (b"running\n", b"", b"-1 0x7ffd 0x7f12\n"))


def test_fields_of_proc_in_bytes() -> None:
    assert kilobytes(b"VmRSS:\t    9 kB\nRssAnon:\t    5672 kB\nVmPTE:\t 76 kB\n", b"RssAnon:") == 5672 * 1024
    assert kilobytes(b"Name:\tzombie\n", b"RssAnon:") == 0


@pytest.mark.parametrize("name", ["RssAnon:\t1", "RssAnon:x", "VmPTE:\t0", "a\nRssAnon:\t1"])
def test_a_process_cannot_call_itself_small(name: str) -> None:
    """What a script names itself is the first line of its status. A name was once read as the field that it spells:
    memory was hidden by it, and one that is no number ended the spawner."""
    program = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, sys.argv[1].encode()); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        processes = Processes(process.pid, -1)
        status = processes.status(process.pid)
        processes.close()
        process.kill()
    assert name.replace("\n", "\\n")[:4].encode() in status.partition(b"\nUmask:")[0]
    assert kilobytes(status, b"RssAnon:") > 512 * 1024
    assert kilobytes(status, b"VmPTE:") > 1024


def test_a_fault_is_a_page_unless_the_host_gives_huge_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    setting = tmp_path / "enabled"
    monkeypatch.setattr("lattice_agent.exec.memory_watch._HUGE_PAGES", str(setting))
    assert bytes_of_a_fault() == PAGE  # a kernel without them
    setting.write_text("always [madvise] never\n")
    assert bytes_of_a_fault() == PAGE
    setting.write_text("[always] madvise never\n")
    assert bytes_of_a_fault() == HUGE_PAGE

"""Each limit is seen to hold, after the same thing was seen to succeed without it."""

import os
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lattice_agent.exec.kernel import cgroup, libc
from tests.rigs.cgroups import LIMIT_S, SPAWNER, inside, members, own_group, program, wait_unpopulated

from .conftest import Taken

MIB = 1024 * 1024
LIMIT = 24 * MIB
ENOUGH = 40 * MIB
CLONE_INTO_CGROUP = 0x2_0000_0000


def run(cell: cgroup.Group, *argv: str) -> tuple[int, str]:
    """Run a program in the cell to its end: exit code and output."""
    with program(*argv, group=cell.path) as process:
        output, _ = process.communicate(timeout=LIMIT_S)
        return process.returncode, output


# --- the delegated group ---


def test_every_controller_is_there_and_every_process_in_the_leaf(taken: Taken) -> None:
    assert os.getpid() in taken.members_before
    assert members(taken.base) == set()
    assert members(taken.base / "agent") >= taken.members_before
    assert own_group().endswith(f"{taken.base.name}/agent")
    assert taken.groups.controllers == {"memory", "pids", "cpu"}
    assert taken.groups.missing == {}
    assert Path(taken.groups.path).parent == taken.base


def test_what_is_not_passed_on_is_missing(memory_only: Path) -> None:
    def body() -> None:
        groups = cgroup.open_groups()
        assert groups is not None
        assert groups.controllers == {"memory"}
        assert groups.missing.keys() == {"pids", "cpu"}
        cell = groups.create("cell")
        cell.limit(memory_bytes=LIMIT)
        with pytest.raises(FileNotFoundError, match=f"{cell.path}/pids.max"):
            cell.limit(pids=5)
        assert groups.close()

    inside(memory_only, body)


def test_after_a_failure_controllers_are_off_again(memory_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_CELLS", "no/such/")

    def body() -> None:
        with pytest.raises(FileNotFoundError, match="no/such"):
            cgroup.open_groups()
        assert (memory_only / "cgroup.subtree_control").read_text().split() == []
        assert members(memory_only) == {os.getpid()}
        assert not (memory_only / "agent").exists()

    inside(memory_only, body)


def test_a_process_starts_inside_with_clone3(cell: cgroup.Group) -> None:
    flags, nothing = CLONE_INTO_CGROUP, 0
    arguments = struct.pack("=11Q", flags, *[nothing] * 3, signal.SIGCHLD, *[nothing] * 5, cell.fd)
    pid = libc.call("clone3", arguments, len(arguments))
    if pid == 0:
        signal.pause()
        os._exit(1)
    try:
        assert members(cell.path) == {pid}
        assert cell.read().pids_peak == 1
    finally:
        cell.kill()
        _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


# --- memory ---

# Each of these takes ENOUGH and ends with 0 if it gets it.
ONE_PROCESS = f"dd if=/dev/zero of=/dev/null bs={ENOUGH} count=1 status=none"
MEMFD = """
import os
for number in range(10):
    fd = os.memfd_create("")
    for _ in range(4):
        os.write(fd, bytes(1 << 20))
"""


@contextmanager
def shared_memory_file() -> Iterator[str]:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        yield file.name


def hogs(tmpfs: str) -> dict[str, tuple[str, ...]]:
    return {
        "one process": ("sh", "-c", ONE_PROCESS),
        "memfd": (sys.executable, "-S", "-c", MEMFD),
        "tmpfs": ("dd", "if=/dev/zero", f"of={tmpfs}", "bs=1M", "count=40", "status=none"),
    }


@pytest.mark.parametrize("name", ["one process", "memfd", "tmpfs"])
def test_memory_beyond_the_limit_kills(cell: cgroup.Group, taken: Taken, name: str) -> None:
    with shared_memory_file() as tmpfs:
        hog = hogs(tmpfs)[name]
        free = taken.groups.create("without-limit")
        assert run(free, *hog)[0] == 0
        peak = free.read().memory_peak
        assert peak is not None
        assert peak >= ENOUGH
        assert free.remove()
    with shared_memory_file() as tmpfs:
        cell.limit(memory_bytes=LIMIT)
        assert run(cell, *hogs(tmpfs)[name])[0] == -signal.SIGKILL
        used = cell.read()
        assert used.memory_peak is not None
        assert 0.9 * LIMIT < used.memory_peak <= LIMIT
        assert used.oom_kills


def test_many_processes_share_the_limit_and_die_together(cell: cgroup.Group) -> None:
    """None of them is near the limit; one of the group allocates nothing at all and dies all the same."""
    cell.limit(memory_bytes=LIMIT)
    hold = f"import signal; held = b'x' * {LIMIT // 4}; signal.pause()"
    with ExitStack() as programs:
        outside = programs.enter_context(program("sleep", "60"))
        innocent = programs.enter_context(program("sleep", "60", group=cell.path))
        holding = [programs.enter_context(program(sys.executable, "-S", "-c", hold, group=cell.path)) for _ in range(5)]
        assert [process.wait(LIMIT_S) for process in (innocent, *holding)] == [-signal.SIGKILL] * 6
        assert outside.poll() is None
    used = cell.read()
    assert used.oom_kills is not None
    assert used.oom_kills >= 6
    assert not used.populated


# --- pids ---

FORKS = "n=0; while [ $n -lt 20 ]; do sleep 60 & n=$((n+1)); done; echo all; wait"


def test_forks_beyond_the_limit_are_refused(cell: cgroup.Group, taken: Taken) -> None:
    free = taken.groups.create("without-limit")
    with program("sh", "-c", FORKS, group=free.path) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "all\n"
        assert free.read().pids_peak == 21
        free.kill()
        wait_unpopulated(Path(free.path))
    assert free.remove()

    cell.limit(pids=8)
    with program("sh", "-c", FORKS, group=cell.path) as shell:
        assert shell.wait(LIMIT_S) != 0
        used = cell.read()
        cell.kill()
        assert shell.communicate(timeout=LIMIT_S)[0] == ""
    assert used.pids_peak == 8
    assert used.pids_max_events is not None
    assert used.pids_max_events >= 1


# --- cpu ---


def share_of_a_processor(cell: cgroup.Group) -> float:
    """What two busy loops get of one processor within a second and a half."""
    begin = time.monotonic()
    run(cell, "timeout", "1.5", "sh", "-c", "(while :; do :; done) & while :; do :; done")
    cell.kill()
    wait_unpopulated(Path(cell.path))
    used = cell.read().cpu_usec
    assert used is not None
    return used / 1e6 / (time.monotonic() - begin)


def test_processor_time_is_shared_out(cell: cgroup.Group, taken: Taken) -> None:
    free = taken.groups.create("without-limit")
    without = share_of_a_processor(free)
    assert free.remove()
    cell.limit(cpu_percent=20)
    limited = share_of_a_processor(cell)
    assert without > 0.6
    assert 0.1 < limited < 0.3


# --- the end ---

BOMB = "bomb() { bomb | bomb & }; echo ready; bomb; wait; read forever < /dev/zero"


def test_kill_ends_a_fork_bomb(cell: cgroup.Group) -> None:
    cell.limit(pids=40)
    with program("sh", "-c", BOMB, group=cell.path) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "ready\n"
        assert not cell.remove()
        cell.kill()
        wait_unpopulated(Path(cell.path))
        assert not cell.read().populated
        assert shell.wait(LIMIT_S) == -signal.SIGKILL


def test_a_dead_spawners_cells_are_cleared(taken: Taken, cell: cgroup.Group) -> None:
    with program("sleep", "60", group=cell.path) as ours, program(sys.executable, "-c", SPAWNER) as spawner:
        assert spawner.stdout is not None
        left, sleeper = spawner.stdout.readline().split()
        assert members(f"{left}/cell") == {int(sleeper)}
        spawner.kill()
        spawner.wait()
        again = cgroup.open_groups()
        assert again is not None
        assert again.leftovers == []
        assert not Path(left).exists()
        assert ours.poll() is None
        assert again.close()
    assert Path(taken.groups.path).exists()

"""Scripts that take all they can get: processes, threads, processor time, disk, output. Others go on meanwhile.

Memory has a file of its own (``test_cell_memory``).
"""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.cell_rig import CORPUS, OUTSIDE_LIMITS, PYTHON, Seen, eventually, plainly, script
from tests.hostile.places import Place
from tests.hostile.world import MIB, World

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

SOMEBODY = 61000
WORLD = {"tasks": 600}
"""The outer limit of the bombs at level host as root, which only this bounds."""
PROCESSES = 64
"""What a cell may have."""
GIB = 1 << 30
KEPT = 65_536
AGENT_GROWTH_KIB = 4096
FLOOD_S = 40.0
"""For a gigabyte on a machine that is busy; by itself it takes half a second."""


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


def unbounded(place: Place) -> bool:
    """RLIMIT_NPROC does not bind root."""
    return place.is_host and place.who == "root"


def beside(place: Place, name: str, **limits: Any) -> tuple[Seen, Seen]:
    """The outcome of a bomb, and of an innocent script that runs while it goes off."""
    bomb = place.begin(name, **limits)
    bystander = place.run("sh", text="echo $(echo fine)")
    return place.outcome(bomb), bystander


def assert_fine(seen: Seen) -> None:
    assert (seen.kind, seen.exit_code, seen.stdout) == ("exited", 0, "fine\n"), seen


# --- processes and threads ---


@pytest.mark.parametrize(("name", "what"), [("fork_count.py", "processes"), ("thread_count.py", "threads")])
def test_outside_there_are_300(name: str, what: str, world: World) -> None:
    assert plainly(world, name, uid=SOMEBODY).results[f"300 {what}"] == "works"


@pytest.mark.parametrize(("name", "what"), [("fork_count.py", "processes"), ("thread_count.py", "threads")])
def test_processes_and_threads_have_a_limit(name: str, what: str, place: Place) -> None:
    seen = place.run(name, processes=PROCESSES)
    assert (seen.kind, seen.exit_code) == ("exited", 0), seen
    if unbounded(place):
        assert seen.results[f"300 {what}"] == "works"
        place.verdict(name, "succeeds, as declared: root has no such limit")
        return
    assert seen.results[f"300 {what}"] == "EAGAIN"
    assert int(seen.results[{"processes": "children"}.get(what, what)]) < PROCESSES
    place.verdict(name, f"refused EAGAIN below {PROCESSES}")


@pytest.mark.parametrize("name", ["fork_bomb.py", "thread_bomb.py"])
def test_outside_it_grows_beyond_the_limit(name: str, world: World) -> None:
    argv = [PYTHON, "-c", script(name)]
    limits = {**OUTSIDE_LIMITS, resource.RLIMIT_NPROC: 100}
    with world.start(argv, uid=SOMEBODY, limits=limits, stderr=subprocess.DEVNULL) as bomb:
        try:
            eventually(lambda: tasks_in(world) > PROCESSES, True)
        finally:
            bomb.kill()


def tasks_in(world: World) -> int:
    """Threads of all processes."""
    return sum(process.threads for process in world.processes())


@pytest.mark.parametrize("name", ["fork_bomb.py", "thread_bomb.py"])
def test_a_bomb_hurts_nobody_else(name: str, place: Place) -> None:
    if unbounded(place):
        seen = place.run(name, wall_s=0.7, grace_s=0.2)
        gone = "told as uncertain" if seen.uncertain else "gone in the end"
        place.verdict_on_a_spoiled_world(name, f"succeeds, as declared: ended by the clock, {gone}")
        return
    seen, bystander = beside(place, name, wall_s=0.7, grace_s=0.2)
    assert seen.kind in ("timed_out", "exited"), seen
    assert not seen.uncertain or place.is_host
    if place.is_host:
        place.verdict_on_a_spoiled_world(name, "bounded; its user has no processes left meanwhile, as declared")
        return
    assert_fine(bystander)
    place.verdict(name, "bounded, ended by the clock")


# --- processor time ---


def test_outside_the_processor_is_burned(world: World) -> None:
    assert plainly(world, "burn.py").stdout == "burned\n"
    assert plainly(world, "burn_on.py").stdout == "burned\n"
    seen = plainly(world, "burn_many.sh", timeout_s=0.5)
    assert (seen.status, seen.stdout) == (-signal.SIGKILL, "burning\n")


def test_processor_time_has_a_limit(place: Place) -> None:
    burning = [place.begin(name, cpu_s=1, wall_s=20) for name in ("burn.py", "burn_on.py")]
    burn, burn_on = [place.outcome(number) for number in burning]
    assert (burn.kind, burn.signal, burn.clock, burn.stdout) == ("signalled", signal.SIGXCPU, "cpu", "")
    assert (burn_on.kind, burn_on.signal, burn_on.clock, burn_on.stdout) == ("signalled", signal.SIGKILL, "cpu", "")
    assert 0.5 < burn.cpu_s < 1.4 < burn_on.cpu_s < 2.4
    place.verdict("burn.py", "ended by SIGXCPU")
    place.verdict("burn_on.py", "ended by SIGKILL")


def test_many_who_burn_meet_the_clock(place: Place) -> None:
    seen, bystander = beside(place, "burn_many.sh", wall_s=0.5, grace_s=0.2)
    assert (seen.kind, seen.clock, seen.stdout) == ("timed_out", "wall", "burning\n")
    assert_fine(bystander)
    place.verdict("burn_many.sh", "ended by the clock")


# --- disk ---

UNBOUNDED_ON_DISK = {"200 MiB of files", "directories", "links", "files"}
"""A work directory on the host's disk is bounded by its file system; only each file has a limit (plan.Profile)."""


@pytest.mark.parametrize("name", ["disk.py", "inodes.py"])
def test_outside_the_disk_is_filled(name: str, world: World) -> None:
    assert set(plainly(world, name).results.values()) == {"works"}


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("disk.py", {"a file of 20 MiB": "EFBIG", "a sparse file of 60 MiB": "EFBIG", "200 MiB of files": "ENOSPC"}),
        ("inodes.py", dict.fromkeys(("directories", "links", "files"), "ENOSPC")),
    ],
)
def test_the_disk_has_a_limit(name: str, refused: dict[str, str], place: Place) -> None:
    seen = place.run(name)
    assert (seen.kind, seen.stderr) == ("exited", ""), seen
    through = UNBOUNDED_ON_DISK & refused.keys() if place.level in ("landlock", "host") else set()
    assert seen.results == {**refused, **dict.fromkeys(through, "works")}
    place.verdict(name, "succeeds, as declared: it is the host's disk" if through else "refused ENOSPC")


# --- output ---


def peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def test_outside_a_gigabyte_arrives() -> None:
    with subprocess.Popen(["sh", CORPUS / "flood.sh"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        arrived = 0
        while piece := os.read(process.stdout.fileno(), MIB):
            arrived += len(piece)
    assert arrived == GIB


def test_a_gigabyte_of_output_is_counted_and_not_kept(place: Place) -> None:
    place.run("sh", text="head -c 200000 /dev/zero")
    before = peak_kib(place.agent.outer_pid)
    seen, bystander = beside(place, "flood.sh", wall_s=FLOOD_S)
    assert (seen.kind, seen.exit_code, seen.produced) == ("output_limit", 0, GIB)
    assert len(seen.stdout) == KEPT
    assert peak_kib(place.agent.outer_pid) - before < AGENT_GROWTH_KIB
    assert_fine(bystander)
    place.verdict("flood.sh", "counted and not kept")


def test_output_without_end_meets_the_clock(place: Place) -> None:
    seen, bystander = beside(place, "flood_both.sh", wall_s=0.5, grace_s=0.2)
    assert (seen.kind, len(seen.stdout), len(seen.stderr)) == ("timed_out", KEPT, KEPT)
    assert_fine(bystander)
    place.verdict("flood_both.sh", "ended by the clock")

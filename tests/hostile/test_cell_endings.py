"""Scripts that won't end, end badly, or leave something behind: the outcome is true and in time, nothing stays."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.cell_rig import Seen, eventually, plainly
from tests.hostile.places import Place
from tests.hostile.world import World

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

SOON_S = 5.0
"""Far less than any script here lasts by itself; no measure of speed."""


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


def ended(seen: Seen) -> tuple[str, int | None]:
    """How it ended, after checking that nobody is unsure about it."""
    assert not seen.uncertain
    return seen.kind, seen.exit_code


# --- those who won't end ---


@pytest.mark.parametrize(("name", "output"), [("ignore_term.sh", "alive\n"), ("stop_itself.sh", "")])
def test_outside_it_does_not_end(name: str, output: str, world: World) -> None:
    seen = plainly(world, name, timeout_s=0.5)
    assert (seen.status, seen.stdout) == (-signal.SIGKILL, output)


@pytest.mark.parametrize("name", ["ignore_term.sh", "stop_itself.sh"])
def test_who_will_not_end_is_ended(name: str, place: Place) -> None:
    seen = place.run(name, wall_s=0.4, grace_s=0.3)
    assert (ended(seen), seen.clock) == (("timed_out", None), "wall")
    assert 0.4 <= seen.wall_s < SOON_S
    place.verdict(name, "ended by the clock")


# --- those who fight who watches ---


def test_outside_the_parent_is_stopped(world: World) -> None:
    seen = plainly(world, "stop_the_parent.sh", under_a_shell=True, timeout_s=0.5)
    assert "alive" in seen.stdout
    assert "the parent went on" not in seen.stdout


def test_stopping_the_parent_stops_nobody(place: Place) -> None:
    seen = place.run("stop_the_parent.sh")
    assert (ended(seen), seen.stdout) == (("exited", 3), "alive\n")
    assert seen.wall_s < SOON_S
    place.verdict("stop_the_parent.sh", "succeeds, as declared: is let go on at once" if place.is_host else "no effect")


def test_outside_the_parent_gets_every_signal(world: World) -> None:
    seen = plainly(world, "signal_the_parent.py", under_a_shell=True)
    assert seen.results["signal 1"] == "works"
    assert "the parent went on" not in seen.stdout


def test_the_parent_gets_no_signal(place: Place) -> None:
    seen = place.run("signal_the_parent.py")
    if place.is_host:
        assert ended(seen) == ("interrupted", None)
        place.verdict("signal_the_parent.py", "succeeds, as declared: the run is told as interrupted")
        return
    assert ended(seen) == ("exited", 0)
    assert len(seen.results) > 60
    assert set(seen.results.values()) == {"EPERM"}
    place.verdict("signal_the_parent.py", "refused EPERM")


def test_outside_everything_is_killed(world: World) -> None:
    with world.start(["sleep", "60"]) as bystander:
        plainly(world, "kill_everything.sh")
        bystander.wait(SOON_S)


def test_killing_everything_reaches_nobody_else(place: Place) -> None:
    bystander = place.begin("sh", text="sleep 0.4; echo fine")
    if place.is_host:
        place.begin("kill_everything.sh")
        eventually(place.agent.world.processes, [])  # the agent is among those that its user may kill
        place.verdict_on_a_spoiled_world("kill_everything.sh", "succeeds, as declared: the agent too; 0 left")
        return
    seen = place.run("kill_everything.sh")
    assert ended(seen) == ("exited", 3)
    fine = place.outcome(bystander)
    assert (ended(fine), fine.stdout) == (("exited", 0), "fine\n")
    place.verdict("kill_everything.sh", "reaches nobody else")


# --- those who leave something behind ---


def test_outside_a_daemon_stays(world: World) -> None:
    plainly(world, "daemon.py")
    assert [process.arguments for process in world.processes()] == ["kworker/0:1 60"]


def test_a_daemon_goes_with_the_script(place: Place) -> None:
    seen = place.run("daemon.py")
    assert ended(seen) == ("exited", 0)
    assert seen.killed >= 1
    place.verdict("daemon.py", "killed with the script")


def last_pid(world: World) -> int:
    return int(world.path("/proc/loadavg").read_text().split()[-1])


def test_outside_a_chain_goes_on(world: World) -> None:
    plainly(world, "fork_chain.py")
    before = last_pid(world)
    deadline = time.monotonic() + SOON_S
    while last_pid(world) < before + 100:
        assert time.monotonic() < deadline


def test_a_chain_goes_with_the_script(place: Place) -> None:
    seen = place.run("fork_chain.py")
    if place.is_host and seen.uncertain:
        assert (seen.kind, seen.exit_code) == ("exited", 0)
        place.verdict_on_a_spoiled_world("fork_chain.py", "may go on, as declared: told as uncertain")
        return
    assert ended(seen) == ("exited", 0)
    place.verdict("fork_chain.py", "killed with the script")


def test_the_dead_are_collected(place: Place) -> None:
    """A second script of the same cell number would find no process left if they were not."""
    unbounded = place.is_host and place.who == "root"  # RLIMIT_NPROC does not bind root
    for _ in range(3):
        seen = place.run("zombies.py")
        assert ended(seen) == ("exited", 0)
        assert unbounded or 10 < int(seen.results["children"]) < 64
    place.verdict("zombies.py", f"all collected, {'300' if unbounded else 'fewer than 64'} at a time")


# --- those who play with their output ---


def outside_streams(world: World, name: str) -> tuple[bool, bool]:
    """Whether the main process was at its end a second later, and whether its output was."""
    script = Path(__file__).parent / "corpus" / name
    with world.start(["sh", str(script)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        pidfd = os.pidfd_open(process.pid)
        try:
            main_ended = bool(select.select([pidfd], [], [], 0.2)[0])
            output_ended = False
            deadline = time.monotonic() + 0.2
            while not output_ended and (left := deadline - time.monotonic()) > 0:
                if select.select([process.stdout], [], [], left)[0]:
                    output_ended = process.stdout.read(1 << 16) == b""
        finally:
            os.close(pidfd)
            process.kill()
            process.stdout.close()
        return main_ended, output_ended


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("held_stdout.sh", (True, False)),
        ("writing_children.sh", (True, False)),
        ("closed_stdout.sh", (False, True)),
    ],
)
def test_outside_the_end_of_the_output_is_not_the_end(name: str, expected: tuple[bool, bool], world: World) -> None:
    assert outside_streams(world, name) == expected


@pytest.mark.parametrize("name", ["held_stdout.sh", "closed_stdout.sh", "writing_children.sh"])
def test_the_end_of_the_main_process_is_the_end(name: str, place: Place) -> None:
    seen = place.run(name)
    assert seen.kind in ("exited", "output_limit")
    assert (seen.exit_code, seen.uncertain) == (3, False)
    assert seen.wall_s < SOON_S
    if name == "closed_stdout.sh":
        assert seen.wall_s >= 0.3
    else:
        assert seen.stdout.startswith(("over\n", "first\n", "more\n"))
        assert seen.killed >= 1
    place.verdict(name, "ends with its main process")

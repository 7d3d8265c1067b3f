"""Nothing is left: not after thousands of hostile scripts, not when somebody is killed in the middle of it all."""

import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lattice_agent.exec.cell_ends import prepare_request
from lattice_agent.exec.library import DEFAULT_PROFILE
from lattice_agent.exec.pool import MOST as CELLS_KEPT
from lattice_agent.exec.requests import CellGone, KillCell, encode
from tests.hostile.cell_rig import Agent, an_agent, eventually
from tests.hostile.inventory import (
    assert_nothing_left,
    left_by_scripts,
    mapped_files,
    memory_kib,
    read,
    take_inventory,
)
from tests.hostile.test_cell_spawner import HostileAgent
from tests.hostile.world import AGENTS, MIB
from tests.rigs.extent import extent

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

LEVELS = ("strict", "network", "landlock")
ANSWERED_S = 2.0
"""A bound for "does not block", on a machine that is busy; not a measure."""

IDLE_S = 30.0


@pytest.fixture(scope="module", autouse=True)
def idle() -> Iterator[tuple[HostileAgent, float]]:
    """A spawner that nobody says anything to while the rest of this file goes on, and since when."""
    agent = HostileAgent()
    agent.build_and_kill(1)
    yield agent, time.monotonic()
    agent.spawner.close()


# --- thousands ---


@dataclass(frozen=True)
class Short:
    """A script that is soon over, by itself or by a limit."""

    text: str
    kinds: tuple[str, ...] = ("exited",)
    wall_s: float = 10.0
    memory_bytes: int = 64 * MIB


STORM = [
    Short(":"),
    Short("sleep 60 & sleep 60 & exit 3"),
    Short("setsid sleep 60 >/dev/null 2>&1 </dev/null & exit 0"),
    Short("(setsid sh -c 'trap \"\" TERM HUP; while :; do :; done' &) ; exit 0"),
    Short("kill -KILL $$", ("signalled",)),
    Short("kill -SEGV $$", ("signalled",)),
    Short("kill -KILL -1; kill -STOP $PPID; exit 3"),
    Short("head -c 300000 /dev/zero", ("output_limit",)),
    Short("exec >&- 2>&-; exit 3"),
    Short("head -c 3000000 /dev/zero > a; mkdir -p b/c/d; ln -s / b/e; chmod 000 b; mkfifo f; exit 0"),
    Short("i=0; while [ $i -lt 20 ]; do sleep 60 & i=$((i+1)); done; exit 0"),
    Short("for i in 1 2 3; do (while :; do echo more; done) & done; exit 0", ("exited", "output_limit")),
    Short("kill -STOP $$", ("timed_out",), 0.02),
    Short("trap '' TERM; sleep 60 & while :; do :; done", ("timed_out",), 0.02),
    Short("x=0123456789abcdef; while :; do x=$x$x; done", ("memory_limit",), memory_bytes=4 * MIB),
]
RUNS, EARLY, LITTLE = extent(240, 5000), extent(90, 500), 400
GROWTH_KIB = 1024


def storm(agent: Agent, first: int, last: int) -> None:
    """Runs of all kinds, two at a time; every fifteenth at level landlock."""
    running: list[tuple[int, Short]] = []
    for number in range(first, last):
        short = STORM[number % len(STORM)]
        level = "landlock" if number % 16 == 15 else "strict"
        begun = agent.begin(
            "sh", text=short.text, level=level, wall_s=short.wall_s, grace_s=0.02, memory_bytes=short.memory_bytes
        )
        running.append((begun, short))
        if len(running) == 2:
            take(agent, *running.pop(0))
    take(agent, *running.pop())


def take(agent: Agent, number: int, short: Short) -> None:
    seen = agent.outcome(number)
    assert seen.kind in short.kinds, (short, seen)
    assert not seen.uncertain


def fill_the_pool(agent: Agent) -> None:
    """As many cells are kept as ever are. How many a storm brings about depends on how often it had to wait for one."""
    together = [agent.begin("sh", text="sleep 0.2", wall_s=10.0) for _ in range(2 * CELLS_KEPT)]
    for number in together:
        take(agent, number, Short("sleep 0.2"))
    eventually(lambda: waiting_cells(agent), CELLS_KEPT)


def keys() -> int:
    """Of all users; others on this machine may use keys too."""
    return len(Path("/proc/keys").read_text().splitlines())


def waiting_cells(agent: Agent) -> int:
    """How many cells are there, when there is nothing else."""
    return 0 if left_by_scripts(agent) else sum(process.name == "cell" for process in agent.world.processes()) // 2


@pytest.mark.slow
@pytest.mark.sized
@pytest.mark.parametrize(("who", "early", "runs"), [("root", EARLY, RUNS), ("nobody", EARLY // 5, LITTLE)])
def test_after_thousands_of_hostile_scripts_nothing_is_left(who: str, early: int, runs: int) -> None:
    with an_agent(who) as agent:
        storm(agent, 0, early)
        fill_the_pool(agent)
        before, keys_before = take_inventory(agent), keys()
        pids = {"agent": agent.outer_pid, "spawner": agent.world.outer_pid(agent.spawner)}
        memory_before = {name: memory_kib(pid) for name, pid in pids.items()}
        mapped_before = {name: mapped_files(pid) for name, pid in pids.items()}

        storm(agent, early, runs)
        fill_the_pool(agent)
        eventually(lambda: take_inventory(agent), before)
        eventually(lambda: keys() < keys_before + 100, True)
        for name, pid in pids.items():
            for field, kib in memory_kib(pid).items():
                assert kib - memory_before[name][field] <= GROWTH_KIB, (name, field)
            assert mapped_files(pid) <= mapped_before[name], name


# --- nothing blocks the spawner ---


@pytest.fixture(scope="module")
def spawner() -> Iterator[HostileAgent]:
    agent = HostileAgent()
    agent.build_and_kill(1)
    yield agent
    agent.spawner.close()


def assert_answers_while(spawner: HostileAgent, cells: range, echo: int) -> None:
    """It is asked about a cell that is not there, after all the work; the answer comes soon, and then the rest."""
    started = time.monotonic()
    spawner.say(encode(KillCell(echo)))
    gone = set()
    while echo not in gone:
        answer = spawner.hear()
        gone |= {answer.cell} if isinstance(answer, CellGone) else set()
    assert time.monotonic() - started < ANSWERED_S
    while gone != {*cells, echo}:
        answer = spawner.hear()
        gone |= {answer.cell} if isinstance(answer, CellGone) else set()
    spawner.let_go()


def test_killing_cells_that_wait_blocks_nobody(spawner: HostileAgent) -> None:
    """As a pool does that shrinks."""
    cells = range(100, 130)
    for number in cells:
        spawner.say(encode(prepare_request(number, DEFAULT_PROFILE)))
    for _ in cells:
        spawner.hear()
    for number in cells:
        spawner.say(encode(KillCell(number)))
    assert_answers_while(spawner, cells, 199)


def test_killing_cells_that_are_half_built_blocks_nobody(spawner: HostileAgent) -> None:
    for start in range(200, 800, 50):
        cells = range(start, start + 30)
        for number in cells:
            spawner.say(encode(prepare_request(number, DEFAULT_PROFILE)))
            if number % 3 == start // 50 % 3:
                spawner.say(encode(KillCell(number)))
        for number in cells:
            spawner.say(encode(KillCell(number)))
        assert_answers_while(spawner, cells, start + 49)


@pytest.fixture(scope="module", params=AGENTS)
def agent(request: pytest.FixtureRequest) -> Iterator[Agent]:
    with an_agent(request.param) as agent:
        yield agent


@pytest.mark.parametrize("level", LEVELS)
def test_killing_scripts_at_their_time_blocks_nobody(level: str, agent: Agent) -> None:
    fighting = [agent.begin("ignore_term.sh", level=level, wall_s=0.2, grace_s=0.2) for _ in range(4)]
    while fighting:
        bystander = agent.run("sh", text="echo fine")
        assert (bystander.kind, bystander.stdout) == ("exited", "fine\n")
        assert bystander.wall_s < ANSWERED_S
        seen = agent.outcome(fighting.pop())
        assert (seen.kind, seen.uncertain) == ("timed_out", False)
    assert_nothing_left(agent)


# --- somebody is killed ---

BUSY = "sleep 60 & setsid sleep 60 & (setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' &) ; echo busy; sleep 60"


def busy(agent: Agent, level: str) -> list[int]:
    """Two scripts with all that they started."""
    # Not root and without namespaces, the kernel counts those of the same user in other worlds too.
    running = [agent.begin("sh", text=BUSY, level=level, wall_s=60, processes=1000) for _ in range(2)]
    eventually(lambda: sum(process.name == "sleep" for process in agent.world.processes()), 8)
    return running


@pytest.mark.parametrize("level", LEVELS)
def test_a_killed_spawner_leaves_nothing_and_is_replaced(level: str, agent: Agent) -> None:
    running = busy(agent, level)
    before = agent.spawner
    os.kill(agent.world.outer_pid(before), signal.SIGKILL)
    assert [agent.outcome(number).kind for number in running] == ["interrupted", "interrupted"]
    eventually(lambda: sum(process.name == "sleep" for process in agent.world.processes()), 0)
    seen = agent.run("sh", text="echo fine", level=level)
    assert (seen.kind, seen.stdout) == ("exited", "fine\n")
    assert agent.spawner != before
    assert_nothing_left(agent)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("who", AGENTS)
def test_a_killed_agent_leaves_nothing(who: str, level: str) -> None:
    with an_agent(who) as agent:
        mounts = read(agent.world.path("/proc/1/mountinfo"))
        busy(agent, level)
        for _ in range(4):
            agent.begin("sh", text="sleep 60", level=level, wall_s=60)  # which are built meanwhile
        agent.kill()
        eventually(lambda: [process.arguments for process in agent.world.processes()], [])
        assert read(agent.world.path("/proc/1/mountinfo")) == mounts
        assert len(read(agent.world.path("/proc/1/net/unix")).splitlines()) == 1  # the heading


# --- nothing happens at all ---


def test_a_spawner_that_nothing_is_said_to_stays(idle: tuple[HostileAgent, float]) -> None:
    """The parent-death signal follows a thread: one that was set in the wrong one ended an idle child after 10 s.

    The one test here that waits for time to pass; what is before it takes most of that time already.
    """
    agent, since = idle
    pidfd = os.pidfd_open(agent.spawner.pid)
    assert select.select([pidfd], [], [], max(0.0, since + IDLE_S - time.monotonic()))[0] == []
    os.close(pidfd)
    assert processor_time(agent.spawner.pid) < 0.02 * (time.monotonic() - since)
    agent.build_and_kill(2)


def processor_time(pid: int) -> float:
    """Seconds (fields 14 and 15 of proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

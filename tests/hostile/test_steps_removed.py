"""Every step of confinement is there for something: taken out of the table that the spawner carries out, it is missed.

A script tells what is in force; with all steps it tells that the protection is there, without the one that it is not.
Steps without which there is no cell end it: then nothing of the script may have run. Others show from outside only.
Every name in the tables of steps has an entry in one of the tables here.
"""

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lattice_agent.exec.cell_steps import CELL_STEPS
from lattice_agent.exec.template import TEMPLATE_STEPS
from tests.hostile.cell_rig import Agent, Seen, an_agent, eventually
from tests.hostile.world import AGENTS, World

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

ALL = tuple(AGENTS)
SOON_S = 10
NO_CAPABILITIES = "0{16}"


@dataclass(frozen=True)
class Sign:
    """How the absence of a step shows inside: at which level, by which fact, and what it says (patterns)."""

    level: str
    fact: str
    present: str
    absent: str
    agents: tuple[str, ...] = ALL


SIGNS = {
    "oom-score": [Sign("strict", "oom_score_adj", "1000", "0"), Sign("landlock", "oom_score_adj", "1000", "0")],
    "resolver-file": [Sign("network", "resolver", ".*nameserver .*", "")],
    "resolver": [Sign("network", "resolver", ".*nameserver .*", "")],
    "hostname": [Sign("strict", "hostname", "cell", "(?!cell).*")],
    "loopback": [Sign("strict", "connect to itself", "works", "ENETUNREACH")],
    "proc-sealed": [Sign("strict", "write to /proc/self", "EROFS", "EACCES|works")],
    "subreaper": [Sign("landlock", "orphans", "init's", "another's")],
    "session": [Sign("strict", "session", "own", "another's"), Sign("landlock", "session", "own", "another's")],
    "limits": [
        Sign(level, name, value, "-1|[1-9][0-9]+")
        for level in ("strict", "landlock")
        for name, value in (("CORE", "0"), ("MEMLOCK", "0"), ("MSGQUEUE", "0"), ("SIGPENDING", "1024"))
    ],
    "directory": [Sign("strict", "directory", "own", "/"), Sign("strict", "umask", "0o77", "0o22")],
    "landlock": [Sign(level, "write to a device", "EACCES", "works") for level in ("strict", "landlock")],
    "groups": [
        Sign("strict", "Groups", "", "4 27", ("root",)),
        Sign("strict", "Groups", "", "65534 65534", ("ranged",)),  # the same, as its user namespace calls them
    ],
    "bounding-set": [Sign("strict", "CapBnd", NO_CAPABILITIES, f"(?!{NO_CAPABILITIES}).*")],
    "securebits": [Sign("strict", "securebits", "235", "0")],
    "seccomp": [Sign(level, "Seccomp", "2", "0") for level in ("strict", "landlock")],
}
"""Steps that a script misses."""

NO_CELL = {
    **dict.fromkeys(("sources", "root", "root-files", "root-binds", "root-sealed", "proc", "work-tmpfs"), "strict"),
    **dict.fromkeys(("user-namespace", "template", "ids", "held-namespace"), "strict"),
    **dict.fromkeys(("work-disk", "work-disk-mount"), "strict on disk"),
    **dict.fromkeys(("work-directory", "channels", "no-new-privs", "descriptors"), "strict landlock"),
    "identity": "strict landlock",  # an interpreter is executed, but the script belongs to somebody else
}
"""Steps without which no script runs, at these levels."""

FROM_OUTSIDE = {"mount-namespace", "namespaces", "reaper-domain", "keyring", "capabilities", "end-with-spawner"}
"""Steps with a test of their own below."""

NOT_TAKEN = {"nobody": {"template", "groups", "identity"}, "root": {"user-namespace", "ids"}, "ranged": {"ids"}}
"""Steps that an agent of this kind never takes."""
NOT_TAKEN_AT = {("ranged", "landlock"): {"identity"}}
"""Nor at this level."""


def test_every_step_has_an_entry_in_one_table() -> None:
    names = [step.name for step in (*TEMPLATE_STEPS, *CELL_STEPS)]
    entries = [*SIGNS, *NO_CELL, *FROM_OUTSIDE]
    assert sorted(entries) == sorted(set(names))


@pytest.fixture(scope="module", params=AGENTS)
def who(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def complete(who: str) -> Iterator[Agent]:
    """An agent whose spawner leaves out nothing."""
    with an_agent(who) as agent:
        yield agent


def facts(agent: Agent, level: str) -> dict[str, str]:
    """What the script tells."""
    seen = agent.run("protections.py", level=level)
    assert (seen.kind, seen.exit_code, seen.stderr) == ("exited", 0, ""), seen
    return seen.results


@pytest.mark.parametrize("step", SIGNS)
def test_a_script_misses_it(step: str, who: str, complete: Agent) -> None:
    signs = [sign for sign in SIGNS[step] if who in sign.agents]
    levels = {sign.level for sign in signs}
    assert levels or step in NOT_TAKEN[who]
    with_it = {level: facts(complete, level) for level in levels}
    with an_agent(who, without=(step,)) as agent:
        without = {level: facts(agent, level) for level in levels}
    for sign in signs:
        assert re.fullmatch(sign.present, with_it[sign.level][sign.fact]), (sign, with_it)
        assert re.fullmatch(sign.absent, without[sign.level][sign.fact]), (sign, without)


DISK = "/run/disk"


def run_something(agent: Agent, level: str) -> Seen:
    """A script that says so if it runs at all. ``on disk``: its work directory is to be on the host's."""
    if not level.endswith(" on disk"):
        return agent.run("sh", text="echo I ran", level=level)
    agent.world.path(DISK).mkdir(mode=0o700, exist_ok=True)
    os.chown(agent.world.path(DISK), agent.uid, agent.uid)
    return agent.run("sh", text="echo I ran", level=level.removesuffix(" on disk"), work_disk=DISK)


@pytest.mark.parametrize("step", NO_CELL)
def test_without_it_no_script_runs(step: str, who: str, complete: Agent) -> None:
    levels = [NO_CELL[step]] if NO_CELL[step].endswith(" on disk") else NO_CELL[step].split()
    with an_agent(who, without=(step,)) as agent:
        for level in levels:
            assert run_something(complete, level).stdout == "I ran\n"
            seen = run_something(agent, level)
            not_taken = NOT_TAKEN[who] | NOT_TAKEN_AT.get((who, level), set())
            assert (seen.stdout == "I ran\n") == (step in not_taken), seen


# --- those that show from outside, or to more than one script ---


def mounts_of(world: World) -> list[str]:
    return Path(f"/proc/{world.init}/mountinfo").read_text().splitlines()


@pytest.mark.parametrize("step", ["", "mount-namespace"])
def test_the_hosts_mounts_stay_as_they_are(step: str, who: str) -> None:
    """Root without its step mounts in the namespace of the agent; the world is its host here."""
    with an_agent(who, without=(step,)) as agent:
        before = mounts_of(agent.world)
        seen = agent.run("sh", text="echo I ran")
        same = mounts_of(agent.world) == before
    if step and who == "root":
        assert not same
    else:
        assert same
        # Not root: the template's user namespace may not mount in a namespace of somebody else's.
        assert (seen.stdout == "I ran\n") == (not step)


@pytest.mark.parametrize("step", ["", "namespaces"])
def test_a_cell_has_its_own_namespaces(step: str, who: str) -> None:
    with an_agent(who, without=(step,)) as agent:
        seen = agent.run("protections.py", level="network")
        if step and seen.kind != "exited":
            assert seen.stdout == ""  # then it is no cell at all
            return
        for kind in ("ipc", "uts", "cgroup"):
            outside = os.readlink(f"/proc/{agent.outer_pid}/ns/{kind}")
            assert (seen.results[f"{kind} namespace"] == outside) == bool(step), kind


@pytest.mark.parametrize("step", ["", "reaper-domain"])
def test_the_end_of_a_cell_without_namespaces_is_the_end_of_nothing_else(step: str, who: str) -> None:
    """Its init ends what is left by kill(-1). Without the domain that is all its user may kill: a world full."""
    with World() as world, world.start(["sleep", "60"], uid=AGENTS[who]) as bystander:
        agent = Agent(world, AGENTS[who], without=(step,), keep="landlock")
        try:
            running = agent.begin("sh", text="sleep 60 & echo I ran", level="landlock")
            if step:
                assert bystander.wait(SOON_S) != 0
            else:
                assert agent.outcome(running).stdout == "I ran\n"
                assert bystander.poll() is None
        finally:
            bystander.kill()
            agent.kill()
            agent.close()


@pytest.mark.parametrize("step", ["", "keyring"])
def test_the_agents_keys_stay_with_it(step: str, who: str) -> None:
    """Without the filter, which refuses all calls about keys, to see what the step alone does."""
    with an_agent(who, without=("seccomp", step), has_a_key=True) as agent:
        for level in ("strict", "landlock"):
            result = agent.run("agents_key.py", level=level).results["the agent's key"]
            assert result == ("works" if step else "ENOKEY"), level


@pytest.mark.parametrize("step", ["", "capabilities"])
def test_capabilities_are_given_up(step: str, who: str) -> None:
    """Where ids are given there is then no way to take the steps that follow; another launcher keeps what it has."""
    with an_agent(who, without=(step,)) as agent:
        seen = agent.run("protections.py")
    if not step:
        assert {seen.results[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")} == {"0" * 16}
    elif who != "nobody":
        assert seen.stdout == ""
    else:
        assert seen.results["CapBnd"] != "0" * 16


@pytest.mark.parametrize("step", ["", "end-with-spawner"])
@pytest.mark.parametrize("level", ["strict", "landlock"])
def test_a_cell_ends_with_its_spawner(step: str, level: str, who: str) -> None:
    """Seen on a script that runs: those that wait end by the agent's closing their sockets as well."""
    with an_agent(who, without=(step,)) as agent:
        running = agent.begin("sh", text="echo I ran; sleep 60", level=level, wall_s=60)
        eventually(lambda: scripts_in(agent.world), 1)
        spawner = agent.spawner
        os.kill(agent.world.outer_pid(spawner), signal.SIGKILL)
        if step:
            eventually(lambda: spawner in {process.pid for process in agent.world.processes()}, False)
            assert scripts_in(agent.world) == 1
            agent.kill()  # it would wait for the outcome
        else:
            assert agent.outcome(running).kind == "interrupted"
            eventually(lambda: scripts_in(agent.world), 0)


def scripts_in(world: World) -> int:
    """How many processes of the script above there are."""
    return sum(process.arguments == "sleep 60" for process in world.processes())

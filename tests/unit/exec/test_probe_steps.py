"""Each step of confinement is taken out of the tables that a spawner carries out, and the probe has to notice.

All of it happens in worlds (namespaces of the test's own): without its step a protection is really gone.
"""

import json
import subprocess
import sys
from typing import Any

import pytest

from lattice_agent.exec.cell_steps import CELL_STEPS
from lattice_agent.exec.template import TEMPLATE_STEPS
from tests.hostile.world import AGENTS, REPOSITORY, World
from tests.rigs.extent import mostly_long

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns, pytest.mark.slow]

STEPS = list(dict.fromkeys(step.name for step in (*TEMPLATE_STEPS, *CELL_STEPS)))
ELSEWHERE = ("work-disk", "work-disk-mount")
"""Only for profiles with a disk-backed work directory, which are not probed."""
DEADLY = ("mount-namespace", "namespaces", "reaper-domain")
"""Without them the world itself is changed, or everything in it killed: each has a world of its own."""
TAKEN_OUT = [name for name in STEPS if name not in (*DEADLY, *ELSEWHERE)]
WORLD_S = 150

NOTICED = {
    "namespaces": "ipc namespace",
    "hostname": "uts namespace",
    "loopback": "network namespace",
    "proc-sealed": "own /proc",
    "oom-score": "killed first",
    "resolver-file": "name resolution",
    "resolver": "name resolution",
    "session": "own session",
    "keyring": "own session keyring",
    "limits": "limits of a process",
    "directory": "own work directory",
    "landlock": "Landlock",
    "groups": "no supplementary groups",
    "bounding-set": "no capabilities",
    "securebits": "locked securebits",
    "capabilities": "no capabilities",
    "subreaper": "orphans stay",
    "seccomp": "system call filter",
}
"""The protection that is then missed. Without any other step there is no cell, or none that can do anything."""
NOT_FROM_INSIDE = {
    ("keyring", "strict"): "the list of keys is covered, and the calls about keys are refused",
    ("keyring", "network"): "likewise",
    ("end-with-spawner", "strict"): "shows when the spawner dies; tests of the spawner have it",
    ("end-with-spawner", "network"): "likewise",
    ("end-with-spawner", "landlock"): "likewise",
}
NOTHING_TO_DO = {(agent, "capabilities", "landlock") for agent in ("nobody", "ranged")}
"""There are none to give up."""
ONLY_FOR_THE_OTHER = {
    **dict.fromkeys(("template", "groups", "identity"), ("nobody",)),
    "user-namespace": ("root",),
    "ids": ("root", "ranged"),
}
"""Steps that an agent of a kind never takes."""

LACKS = {"root": set(), "nobody": {"unique uid"}, "ranged": {"unique uid", "no supplementary groups"}}
"""With every step: what an agent without root cannot do at level landlock, and without a range nowhere."""

Told = dict[str, Any]


def told_by(agent: str, steps: list[str]) -> list[Told]:
    """What an agent of that kind says, in a world of its own."""
    with World() as world:
        process = world.start(
            [sys.executable, "-m", "tests.rigs.probe_without", *steps],
            uid=AGENTS[agent],
            environment={"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
        )
        try:
            output, _ = process.communicate(timeout=WORLD_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="module", params=mostly_long(AGENTS))
def agent(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def told(agent: str) -> dict[str, Told]:
    """By step; "applied" has the steps of each level, "" what is seen when none is left out."""
    applied, *probes = told_by(agent, ["", *TAKEN_OUT])
    return {"applied": applied, **{probe["step"]: probe["levels"] for probe in probes}}


def test_with_every_step_every_level_is_reached(agent: str, told: dict[str, Told]) -> None:
    for level, result in told[""].items():
        assert result["reached"], f"{level}: {result['because']}"
        assert set(result["lacks"]) == (LACKS[agent] if level == "landlock" or agent == "nobody" else set())


@pytest.mark.parametrize("step", TAKEN_OUT)
def test_a_missing_step_is_noticed(agent: str, told: dict[str, Told], step: str) -> None:
    levels = {level for level, names in told["applied"].items() if step in names}
    assert levels or agent in ONLY_FOR_THE_OTHER[step]
    for level in levels:
        result = told[step][level]
        missed = result["lacks"].keys() - told[""][level]["lacks"].keys()
        if (step, level) in NOT_FROM_INSIDE or (agent, step, level) in NOTHING_TO_DO:
            assert result["reached"]
            assert not missed
        elif step in NOTICED and missed:
            assert NOTICED[step] in missed, result
        else:
            # No cell came to be, or none that could do anything; "because" says what failed.
            assert not result["reached"], result
            assert not missed, result


@pytest.mark.parametrize("step", ["mount-namespace", "namespaces"])
def test_a_missing_namespace_is_noticed(agent: str, step: str) -> None:
    probes = told_by(agent, [step])[1:]
    # Without the template's own mount namespace the agent's root is exchanged under it: it may say nothing any more.
    assert all(not probe["levels"][level]["reached"] for probe in probes for level in ("strict", "network"))
    assert probes or step == "mount-namespace"


def test_without_a_domain_of_its_own_the_init_would_kill_its_agent(agent: str) -> None:
    applied, *probes = told_by(agent, ["reaper-domain"])
    assert "reaper-domain" in applied["landlock"]
    assert probes == []

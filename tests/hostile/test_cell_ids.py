"""An ordinary user with subordinate ids: agent and scripts in a world, where its probe and its limits count on them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.cell_rig import Agent, an_agent, eventually
from tests.hostile.inventory import assert_nothing_left
from tests.hostile.world import GIVEN, RANGED, REPOSITORY, SOME_GROUPS, World

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

LEVELS = ("strict", "network")
OUTER_S = 60
SIGNALS = """
import os
for pid in {pids}:
    try:
        os.kill(pid, 9)
        print("killed", pid)
    except OSError as error:
        print(type(error).__name__, pid)
"""


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with an_agent("ranged") as agent:
        yield agent


def uids_of_scripts(world: World) -> list[int]:
    return sorted(process.uid for process in world.processes() if process.arguments == "sleep 60")


@pytest.mark.parametrize("level", LEVELS)
def test_scripts_at_the_same_time_have_ids_of_their_own(agent: Agent, level: str) -> None:
    for number in range(3):
        agent.begin("sh", text=f"id -G; exec sleep 60 # {number}", level=level, wall_s=3)
    eventually(lambda: len(uids_of_scripts(agent.world)), 3)
    uids = uids_of_scripts(agent.world)
    inits = {process.uid for process in agent.world.processes() if process.arguments.startswith("lattice-cell ")}
    assert len(set(uids)) == 3
    assert {*uids, *inits} <= {*GIVEN}
    assert not set(uids) & inits
    eventually(lambda: uids_of_scripts(agent.world), [])
    assert_nothing_left(agent)


@pytest.mark.parametrize("level", LEVELS)
def test_a_script_reaches_neither_its_init_nor_the_agent_by_signals(agent: Agent, level: str) -> None:
    pids = [1, agent.pid, agent.spawner]
    seen = agent.run("python3", text=SIGNALS.format(pids=pids), level=level)
    assert "killed" not in seen.stdout
    assert len(seen.stdout.splitlines()) == len(pids)
    assert agent.run("sh", text="echo goes on", level=level).stdout == "goes on\n"


def test_files_that_are_open_to_a_group_of_the_agent_are_not_to_scripts() -> None:
    """At a place that policy shows. Plainly the agent's user may read it."""
    with World() as world, Agent(world, RANGED) as agent:
        directory = world.path("/run/shared")
        directory.mkdir(mode=0o755)
        (directory / "secret").write_text("for the group\n")
        os.chown(directory / "secret", 0, SOME_GROUPS[0])
        (directory / "secret").chmod(0o640)
        plain = world.start(["cat", "/run/shared/secret"], uid=RANGED, stdout=subprocess.PIPE)
        assert plain.communicate(timeout=OUTER_S)[0] == b"for the group\n"
        seen = agent.run("sh", text="cat /run/shared/secret", paths={"read_only": ["/run/shared"]})
        assert (seen.stdout, seen.exit_code) == ("", 1)
        assert "Permission denied" in seen.stderr


def test_the_limit_on_processes_counts_one_cell(agent: Agent) -> None:
    """Of two that run at once, each gets what it may have."""
    text = "for n in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait; echo all"
    running = [agent.begin("sh", text=text, processes=12) for _ in range(2)]
    assert [agent.outcome(number).stdout for number in running] == ["all\n"] * 2
    assert "all" not in agent.run("sh", text=text, processes=6).stdout


def doctor(world: World) -> dict[str, object]:
    process = world.start(
        [sys.executable, "-m", "lattice_agent", "doctor", "--json"],
        uid=RANGED,
        environment={"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate(timeout=OUTER_S)
    assert err == b""
    told: dict[str, object] = json.loads(out)
    return told


def test_the_doctor_reports_it_and_needs_no_permission_for_groups() -> None:
    with World() as world:
        told = doctor(world)
    assert told["reached"] == ["strict", "network", "host"]  # landlock would keep the groups
    assert told["tasks_run_at"] == "strict"
    levels = {level["level"]: level for level in told["levels"]}  # type: ignore[attr-defined]
    for level in LEVELS:
        assert {"unique-uid", "user-namespace"} <= set(levels[level]["features"])
        assert not {"shared-host-uid", "kept-supplementary-groups"} & set(levels[level]["features"])
    assert "supplementary groups" in levels["landlock"]["because"]


def test_a_world_has_the_range_for_one_user_alone() -> None:
    with World() as world:
        for name in ("subuid", "subgid"):
            assert world.path(f"/etc/{name}").read_text() == f"lattice-test:{GIVEN.start}:{len(GIVEN)}\n"
        assert str(GIVEN.start) not in Path("/etc/subuid").read_text()

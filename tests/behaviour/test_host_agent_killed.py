"""kill -9 of the agent: its runs end, their processes go, and the next start removes their directories."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from lattice_agent.exec.workdir import cleanup_leftovers
from tests.hostile.rig import OUTER_LIMIT_S, REPOSITORY, alive, children_of, marker, processes_of, wait_until

AGENT = """
import sys
import trio
from tests.hostile.rig import a_runner, plan

async def main(run_id, root, linger_s, script):
    async with a_runner() as runner:
        print(runner.spawner_pid, flush=True)
        outcome = await runner.run(plan(script, run_id=run_id, work_root=root, linger_s=float(linger_s)))
        print(outcome.kind, flush=True)
        await trio.sleep_forever()

trio.run(main, *sys.argv[1:])
"""


class Agent:
    """A process that runs one plan and can be killed."""

    def __init__(self, run_id: str, root: Path, script: str, linger_s: float = 0.0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", AGENT, run_id, str(root), str(linger_s), script],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.spawner_pid = int(self.line())

    def line(self) -> str:
        """The next line it says."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    started: list[Agent] = []
    yield started
    for agent in started:
        agent.kill()


@pytest.mark.parametrize(
    "script", ["setsid sleep 60 & sleep 60", "trap '' TERM; setsid sleep 60 & while :; do sleep 60; done"]
)
async def test_nothing_outlives_a_killed_agent(agents: list[Agent], tmp_path: Path, script: str) -> None:
    run_id = marker()
    root = tmp_path / "root"
    agent = Agent(run_id, root, script)
    agents.append(agent)
    with trio.fail_after(OUTER_LIMIT_S):
        await wait_until(lambda: len(processes_of(run_id)) == 3)
        agent.kill()
        await wait_until(lambda: not processes_of(run_id) and not alive(agent.spawner_pid))
    [left] = root.iterdir()
    assert (left / "script").exists()
    assert cleanup_leftovers(str(root)) == 1
    assert list(root.iterdir()) == []


async def test_a_lingering_process_goes_with_the_agent_too(agents: list[Agent], tmp_path: Path) -> None:
    run_id = marker()
    agent = Agent(run_id, tmp_path / "root", "setsid sleep 60 &", linger_s=60)
    agents.append(agent)
    assert agent.line() == "exited"
    assert len(processes_of(run_id)) == 1
    with trio.fail_after(OUTER_LIMIT_S):
        agent.kill()
        await wait_until(lambda: not processes_of(run_id) and not alive(agent.spawner_pid))


async def test_a_supervisor_that_is_stopped_when_the_agent_dies_is_no_way_out(
    agents: list[Agent], tmp_path: Path
) -> None:
    run_id = marker()
    agent = Agent(run_id, tmp_path / "root", "sleep 60 & while :; do kill -STOP $PPID; done")
    agents.append(agent)
    with trio.fail_after(OUTER_LIMIT_S):
        await wait_until(lambda: len(processes_of(run_id)) == 2)
        agent.kill()
        await wait_until(lambda: not processes_of(run_id) and not alive(agent.spawner_pid))


async def test_a_living_agents_run_is_untouched_by_the_start_of_another(agents: list[Agent], tmp_path: Path) -> None:
    run_id = marker()
    root = tmp_path / "root"
    go = tmp_path / "go"
    agent = Agent(run_id, root, f"while [ ! -e {go} ]; do sleep 0.01; done; exit 0")
    agents.append(agent)
    with trio.fail_after(OUTER_LIMIT_S):
        await wait_until(lambda: processes_of(run_id))
    assert cleanup_leftovers(str(root)) == 0
    assert len(list(root.iterdir())) == 1
    go.touch()
    assert agent.line() == "exited"
    assert list(root.iterdir()) == []
    with trio.fail_after(OUTER_LIMIT_S):
        await wait_until(lambda: not any(alive(child) for child in children_of(agent.spawner_pid)))
    os.kill(agent.spawner_pid, signal.SIGTERM)  # blocked: an agent ends its spawner by hanging up
    assert alive(agent.spawner_pid)

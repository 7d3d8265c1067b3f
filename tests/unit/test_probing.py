"""Levels that were not seen reached when the agent started, and are looked at again."""

import os
import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.config import load
from lattice_agent.exec import probe
from lattice_agent.exec.launch import start_spawner
from lattice_agent.exec.plan import Level, Plan, Refusal, TaskRequest
from lattice_agent.exec.probe_result import HostProbe, ProbeResult
from lattice_agent.exec.runner import Runner, open_runner
from lattice_agent.execution import Execution, load_policy
from lattice_agent.probing import AGAIN_S, JITTER, Probing

OUTER_S = 60
REQUEST = TaskRequest("task", "lease", "sh", "echo", 5, 1000)
FLAGS = {"allow-exec": True, "allow-root-exec": True, "min-level": "strict"}


def seen(reached: Mapping[Level, bool], text: str = "") -> HostProbe:
    results = {level: ProbeResult(level, reached=is_reached, because=text) for level, is_reached in reached.items()}
    return HostProbe(results, ())


def test_what_was_reached_stays_and_the_rest_is_as_it_was_seen_last() -> None:
    first = seen({Level.STRICT: False, Level.NETWORK: True, Level.LANDLOCK: False}, "first")
    second = seen({Level.STRICT: True, Level.NETWORK: False, Level.LANDLOCK: False}, "second")
    together = first.or_newer(second)
    assert {level: (result.reached, result.because) for level, result in together.results.items()} == {
        Level.STRICT: (True, "second"),
        Level.NETWORK: (True, "first"),
        Level.LANDLOCK: (False, "second"),
    }
    assert not together.is_complete
    assert together.or_newer(seen(dict.fromkeys(Level, True))).is_complete


@pytest.mark.needs_root
async def test_a_probe_that_was_too_slow_at_first_refuses_no_task_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first probe's scripts get no time, as on a machine that is busy with its start; the second one's do."""
    settings = load(FLAGS, {"HOME": "/root"}, euid=0).settings
    spawner = start_spawner()
    with trio.fail_after(OUTER_S):
        async with open_runner(spawner) as runner:
            with monkeypatch.context() as slow:
                slow.setattr(probe, "_LIMITS", replace(probe._LIMITS, wall_s=0.001))
                execution = await Execution.prepare(settings, load_policy(settings), os.environ, runner)
            assert isinstance(execution.decide(REQUEST), Refusal)
            assert execution.kept_profile is None
            assert execution.may_gain
            await execution.probe_again(runner)
            plan = execution.decide(REQUEST)
            assert isinstance(plan, Plan)
            assert plan.level is Level.STRICT
            assert execution.kept_profile == plan.profile
            assert execution.runtime().task_sandbox == "strict"
            assert not execution.may_gain
            outcome = await runner.run(plan)
    assert outcome.exit_code == 0


class Levels:
    """In place of an Execution: after so many looks nothing more can be gained."""

    def __init__(self, looks: int) -> None:
        self._looks = looks
        self.looked_at_s: list[float] = []

    @property
    def may_gain(self) -> bool:
        return len(self.looked_at_s) < self._looks

    async def probe_again(self, _runner: object) -> None:
        self.looked_at_s.append(trio.current_time())


@pytest.mark.parametrize(("looks", "expected"), [(0, 0), (1, 1), (3, 3), (99, len(AGAIN_S))])
def test_it_looks_until_nothing_can_be_gained_and_not_for_ever(looks: int, expected: int) -> None:
    levels = Levels(looks)
    service = Probing(levels, Runner, random.Random(7))  # type: ignore[arg-type]
    trio.run(service.run, clock=MockClock(autojump_threshold=0))
    assert len(levels.looked_at_s) == expected
    moments = [0.0, *levels.looked_at_s]
    for number, pause_s in enumerate(AGAIN_S[:expected]):
        assert moments[number + 1] - moments[number] == pytest.approx(pause_s, rel=JITTER)

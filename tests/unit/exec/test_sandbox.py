"""What the trio face makes of its options; what then runs is tested in test_cell_run and in behaviour."""

from typing import Any

import pytest

from lattice_agent.exec import sandbox as module
from lattice_agent.exec.library import DEFAULT_LIMITS, DEFAULT_PROFILE
from lattice_agent.exec.outcome import Kind, Outcome
from lattice_agent.exec.plan import Level, Limits, Plan, Profile
from lattice_agent.exec.sandbox import Sandbox, open_sandbox
from tests.hostile.rig import children_of, wait_until
from tests.rigs.cells import children_if_any

OWN = Limits(wall_s=1.0, output_bytes=2, cpu_s=3, processes=4, memory_bytes=5)


class Noting:
    """A runner that notes what it is asked to run."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.listeners: list[object] = []

    async def run(self, plan: Plan, on_output: object = None) -> Outcome:
        self.plans.append(plan)
        self.listeners.append(on_output)
        return Outcome(Kind.EXITED, plan.level)


async def asked(**options: Any) -> Plan:
    runner = Noting()
    outcome = await Sandbox(runner, DEFAULT_PROFILE).run("echo", **options)  # type: ignore[arg-type]  # as much as is used
    assert outcome.kind is Kind.EXITED
    return runner.plans[0]


async def test_without_options_the_defaults_hold() -> None:
    plan = await asked()
    assert (plan.limits, plan.profile, plan.interpreter) == (DEFAULT_LIMITS, DEFAULT_PROFILE, "sh")


async def test_a_timeout_brings_its_processor_time_along() -> None:
    limits = (await asked(timeout_s=5)).limits
    assert (limits.wall_s, limits.cpu_s) == (5, 10)
    assert limits.memory_bytes == DEFAULT_LIMITS.memory_bytes
    assert (await asked(timeout_s=0.2)).limits.cpu_s >= 1


async def test_options_change_the_limits_that_were_given() -> None:
    limits = (await asked(limits=OWN, timeout_s=7, memory_bytes=9)).limits
    assert (limits.wall_s, limits.memory_bytes) == (7, 9)
    assert (limits.output_bytes, limits.processes) == (2, 4)
    assert (await asked(limits=OWN)).limits == OWN


async def test_a_profile_of_its_own_and_a_listener() -> None:
    runner, profile = Noting(), Profile(Level.NETWORK)
    listen = lambda _stream, _data: None  # noqa: E731 - only its identity matters
    await Sandbox(runner, DEFAULT_PROFILE).run("echo", profile=profile, on_output=listen)  # type: ignore[arg-type]
    assert (runner.plans[0].profile, runner.plans[0].level) == (profile, Level.NETWORK)
    assert runner.listeners == [listen]


@pytest.mark.needs_root
@pytest.mark.parametrize(
    ("profile", "ready"),
    [(DEFAULT_PROFILE, 2), (Profile(Level.LANDLOCK), 0), (Profile(Level.STRICT, work_disk="/opt"), 0)],
)
async def test_cells_are_kept_ready_unless_each_needs_a_directory(
    profile: Profile, ready: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    start = module.start_spawner

    def noting() -> object:
        started.append(start())
        return started[-1]

    monkeypatch.setattr(module, "start_spawner", noting)
    async with open_sandbox(profile) as sandbox:
        if ready:
            await wait_until(lambda: len(_cells(started[0].pid)) == ready)
        assert (await sandbox.run("echo hi")).stdout.kept == b"hi\n"
        await wait_until(lambda: len(_cells(started[0].pid)) == ready)


def _cells(spawner: int) -> list[int]:
    """Cells that are complete: an init with a launcher."""
    return [pid for pid in children_of(spawner) if children_if_any(pid)]

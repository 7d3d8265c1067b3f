"""Ending real scripts at every kind of level: asked, given a grace, killed; and what the outcome says about it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from lattice_agent.exec.outcome import Clock, Kind, Outcome
from lattice_agent.exec.plan import Level, Plan, Profile
from lattice_agent.exec.runner import Runner
from tests.hostile.rig import a_runner, marker, plan, processes_of
from tests.rigs.cells import a_plan

pytestmark = pytest.mark.needs_root

STUBBORN = "trap '' TERM; sleep 60 & sleep 60 & setsid sleep 60 & echo up; wait"
"""Four processes that do not listen; one of them has left the session."""
OBEYS = "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.02; done"
LEVELS = [Level.STRICT, Level.LANDLOCK, Level.HOST]


def plan_at(level: Level, script: str, run_id: str, **limits: float) -> Plan:
    if level is Level.HOST:
        return plan(script, run_id=run_id, **limits)  # type: ignore[arg-type]  # limits of the rig
    made = a_plan(script, Profile(level), **limits)
    return replace(made, run_id=run_id, environment=(*made.environment, ("LATTICE_TASK_ID", run_id)))


class Heard:
    """Output as it comes, and how to wait for it."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, bytes]] = []
        self._came = trio.Event()

    def __call__(self, stream: str, data: bytes) -> None:
        self.parts.append((stream, data))
        self._came.set()

    async def something(self) -> None:
        await self._came.wait()

    def of(self, stream: str) -> bytes:
        return b"".join(data for name, data in self.parts if name == stream)


@asynccontextmanager
async def cancelled_when_up(runner: Runner, the_plan: Plan) -> AsyncIterator[tuple[Outcome, Heard]]:
    """The outcome of a run that was cancelled as soon as it had said something."""
    heard, found = Heard(), []
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            with scope:
                found.append(await runner.run(the_plan, heard))

        scope = trio.CancelScope()
        nursery.start_soon(run)
        await heard.something()
        scope.cancel()
    yield found[0], heard


@pytest.mark.parametrize("level", LEVELS)
async def test_a_cancelled_tree_that_does_not_listen_is_killed_and_counted(level: Level) -> None:
    run_id = marker()
    async with a_runner() as runner:
        async with cancelled_when_up(runner, plan_at(level, STUBBORN, run_id, grace_s=0.2)) as (outcome, heard):
            assert processes_of(run_id) == set()
    assert (outcome.kind, outcome.grace_expired, outcome.clock) == (Kind.CANCELLED, True, None)
    assert outcome.sweeping.killed == 3
    assert outcome.grace_s >= 0.2
    assert heard.of("stdout") == b"up\n"


@pytest.mark.parametrize("level", LEVELS)
async def test_a_cancelled_script_that_listens_has_its_grace(level: Level) -> None:
    run_id = marker()
    async with a_runner() as runner:
        async with cancelled_when_up(runner, plan_at(level, OBEYS, run_id, grace_s=25.0)) as (outcome, heard):
            assert processes_of(run_id) == set()
    assert (outcome.kind, outcome.exit_code, outcome.grace_expired) == (Kind.CANCELLED, 5, False)
    assert 0 < outcome.grace_s < 25
    assert heard.of("stdout") == outcome.stdout.kept == b"up\nasked\n"


@pytest.mark.long
@pytest.mark.parametrize("level", LEVELS)
async def test_a_script_whose_time_is_up_and_that_does_not_listen(level: Level) -> None:
    run_id = marker()
    async with a_runner() as runner:
        outcome = await runner.run(plan_at(level, STUBBORN, run_id, wall_s=0.3, grace_s=0.2))
        assert processes_of(run_id) == set()
    assert (outcome.kind, outcome.grace_expired, outcome.clock) == (Kind.TIMED_OUT, True, Clock.WALL)
    assert outcome.sweeping.killed == 3


@pytest.mark.parametrize("level", LEVELS)
async def test_a_script_that_ends_by_itself_was_given_no_grace(level: Level) -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan_at(level, "echo over", marker()))
    assert (outcome.kind, outcome.grace_s, outcome.grace_expired) == (Kind.EXITED, 0.0, False)
    assert outcome.sweeping.killed == 0


@pytest.mark.parametrize("level", LEVELS)
async def test_who_listens_hears_what_is_kept_and_no_more(level: Level) -> None:
    heard = Heard()
    async with a_runner() as runner:
        script = "seq 1 50000; seq 1 50000 >&2"
        outcome = await runner.run(plan_at(level, script, marker(), output_bytes=1000), heard)
    assert outcome.kind is Kind.OUTPUT_LIMIT
    assert (heard.of("stdout"), heard.of("stderr")) == (outcome.stdout.kept, outcome.stderr.kept)
    assert len(outcome.stdout.kept) == 1000

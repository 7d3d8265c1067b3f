"""The intake while the control plane tells when there is work: polls are rare, prompt when told, none is forgotten."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.tasks.live_sender import LiveSender
from lattice_agent.tasks.stream_talk import StreamTalk
from lattice_agent.wire.control import DRAIN, TASK_CANCEL, TASK_READY, Order
from tests.rigs.lease_loop import LeaseLoop, ScriptedExecutor
from tests.rigs.reference_server import ReferenceServer

READY = Order(type=TASK_READY)


class World(LeaseLoop):
    """A lease loop with what the control stream talks to."""

    def __init__(self, place: Path) -> None:
        super().__init__(ReferenceServer(), ScriptedExecutor(), place)
        self.talk = StreamTalk(self.intake, self.runs, LiveSender(self.features))

    @property
    def polls(self) -> list[float]:
        return self.server.poll_times

    async def polls_from_now(self, seconds: float) -> list[float]:
        before = len(self.polls)
        await trio.sleep(seconds)
        return self.polls[before:]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with living(World(tmp_path)) as made:
        yield made


@asynccontextmanager
async def living(made: World) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        await nursery.start(made.live)
        yield made
        await made.crash()


async def test_polls_are_rare_while_the_stream_is_up(autojump_clock: MockClock, world: World) -> None:
    world.talk.opened()
    polls = await world.polls_from_now(3600)
    assert 54 <= len(polls) <= 70
    world.talk.closed()
    polls = await world.polls_from_now(60)
    assert len(polls) >= 10


async def test_told_of_work_it_polls_at_once(autojump_clock: MockClock, world: World) -> None:
    world.talk.opened()
    await trio.sleep(130)
    world.server.add("task_1")
    told = trio.current_time()
    world.talk.order(READY)
    await world.server.wait_results(1)
    assert trio.current_time() - told < 0.5


async def test_told_during_a_poll_it_polls_once_more(autojump_clock: MockClock, world: World) -> None:
    """The answer may have left the control plane before the task was there."""
    world.talk.opened()
    await trio.sleep(130)
    world.talk.order(READY)
    await trio.sleep(0.015)  # the request is answered, the answer is on its way
    world.server.add("task_1")
    world.talk.order(READY)
    told = trio.current_time()
    await world.server.wait_results(1)
    assert trio.current_time() - told < 0.5


async def test_told_while_all_slots_are_taken_it_polls_when_one_is_free(
    autojump_clock: MockClock, world: World
) -> None:
    world.executor.duration_of = lambda task_id: 30.0
    world.talk.opened()
    for count in range(4):
        world.server.add(f"task_{count}")
    world.talk.order(READY)
    await world.executor.wait_running()
    world.talk.order(READY)
    await world.server.wait_results(4)
    assert trio.current_time() < 70


async def test_a_wake_up_does_not_break_into_a_back_off(autojump_clock: MockClock, world: World) -> None:
    world.talk.opened()
    world.server.answer_with = lambda path, body: (429, {}) if path.endswith("/tasks") else None
    world.server.answer_headers = {"retry-after": "120"}
    await world.polls_from_now(70)
    for _ in range(20):
        world.talk.order(READY)
        await trio.sleep(1)
    assert len(world.polls) <= 3


async def test_a_lost_stream_spreads_the_next_polls(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A whole fleet loses it in the same moment."""
    firsts = []
    for seed in range(20):
        place = tmp_path / str(seed)
        place.mkdir()
        made = World(place)
        made.rng.seed(seed)
        async with living(made):
            made.talk.opened()
            await trio.sleep(100)
            lost = trio.current_time()
            made.talk.closed()
            firsts.append((await made.polls_from_now(6))[0] - lost)
    assert max(firsts) < 5.1
    assert max(firsts) - min(firsts) > 2.5


async def test_drained_it_takes_nothing_and_delivers_what_runs(autojump_clock: MockClock, world: World) -> None:
    world.executor.duration_of = lambda task_id: 30.0
    world.server.add("task_1")
    await world.executor.wait_running()
    world.talk.opened()
    world.talk.order(Order(type=DRAIN, on=True))
    world.talk.order(READY)
    world.server.add("task_2")
    assert len(await world.polls_from_now(600)) == 0
    assert len(world.server.tasks["task_1"].results) == 1
    world.talk.order(Order(type=DRAIN, on=False))
    await world.server.wait_results(2)
    assert trio.current_time() < 700


async def test_a_drain_ends_with_the_stream_on_which_it_was_said(autojump_clock: MockClock, world: World) -> None:
    """The control plane says it again when there is a new one; one that is gone must not keep the node idle."""
    world.talk.opened()
    world.talk.order(Order(type=DRAIN, on=True))
    await trio.sleep(600)
    world.talk.closed()
    assert len(await world.polls_from_now(60)) >= 10
    world.talk.opened()
    assert await world.polls_from_now(120)


async def test_a_cancelled_run_ends(autojump_clock: MockClock, world: World) -> None:
    world.executor.duration_of = lambda task_id: 3000.0
    world.server.add("task_1")
    await world.executor.wait_running()
    world.talk.order(Order(type=TASK_CANCEL, task_id="task_1"))
    world.talk.order(Order(type=TASK_CANCEL, task_id="nobody's"))
    world.talk.order(Order(type="terminal.open"))
    await world.server.wait_results(1)
    assert trio.current_time() < 10

"""Starting and stopping: whatever fails, a stop ends the agent, and in the right order."""

import logging
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.errors import ServiceFailedError, StateError
from lattice_agent.lifecycle import Agent
from tests.rigs.lease_loop import LeaseLoop, ScriptedExecutor, eventually
from tests.rigs.reference_server import ReferenceServer


class Stops:
    """Stands for the signals: each ``send`` lets one ``wait`` return."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[None](10)

    async def wait(self) -> None:
        await self._receive.receive()

    def send(self) -> None:
        self._send.send_nowait(None)


class Beat:
    """A report that tells when it ends."""

    name = "beat"

    def __init__(self, crashes: bool = False) -> None:
        self.ended_at: float | None = None
        self._crashes = crashes

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            await trio.sleep(1)
            if self._crashes:
                raise ValueError("a fault")
            await trio.sleep_forever()
        finally:
            self.ended_at = trio.current_time()


def agent(loop: LeaseLoop, beat: Any, drain_s: float = 5.0) -> Agent:
    return Agent((beat,), loop.sender, loop.runs, loop.intake, drain_s)


@pytest.fixture
def world(tmp_path: Path) -> LeaseLoop:
    return LeaseLoop(ReferenceServer(), ScriptedExecutor(), tmp_path)


async def test_running_tasks_may_finish_within_the_drain(autojump_clock: MockClock, world: LeaseLoop) -> None:
    stops, beat = Stops(), Beat()
    world.executor.duration_of = lambda task_id: 4.0
    task = world.server.add("task_1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent(world, beat).live, stops.wait)
        await world.executor.wait_running()
        stops.send()
        world.server.add("late")
    assert task.results[0]["error"] == ""
    assert beat.ended_at == trio.current_time()  # the node stayed online until the very end
    assert world.executor.starts == {"task_1": 1}


async def test_longer_ones_end_as_interrupted(autojump_clock: MockClock, world: LeaseLoop) -> None:
    stops = Stops()
    world.executor.duration_of = lambda task_id: 400.0
    task = world.server.add("task_1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent(world, Beat()).live, stops.wait)
        await world.executor.wait_running()
        stops.send()
    assert task.results[0]["error"].startswith("interrupted")
    assert trio.current_time() < 30


async def test_a_second_signal_does_not_wait_for_the_drain(autojump_clock: MockClock, world: LeaseLoop) -> None:
    stops = Stops()
    world.executor.duration_of = lambda task_id: 4000.0
    world.server.add("task_1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent(world, Beat(), drain_s=3000).live, stops.wait)
        await world.executor.wait_running()
        stops.send()
        await trio.sleep(2)
        stops.send()
    assert trio.current_time() < 30
    assert (await world.spool.unsent())[0] == 1  # interrupted, and kept for the next start


async def test_an_unreachable_server_does_not_hold_up_the_end(autojump_clock: MockClock, world: LeaseLoop) -> None:
    stops = Stops()
    world.server.add("task_1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent(world, Beat()).live, stops.wait)
        await world.executor.wait_running()
        world.server.lose_request = lambda path: True
        await trio.sleep(60)
        stops.send()
        before = trio.current_time()
    assert trio.current_time() - before < 15
    assert (await world.spool.unsent())[0] == 1


async def test_a_disk_that_refuses_writes_does_not_hold_up_the_end(
    autojump_clock: MockClock, world: LeaseLoop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    stops = Stops()
    world.executor.duration_of = lambda task_id: 20.0
    world.server.add("task_1")
    with pytest.RaisesGroup(pytest.RaisesExc(StateError, match="task_1")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent(world, Beat()).live, stops.wait)
            await world.executor.wait_running()
            world.disk_refuses = True
            await trio.sleep(100)
            stops.send()
    assert trio.current_time() < 200


async def test_a_stop_before_ready_is_heard(autojump_clock: MockClock, tmp_path: Path) -> None:
    first = LeaseLoop(ReferenceServer(), ScriptedExecutor(duration_s=1000), tmp_path)
    first.server.add("task_1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.live)
        await first.executor.wait_running()
        await first.crash()
    second = LeaseLoop(first.server, first.executor, tmp_path)
    stops = Stops()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent(second, Beat()).live, stops.wait)
        await trio.sleep(0.001)  # found_at_start is done; the interrupted run cannot be stored
        second.disk_refuses = True
        await trio.sleep(100)
        before = trio.current_time()
        stops.send()
    assert trio.current_time() - before < 30


async def test_a_service_that_keeps_crashing_ends_the_agent_even_then(
    autojump_clock: MockClock, world: LeaseLoop
) -> None:
    world.executor.duration_of = lambda task_id: 20.0
    world.server.add("task_1")
    with pytest.RaisesGroup(pytest.RaisesExc(ServiceFailedError), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent(world, Beat(crashes=True)).live, Stops().wait)
            await world.executor.wait_running()
            world.disk_refuses = True
    assert trio.current_time() < 600


async def test_waiting_tasks_stay_in_the_journal(autojump_clock: MockClock, tmp_path: Path) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=3)
    for i in range(3):
        server.add(f"task_{i}", timeout_sec=600)
    loop = LeaseLoop(server, executor, tmp_path, slots=1)
    stops = Stops()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent(loop, Beat()).live, stops.wait)
        await executor.wait_running()
        stops.send()
    assert sum(executor.starts.values()) == 1
    loop.state.close()
    loop.audit.close()
    again = LeaseLoop(server, executor, tmp_path, slots=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent(again, Beat()).live, stops.wait)
        await eventually(lambda: all_done(server))
        stops.send()
    assert executor.starts == {f"task_{i}": 1 for i in range(3)}
    assert {task.leases for task in server.tasks.values()} == {1}


async def all_done(server: ReferenceServer) -> bool:
    await trio.lowlevel.checkpoint()
    return all(task.results for task in server.tasks.values())

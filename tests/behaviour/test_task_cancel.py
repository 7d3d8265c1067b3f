"""Tasks that the control plane cancels, at whatever moment: in virtual time, with the real journal and audit.

Once cancelled a task does not start any more in this life of the agent, a run is ended and reported as cancelled, and
what has ended stays as it was. The agent's own end is told apart from it.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from lattice_agent.exec.outcome import Outcome
from lattice_agent.exec.output_stream import OnOutput
from lattice_agent.exec.plan import Plan
from lattice_agent.state.journal import Phase
from lattice_agent.tasks.cancels import REMEMBERED, Cancels
from lattice_agent.tasks.run import Runs
from lattice_agent.tasks.shape import CANCELLED, CANCELLED_WAITING, INTERRUPTED
from lattice_agent.wire.ext import RESULT_DETAIL
from tests.behaviour.test_task_life import HOUR, in_phase, living
from tests.rigs.extent import extent
from tests.rigs.lease_loop import LeaseLoop, ScriptedExecutor, eventually
from tests.rigs.reference_server import ModelTask, ReferenceServer


def audited(directory: Path, event: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (directory / "audit.log").read_text().splitlines()]
    return [record["fields"] for record in records if record["event"] == event]


def a_server() -> ReferenceServer:
    server = ReferenceServer()
    server.features = (RESULT_DETAIL,)
    return server


async def test_a_run_is_ended_and_reported_as_cancelled(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = a_server(), ScriptedExecutor(duration_s=100)
    executor.grace_s = 1.5
    task = server.add("task_1")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            await executor.wait_running()
            for _ in range(3):
                loop.runs.cancel("task_1")
            await server.wait_results(1)
            loop.runs.cancel("task_1")
            await trio.sleep(1000)
    [result] = task.results
    assert (result["exit_code"], result["error"], result["stdout"]) == (-1, CANCELLED, "out")
    assert result["error"].startswith("context canceled")
    assert (result["detail"]["outcome"], result["detail"]["grace_ms"]) == ("cancelled", 1500)
    assert executor.starts == {"task_1": 1}
    [ended] = audited(tmp_path, "task.ended")
    assert (ended["cancelled_by"], ended["grace_ms"], ended["kind"]) == ("control plane", 1500, "cancelled")


async def test_a_waiting_task_is_declined_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = a_server(), ScriptedExecutor(duration_s=1000)
    for name in "abc":
        server.add(name, timeout_sec=900)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=1)) as loop:
            await executor.wait_running()
            waiting = next(name for name in "abc" if name not in executor.starts)
            loop.runs.cancel(waiting)
            await server.wait_results(1)
            assert trio.current_time() < 100  # the slot is taken for longer than that
            assert loop.runs.statistics().waiting == 1
            await server.wait_results(3)
    [result] = server.tasks[waiting].results
    assert (result["exit_code"], result["error"]) == (-1, CANCELLED_WAITING)
    assert result["detail"] == {"outcome": "cancelled", "reason": CANCELLED_WAITING}
    assert executor.starts == {name: 1 for name in "abc" if name != waiting}
    [record] = audited(tmp_path, "task.cancelled")
    assert (record["task_id"], record["cancelled_by"]) == (waiting, "http://reference")


async def test_an_order_that_comes_before_its_lease(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The control plane has leased the task and cancels it while the answer to the poll is on its way."""
    server, executor = a_server(), ScriptedExecutor()
    task = server.add("task_1")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            loop.runs.cancel("task_1")
            await server.wait_results(1)
            await trio.sleep(1000)
    assert [result["error"] for result in task.results] == [CANCELLED_WAITING]
    assert not executor.starts


@pytest.mark.parametrize("after_s", [0.0, 1.0, 4.0])
async def test_an_order_between_decision_and_start(tmp_path: Path, autojump_clock: MockClock, after_s: float) -> None:
    server, executor = a_server(), ScriptedExecutor()
    task = server.add("task_1")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            loop.audit_takes_s = 5.0
            await eventually(lambda: in_phase(loop, "task_1", Phase.WAITING))
            await trio.sleep(after_s)
            loop.runs.cancel("task_1")
            await server.wait_results(1)
    assert [result["error"] for result in task.results] == [CANCELLED_WAITING]
    assert not executor.starts


async def test_an_order_while_the_start_is_written(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The journal already says that it runs; nothing was started all the same."""
    server, executor = a_server(), ScriptedExecutor()
    task = server.add("task_1")
    with trio.fail_after(HOUR):
        loop = LeaseLoop(server, executor, tmp_path)
        started = loop.spool.start

        async def cancelled_meanwhile(task_id: str) -> Any:
            row = await started(task_id)
            loop.runs.cancel(task_id)
            return row

        loop.spool.start = cancelled_meanwhile  # type: ignore[method-assign]
        async with living(loop):
            await server.wait_results(1)
    assert [result["error"] for result in task.results] == [CANCELLED_WAITING]
    assert not executor.starts
    assert len(audited(tmp_path, "task.cancelled")) == 1


async def test_a_run_that_ends_by_itself_meanwhile_keeps_its_result(tmp_path: Path, autojump_clock: MockClock) -> None:
    server = a_server()

    class EndsAsItIsCancelled(ScriptedExecutor):
        async def run(self, plan: Plan, on_output: OnOutput | None = None) -> Outcome:
            outcome = await super().run(plan, on_output)
            loop.runs.cancel(plan.run_id)
            return outcome

    executor = EndsAsItIsCancelled()
    task = server.add("task_1")
    with trio.fail_after(HOUR):
        loop = LeaseLoop(server, executor, tmp_path)
        async with living(loop):
            await server.wait_results(1)
    [result] = task.results
    assert (result["error"], result["detail"]["outcome"], result["stdout"]) == ("", "succeeded", "out")


@pytest.mark.parametrize(
    ("orders", "error"),
    [
        ((Runs.interrupt,), INTERRUPTED),
        ((lambda runs: runs.cancel("task_1"), Runs.interrupt), CANCELLED),
        ((Runs.interrupt, lambda runs: runs.cancel("task_1")), INTERRUPTED),
    ],
)
async def test_who_ended_a_run_first_is_who_is_told_of(
    tmp_path: Path, autojump_clock: MockClock, orders: tuple[Callable[[Runs], None], ...], error: str
) -> None:
    server, executor = a_server(), ScriptedExecutor(duration_s=100)
    executor.grace_s = 2.0
    task = server.add("task_1")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            await executor.wait_running()
            loop.runs.drain()
            for order in orders:
                order(loop.runs)
                await trio.sleep(0.5)
            await server.wait_results(1)
    [result] = task.results
    assert result["error"] == error
    assert result["detail"]["outcome"] == ("cancelled" if error == CANCELLED else "interrupted")


@pytest.mark.parametrize("interrupted", [False, True])
async def test_what_is_cancelled_while_the_agent_ends_does_not_wait_for_the_next_start(
    tmp_path: Path, autojump_clock: MockClock, interrupted: bool
) -> None:
    server, executor = a_server(), ScriptedExecutor(duration_s=200)
    for name in "abc":
        server.add(name, timeout_sec=900)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=1)) as loop:
            await executor.wait_running()
            waiting = [name for name in "abc" if name not in executor.starts]
            loop.runs.drain()
            await trio.sleep(1)
            loop.runs.cancel(waiting[0])
            if interrupted:
                loop.runs.interrupt()
            await server.wait_results(2)
            assert await in_phase(loop, waiting[1], Phase.WAITING)
        begun = dict(executor.starts)
        async with living(LeaseLoop(server, executor, tmp_path, slots=1)):
            await server.wait_results(3)
    assert waiting[0] not in executor.starts
    assert executor.starts == {**begun, waiting[1]: 1}
    assert server.tasks[waiting[0]].results[0]["error"] == CANCELLED_WAITING


async def test_a_crash_before_the_result_of_a_cancelled_run_is_stored(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    server, executor = a_server(), ScriptedExecutor(duration_s=100)
    executor.grace_s = 5.0
    task = server.add("task_1")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            await executor.wait_running()
            loop.runs.cancel("task_1")
            await trio.sleep(1)
        async with living(LeaseLoop(server, executor, tmp_path)):
            await server.wait_results(1)
    [result] = task.results
    assert result["error"] == INTERRUPTED
    assert result["detail"] == {"outcome": "interrupted", "reason": INTERRUPTED}
    assert executor.starts == {"task_1": 1}


async def test_a_disk_that_refuses_the_decline_does_not_let_the_script_run(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    server, executor = a_server(), ScriptedExecutor()
    task = server.add("task_1", timeout_sec=900)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            loop.audit_takes_s = 5.0
            await eventually(lambda: in_phase(loop, "task_1", Phase.WAITING))
            loop.disk_refuses = True
            loop.runs.cancel("task_1")
            await trio.sleep(60)
            loop.disk_refuses = False
            await server.wait_results(1)
    assert [result["error"] for result in task.results] == [CANCELLED_WAITING]
    assert not executor.starts


async def test_details_stay_at_home_while_they_are_not_announced(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=100)
    server.add("task_1", targets=2, timeout_sec=10)
    server.add("task_2", script="refuse me")
    with trio.fail_after(2 * HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            await executor.wait_running()
            loop.runs.cancel("task_1")
            await server.wait_results(2)
            assert all("detail" not in result for task in server.tasks.values() for result in task.results)
            loop.features.announced((RESULT_DETAIL,))
            server.tasks["task_1"].forgotten = True
            while len(server.tasks["task_1"].results) < 2:
                await server.result_stored.wait()
    assert server.tasks["task_1"].results[1]["detail"]["outcome"] == "cancelled"  # it was stored with the result


async def test_a_refusal_names_its_rule(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = a_server(), ScriptedExecutor()
    task = server.add("task_1", script="refuse me")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await server.wait_results(1)
    reason = "interpreter is not allowlisted"
    assert task.results[0]["detail"] == {"outcome": "refused", "rule": "interpreter", "reason": reason}


async def test_the_time_that_a_task_waited_is_told(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = a_server(), ScriptedExecutor(duration_s=50)
    for name in "ab":
        server.add(name, timeout_sec=900)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=1)):
            await server.wait_results(2)
    waited = sorted(task.results[0]["detail"].get("queued_ms", 0) for task in server.tasks.values())
    assert waited[0] < 1000
    assert 49_000 < waited[1] < 52_000


class Listener:
    """Stands where the live sender stands."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []

    def begin(self, task_id: str, lease_id: str) -> OnOutput:
        self.heard.append(("begin", task_id, lease_id))
        return lambda stream, data: self.heard.append((stream, data.decode()))

    def end(self, task_id: str) -> None:
        self.heard.append(("end", task_id))


async def test_output_is_handed_on_between_begin_and_end(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor, listener = a_server(), ScriptedExecutor(), Listener()
    task = server.add("task_1")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, live=listener)):
            await server.wait_results(1)
    lease_id = task.results[0]["lease_id"]
    assert listener.heard == [("begin", "task_1", lease_id), ("stdout", "out"), ("end", "task_1")]


def test_the_memory_of_cancels_is_bounded_and_keeps_those_that_are_here() -> None:
    cancels = Cancels(lambda task_id: task_id == "here")
    cancels.add("here")
    cancels.add("x" * 5000)
    for number in range(2 * REMEMBERED):
        cancels.add(f"task_{number}")
    known = [name for name in ("here", "x" * 5000, "task_0", f"task_{2 * REMEMBERED - 1}") if name in cancels]
    assert known == ["here", f"task_{2 * REMEMBERED - 1}"]


@settings(max_examples=extent(10, 60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 3), faults=st.booleans(), drains=st.booleans())
def test_property_nothing_starts_after_its_cancellation(
    tmp_path_factory: pytest.TempPathFactory, seed: int, slots: int, faults: bool, drains: bool
) -> None:
    """Orders at random moments, before and after the leases, with a slow audit and a disk that fails at times."""
    directory = tmp_path_factory.mktemp("state")
    rng = random.Random(seed)
    cancelled: dict[str, float] = {}
    begun: dict[str, float] = {}

    class Watched(ScriptedExecutor):
        async def run(self, plan: Plan, on_output: OnOutput | None = None) -> Outcome:
            begun[plan.run_id] = trio.current_time()
            assert plan.run_id not in cancelled
            return await super().run(plan, on_output)

    async def order(loop: LeaseLoop, name: str, at: float) -> None:
        await trio.sleep(at)
        cancelled[name] = trio.current_time()
        loop.runs.cancel(name)

    async def trouble(loop: LeaseLoop) -> None:
        for _ in range(5):
            await trio.sleep(rng.uniform(0, 10))
            loop.disk_refuses = True
            await trio.sleep(rng.uniform(0, 5))
            loop.disk_refuses = False

    async def life(loop: LeaseLoop, orders: dict[str, float]) -> None:
        loop.audit_takes_s = rng.choice([0, 0, 0.05, 1])
        async with living(loop), trio.open_nursery() as nursery:
            for name, at in orders.items():
                nursery.start_soon(order, loop, name, at)
            if faults:
                nursery.start_soon(trouble, loop)
            if drains:
                await trio.sleep(rng.uniform(0, 40))
                loop.runs.drain()
                await trio.sleep(rng.uniform(0, 10))
                loop.runs.interrupt()
                await trio.sleep(120)
            else:
                await loop.server.wait_results(8)  # type: ignore[attr-defined]

    async def story() -> None:
        server, executor = a_server(), Watched()
        server.rng = random.Random(seed)
        durations = {f"task_{i}": rng.choice([0.1, 3.0, 20.0]) for i in range(8)}
        executor.duration_of = lambda task_id: durations[task_id]
        executor.grace_s = rng.choice([0.0, 2.0])
        for name in durations:
            server.add(name, timeout_sec=900)
        orders = {name: rng.uniform(0, 40) for name in rng.sample(sorted(durations), 5)}
        with trio.fail_after(24 * HOUR):
            await life(LeaseLoop(server, executor, directory, slots=slots, seed=seed), orders)
        for task in server.tasks.values():
            _check(task, executor, cancelled, drains=drains)

    def _check(task: ModelTask, executor: ScriptedExecutor, cancelled: dict[str, float], *, drains: bool) -> None:
        errors = {result["error"] for result in task.results}
        assert len(errors) <= 1
        assert executor.starts[task.id] <= 1
        if not drains:
            assert errors
        if CANCELLED in errors:
            assert begun[task.id] <= cancelled[task.id]
        if CANCELLED_WAITING in errors:
            assert task.id in cancelled
            assert task.id not in begun
        if not drains:
            assert INTERRUPTED not in errors
        if task.id in cancelled and task.id not in begun and not drains:
            assert errors == {CANCELLED_WAITING}

    trio.run(story, clock=MockClock(autojump_threshold=0))

"""The life of tasks between our lease loop and the unmodified server's rules, in virtual time.

Whatever is lost on the way and whenever the agent ends: no script starts twice for one task id, and every finished
result arrives.
"""

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from lattice_agent.state.journal import Phase
from lattice_agent.tasks.shape import INTERRUPTED, LOST
from tests.rigs.extent import extent
from tests.rigs.lease_loop import LeaseLoop, ScriptedExecutor, eventually
from tests.rigs.reference_server import ReferenceServer, error

HOUR = 3600.0


@asynccontextmanager
async def living(loop: LeaseLoop) -> AsyncIterator[LeaseLoop]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop.live)
        yield loop
        await loop.crash()


async def in_phase(loop: LeaseLoop, task_id: str, phase: Phase) -> bool:
    row = await loop.spool.get(task_id)
    return row is not None and row.phase is phase


async def spool_empty(loop: LeaseLoop) -> bool:
    return await loop.spool.unsent() == (0, 0)


async def answered(server: ReferenceServer, status: int) -> bool:
    await trio.lowlevel.checkpoint()
    return any(s == status for _, _, s in server.log)


def at_most_once(executor: ScriptedExecutor) -> bool:
    return all(count == 1 for count in executor.starts.values())


async def test_more_tasks_than_slots(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    for i in range(8):
        server.add(f"task_{i}")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=2)):
            await server.wait_results(8)
    assert executor.most_running == 2
    assert at_most_once(executor)
    assert {task.results[0]["stdout"] for task in server.tasks.values()} == {"out"}


async def test_refused_task_is_reported_and_never_started(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    task = server.add("task_1", script="refuse me")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await server.wait_results(1)
    assert (task.results[0]["exit_code"], task.results[0]["error"]) == (-1, "interpreter is not allowlisted")
    assert not executor.starts


async def test_weak_point_02_a_result_survives_the_server_being_away(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=6)
    task = server.add("task_1", timeout_sec=20)
    with trio.fail_after(2 * HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await executor.wait_running()
            server.lose_request = lambda path: True
            await trio.sleep(HOUR)
            server.lose_request = lambda path: False
            await server.wait_results(1)
    assert executor.starts == {"task_1": 1}
    assert task.leases == 1  # delivered before the next poll could lease it again


@pytest.mark.parametrize("targets", [1, 2])
async def test_lost_answers_to_results(tmp_path: Path, autojump_clock: MockClock, targets: int) -> None:
    """Seen from here a lost answer is a failure: the result goes out again, and the 403 that follows is harmless."""
    server, executor = ReferenceServer(), ScriptedExecutor()
    task = server.add("task_1", targets=targets)
    lost = iter([True, True])
    server.lose_answer = lambda path: path.endswith("result") and next(lost, False)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            await server.wait_results(1)
            server.add("task_2")
            await server.wait_results(2)
            row = await loop.spool.get("task_1")
    assert row is not None
    assert row.phase in (Phase.REFUSED, Phase.ACCEPTED)
    assert executor.starts == {"task_1": 1, "task_2": 1}
    assert {json.dumps(result, sort_keys=True) for result in task.results} == {
        json.dumps(task.results[0], sort_keys=True)
    }


async def test_lost_answers_to_polls(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The leases of a lost answer die on the server; then the tasks come again under new ones, and run once."""
    server, executor = ReferenceServer(), ScriptedExecutor()
    for i in range(3):
        server.add(f"task_{i}", timeout_sec=10)
    lost = iter([True])
    server.lose_answer = lambda path: path.endswith("tasks") and next(lost, False)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await server.wait_results(3)
    assert at_most_once(executor)
    assert {task.leases for task in server.tasks.values()} == {2}


async def test_trap_05_a_running_task_that_is_leased_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    """It runs longer than the server's patience: the new lease is adopted, the result goes out under it."""
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=1000)
    task = server.add("task_1", timeout_sec=30)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=2)):
            await server.wait_results(1)
    assert executor.starts == {"task_1": 1}
    assert task.leases > 1
    assert task.results[0]["lease_id"] == task.lease_id


async def test_leases_that_expire_while_waiting(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Three are handed out for one slot and one takes an hour: the others are given up, come again, and run."""
    server, executor = ReferenceServer(seed=3), ScriptedExecutor()
    for name in ("slow", "a", "b"):
        server.add(name, timeout_sec=60)
    executor.duration_of = lambda task_id: HOUR if sum(executor.starts.values()) == 1 else 1.0
    with trio.fail_after(3 * HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=1)):
            await server.wait_results(3)
    assert at_most_once(executor)
    assert sorted(task.leases for task in server.tasks.values()) == [1, 2, 2]


async def test_trap_06_a_dead_lease_keeps_the_result_for_the_next(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    task = server.add("task_1", timeout_sec=10)
    once = iter([error(403, "invalid_task_lease", "invalid task lease")])
    server.answer_with = lambda path, body: next(once, None) if path.endswith("result") else None
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await server.wait_results(1)
    assert executor.starts == {"task_1": 1}
    assert task.leases == 2
    sent = [json.loads(body)["result"]["lease_id"] for path, body, _ in server.log if path.endswith("result")]
    assert len(sent) == len(set(sent)) == 2  # once under each lease, never twice under a dead one


async def test_a_task_that_the_server_forgot_is_answered_from_the_journal(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    task = server.add("task_1", targets=2, timeout_sec=10)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await server.wait_results(1)
            task.forgotten = True
            while len(task.results) < 2:
                await server.result_stored.wait()
    assert executor.starts == {"task_1": 1}
    assert task.results[1]["stdout"] == "out"
    assert task.results[1]["lease_id"] != task.results[0]["lease_id"]


async def test_a_result_that_lost_its_text_is_answered_as_lost(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    task = server.add("task_1", targets=2, timeout_sec=10)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            await server.wait_results(1)
            await eventually(lambda: in_phase(loop, "task_1", Phase.ACCEPTED))
            loop.state.connection.execute("UPDATE task SET result = 'lost'")
            task.forgotten = True
            while len(task.results) < 2:
                await server.result_stored.wait()
    assert task.results[1]["error"] == LOST
    assert executor.starts == {"task_1": 1}


async def test_weak_point_04_a_result_that_the_server_refuses_gets_smaller(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A server with a stricter limit than its lease said: half, then nothing; and it blocks nobody."""
    server, executor = ReferenceServer(), ScriptedExecutor(stdout=b"x" * 100)
    server.add("strict", output_limit=100)
    server.add("other")

    def stricter(path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        if path.endswith("result") and body["result"]["task_id"] == "strict" and len(body["result"]["stdout"]) > 10:
            return error(400, "task_output_limit_exceeded", "stdout exceeds task output limit")
        return None

    server.answer_with = stricter
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await server.wait_results(2)
    sent = [json.loads(body)["result"] for path, body, _ in server.log if path.endswith("result")]
    assert [len(result["stdout"]) for result in sent if result["task_id"] == "strict"] == [100, 50, 0]
    assert server.tasks["strict"].results[0]["error"].startswith("stdout exceeded task output limit")


async def test_weak_point_04_a_result_that_is_refused_whatever_its_size_is_kept(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    server.add("poison")
    server.add("other")

    def refuse(path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        poisoned = path.endswith("result") and body["result"]["task_id"] == "poison"
        return error(400, "bad_request", "invalid request body") if poisoned else None

    server.answer_with = refuse
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            await server.wait_results(1)
            await eventually(lambda: in_phase(loop, "poison", Phase.REJECTED))
            await eventually(lambda: spool_empty(loop))
    assert executor.starts == {"poison": 1, "other": 1}


async def test_weak_point_03_a_result_that_fails_alone_moves_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    for name in ("sick", "a", "b", "c"):
        server.add(name)
    healed = False

    def sick(path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        bad = path.endswith("result") and body["result"]["task_id"] == "sick" and not healed
        return error(500, "internal_error", "internal server error") if bad else None

    server.answer_with = sick
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await server.wait_results(3)
            tries = sum(status == 500 for _, _, status in server.log)
            await trio.sleep(600)
            assert sum(status == 500 for _, _, status in server.log) - tries < 30  # its own back-off, not a loop
            healed = True
            await server.wait_results(4)
    assert at_most_once(executor)


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_polling_while_results_cannot_be_delivered(
    tmp_path: Path, autojump_clock: MockClock, status: int
) -> None:
    """401 and 429 stop the polls until results are delivered; a server that only cannot store results does not."""
    server, executor = ReferenceServer(), ScriptedExecutor()
    server.add("task_1")
    server.answer_with = lambda path, body: error(status, "x", "x") if path.endswith("result") else None
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await eventually(lambda: answered(server, status))
            polls = sum(path.endswith("tasks") for path, _, _ in server.log)
            await trio.sleep(300)
            more = sum(path.endswith("tasks") for path, _, _ in server.log) - polls
            server.answer_with = lambda path, body: None
            await server.wait_results(1)
    assert (more > 0) == (status == 500)


async def test_weak_point_31_a_revoked_token_is_asked_about_slowly(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    server.answer_with = lambda path, body: error(401, "invalid_node_token", "invalid node token")
    with trio.fail_after(2 * HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await trio.sleep(HOUR)
            asked = len(server.log)
            server.answer_with = lambda path, body: None
            server.add("task_1")
            await server.wait_results(1)
    assert 4 <= asked <= 60


async def test_trap_06_results_go_before_the_next_poll(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=2)
    for i in range(6):
        server.add(f"task_{i}")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=1)):
            await server.wait_results(6)
    # With one slot every poll that handed out work must find all earlier results delivered.
    delivered = leased = 0
    for path, _, status in server.log:
        if path.endswith("result") and status == 200:
            delivered += 1
        if path.endswith("tasks"):
            assert delivered >= leased - 2  # at most the two further tasks of the last answer were still waiting
            leased = max(leased, delivered + 3)


@pytest.mark.parametrize("boot_id", ["boot-1", "boot-2"])
async def test_crash_while_running_is_reported_as_interrupted_once(
    tmp_path: Path, autojump_clock: MockClock, boot_id: str
) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=100)
    task = server.add("task_1", targets=2)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await executor.wait_running()
        async with living(LeaseLoop(server, executor, tmp_path, boot_id=boot_id)):
            await server.wait_results(1)
            await trio.sleep(1000)
    assert executor.starts == {"task_1": 1}
    assert [result["error"] for result in task.results] == [INTERRUPTED]


@pytest.mark.parametrize(("boot_id", "starts"), [("boot-1", 1), ("boot-2", 0)])
async def test_crash_while_waiting(tmp_path: Path, autojump_clock: MockClock, boot_id: str, starts: int) -> None:
    """What waited runs after a crash; after a reboot its lease is too old and it waits for a new one."""
    server, executor = ReferenceServer(seed=5), ScriptedExecutor(duration_s=50)
    for name in "abc":
        server.add(name, timeout_sec=600)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=1)):
            await executor.wait_running()
        begun = set(executor.starts)
        server.lose_request = lambda path: path.endswith("tasks")
        async with living(LeaseLoop(server, executor, tmp_path, slots=1, boot_id=boot_id)):
            await trio.sleep(200)
        assert len(set(executor.starts) - begun) == 2 * starts
    assert at_most_once(executor)


async def test_interrupted_at_shutdown_keeps_its_result(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=100)
    task = server.add("task_1")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            await executor.wait_running()
            loop.runs.drain()
            loop.runs.interrupt()
            await server.wait_results(1)
    assert task.results[0]["error"] == INTERRUPTED


async def test_malformed_answers_lose_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    bad: list[Any] = [{"not": "a list"}, None, ["x", {"id": 5}, {"id": "", "lease_id": "l"}, {"id": "t"}], 7, "text"]
    answers = iter(bad)
    server.answer_with = lambda path, body: (
        (200, item) if path.endswith("tasks") and (item := next(answers, ...)) is not ... else None
    )
    server.add("task_1")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await server.wait_results(1)
    assert executor.starts == {"task_1": 1}


async def test_batches_only_while_announced(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=1)
    server.features = ("results.batch", "tasks.batch")
    for i in range(20):
        server.add(f"task_{i:02}")
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=10)) as loop:
            await server.wait_results(20)
            assert any(path.endswith("/task-results") for path, _, _ in server.log)
            loop.features.announced(())
            server.log.clear()
            for i in range(20, 24):
                server.add(f"task_{i:02}")
            await server.wait_results(24)
    assert not any(path.endswith("/task-results") for path, _, _ in server.log)
    assert not any("max" in body for path, body, _ in server.log if path.endswith("/tasks"))
    assert at_most_once(executor)


async def test_one_poisoned_result_does_not_spoil_a_batch(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=1)
    server.features = ("results.batch", "tasks.batch")
    for i in range(10):
        server.add(f"task_{i}")

    def stumbles(path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        if path.endswith("/task-results") and any(result["task_id"] == "task_3" for result in body["results"]):
            return error(500, "internal_error", "internal server error")
        if path.endswith("/task-result") and body["result"]["task_id"] == "task_3":
            return error(500, "internal_error", "internal server error")
        return None

    server.answer_with = stumbles
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=10)):
            await server.wait_results(9)
    assert at_most_once(executor)


async def test_a_result_that_alone_gets_no_answer_blocks_nobody(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A large body on a slow uplink, a filter that dislikes the content: other exchanges go well meanwhile."""
    server, executor = ReferenceServer(), ScriptedExecutor()
    for name in ("sick", "a", "b"):
        server.add(name)
    server.lose_request_of = lambda path, body: path.endswith("result") and body["result"]["task_id"] == "sick"
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            async with heartbeats(loop):
                await server.wait_results(2)
                server.add("c")
                await server.wait_results(3)
    assert at_most_once(executor)


@asynccontextmanager
async def heartbeats(loop: LeaseLoop) -> AsyncIterator[None]:
    """Other exchanges that go well, so that the link is known to be up."""

    async def beat() -> None:
        while True:
            await loop.line.post("/api/agent/metrics", b"{}")
            await trio.sleep(0.005)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        yield
        nursery.cancel_scope.cancel()


async def test_retry_after_is_honoured_for_results(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    server.add("task_1", timeout_sec=3600)
    server.answer_with = lambda path, body: error(503, "x", "x") if path.endswith("result") else None
    server.answer_headers = {"retry-after": "600"}
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await eventually(lambda: answered(server, 503))
            first = trio.current_time()
            await trio.sleep(590)
            assert sum(status == 503 for _, _, status in server.log) == 1
            server.answer_with = lambda path, body: None
            await server.wait_results(1)
    assert trio.current_time() - first >= 600


async def test_any_2xx_is_an_acceptance(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    server.add("task_1")
    server.answer_with = lambda path, body: (204, {}) if path.endswith("result") else None
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            await eventually(lambda: in_phase(loop, "task_1", Phase.ACCEPTED))
    assert sum(path.endswith("result") for path, _, _ in server.log) == 1


async def test_weak_point_07_an_extra_poll_right_after_work_does_not_shift_the_period(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=0.3)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)):
            await trio.sleep(20)  # polls have found their rhythm
            before = len(server.poll_times)
            server.add("task_1")
            await trio.sleep(15)
    first, at_once, *others = server.poll_times[before:]
    assert at_once - first < 0.1
    assert 0.9 <= others[0] - first <= 1.1
    assert all(0.9 <= later - earlier <= 1.1 for earlier, later in pairwise(others))


@pytest.mark.parametrize("batch", [False, True])
async def test_a_disk_that_refuses_writes_for_a_while_loses_nothing(
    tmp_path: Path, autojump_clock: MockClock, batch: bool
) -> None:
    """Whichever step it hits: leases are kept in memory, starts wait, results wait, answers are asked for again."""
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=3)
    server.features = ("results.batch", "tasks.batch") if batch else ()
    with trio.fail_after(10 * HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=4)) as loop:
            for i in range(12):
                server.add(f"task_{i}")
                await trio.sleep(0.7 * (i + 1))
                loop.disk_refuses = True
                await trio.sleep(20)
                loop.disk_refuses = False
                await trio.sleep(5)
            await server.wait_results(12)
    assert at_most_once(executor)
    assert {task.leases for task in server.tasks.values()} == {1}
    assert all(task.results[0]["error"] == "" for task in server.tasks.values())


async def test_an_audit_that_cannot_be_written_burns_no_leases(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    for i in range(30):
        server.add(f"task_{i:02}", timeout_sec=3600)
    with trio.fail_after(10 * HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=2)) as loop:
            loop.audit_refuses = True
            await trio.sleep(600)
            leased = sum(task.leases for task in server.tasks.values())
            assert not executor.starts
            loop.audit_refuses = False
            await server.wait_results(30)
    assert leased <= 3
    assert at_most_once(executor)


async def test_a_fresh_lease_is_not_thrown_away_with_the_old_one(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Given up and leased again at once, while the old path of the task still writes its record."""
    server, executor = ReferenceServer(), ScriptedExecutor(duration_s=60)
    for name in "abc":
        server.add(name, timeout_sec=10)
    with trio.fail_after(10 * HOUR):
        async with living(LeaseLoop(server, executor, tmp_path, slots=1)):
            await executor.wait_running()
        await trio.sleep(1000)  # two were waiting, and their leases die
        async with living(LeaseLoop(server, executor, tmp_path, slots=3)) as loop:
            loop.audit_takes_s = 5
            await server.wait_results(3)
            await trio.sleep(60)
            assert loop.runs.statistics().running == 0
            assert loop.runs.free_slots() == 3
    assert at_most_once(executor)
    assert {task.leases for task in server.tasks.values()} == {1, 2}


async def test_nothing_starts_once_the_drain_has_begun(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, executor = ReferenceServer(), ScriptedExecutor()
    task = server.add("task_1", timeout_sec=600)
    with trio.fail_after(HOUR):
        async with living(LeaseLoop(server, executor, tmp_path)) as loop:
            loop.audit_takes_s = 5
            await eventually(lambda: in_phase(loop, "task_1", Phase.WAITING))
            await trio.sleep(1)
            loop.runs.drain()
            loop.runs.interrupt()
            await trio.sleep(30)
            assert not executor.starts
            assert await in_phase(loop, "task_1", Phase.WAITING)
        async with living(LeaseLoop(server, executor, tmp_path)):
            await server.wait_results(1)
    assert executor.starts == {"task_1": 1}
    assert task.results[0]["error"] == ""


@settings(max_examples=extent(8, 40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    lossy=st.floats(0, 0.5),
    crashes=st.integers(0, 3),
    slots=st.integers(1, 3),
    batch=st.booleans(),
)
def test_property_nothing_lost_nothing_twice(
    tmp_path_factory: pytest.TempPathFactory, seed: int, lossy: float, crashes: int, slots: int, batch: bool
) -> None:
    """Requests and answers get lost at random, the agent is killed at random moments, tasks overrun their leases."""
    directory = tmp_path_factory.mktemp("state")
    rng = random.Random(seed)

    async def story() -> None:
        server, executor = ReferenceServer(seed), ScriptedExecutor()
        server.features = ("results.batch", "tasks.batch") if batch else ()
        durations = {f"task_{i}": rng.choice([0.1, 5.0, 400.0]) for i in range(7)}
        executor.duration_of = lambda task_id: durations[task_id]
        for name in durations:
            server.add(name, timeout_sec=rng.choice([5, 30, 0]), targets=rng.choice([1, 2]))
        server.lose_request = lambda path: rng.random() < lossy
        server.lose_answer = lambda path: rng.random() < lossy
        for life in range(crashes):
            async with living(LeaseLoop(server, executor, directory, slots=slots, seed=seed + life)):
                await trio.sleep(rng.uniform(0.01, 500))
        server.lose_request = server.lose_answer = lambda path: False
        with trio.fail_after(24 * HOUR):
            async with living(LeaseLoop(server, executor, directory, slots=slots, seed=seed)):
                await server.wait_results(7)
        assert at_most_once(executor)
        for name, task in server.tasks.items():
            errors = {result["error"] for result in task.results}
            assert len(errors) == 1, f"{name} was reported with different endings"
            assert errors == ({""} if executor.ended[name] else {INTERRUPTED})

    trio.run(story, clock=MockClock(autojump_threshold=0))

"""Ending tasks before they have ended by themselves, and the clock of the queue."""

import json
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.wire.results import RunDetail
from server_stub.actions.runs import standing_orders
from server_stub.sweep import TASKS_SECONDS, sweep_tasks
from tests.rigs.control_streams import heard, listening
from tests.rigs.server_app import START, Caller, World, control_plane, result_of


async def poll(node: Caller) -> list[dict[str, Any]]:
    leased: list[dict[str, Any]] = (await node.get("/api/agent/tasks")).raise_for_status().json()
    return leased


async def report(node: Caller, lease: dict[str, Any], **fields: object) -> int:
    return (await node.post("/api/agent/task-result", result_of(lease, **fields))).status_code


async def cancel(world: World, task_id: str, **body: str) -> dict[str, Any]:
    answer = await world.operator.post(f"/api/v1/tasks/{task_id}/cancel", dict(body))
    task: dict[str, Any] = answer.raise_for_status().json()["task"]
    return task


CANCELLED = {
    "exit_code": -1,
    "error": "context canceled: cancelled by the control plane",
    "detail": {"outcome": "cancelled", "wall_ms": 2_100, "killed": 3},
}


async def test_a_running_task_is_asked_for_and_its_result_confirms() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1")
        (lease,) = await poll(node)
        with listening(world, node) as stream:
            task = await cancel(world, task_id)
            assert heard(stream) == [("task.cancel", task_id)]
        (target,) = task["targets"]
        assert (task["status"], target["state"], target["outcome"]) == ("leased", "leased", "leased")
        assert target["text"] == "leased; cancel requested by test-0"
        assert target["cancel_requested_at"]
        assert await poll(node) == []

        assert await report(node, lease, **CANCELLED) == 200
        shown = await world.show(task_id)
        assert (shown["status"], shown["reason"]) == ("cancelled", "cancelled by test-0")
        assert shown["outcomes"] == {"cancelled": 1}
        (result,) = shown["results"]
        assert result["text"] == "cancelled by test-0 after 2.1 s; 3 processes killed"
        assert result["detail"] == CANCELLED["detail"]
        refused = await world.operator.post(f"/api/v1/tasks/{task_id}/cancel", {})
        assert refused.status_code == 409


async def test_a_node_that_was_away_is_told_when_it_comes_back() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1")
        await poll(node)
        await cancel(world, task_id)
        orders = world.store.read(partial(standing_orders, node_id="n1", now=START))
        assert [(order.type, order.task_id) for order in orders] == [("task.cancel", task_id)]


async def test_asking_again_tells_the_node_again_and_remembers_who_asked_first() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1")
        await poll(node)
        first = await cancel(world, task_id)
        with listening(world, node) as stream:
            again = await cancel(world, task_id)
            assert heard(stream) == [("task.cancel", task_id)]
        assert again["targets"] == first["targets"]
        assert [event["action"] for event in await world.audit(action="task.cancel")] == ["task.cancel"] * 2


async def test_a_result_that_was_quicker_than_the_cancel_is_what_it_is() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1")
        (lease,) = await poll(node)
        await cancel(world, task_id)
        assert await report(node, lease, stdout="done") == 200
        shown = await world.show(task_id)
        assert (shown["status"], shown["outcomes"]) == ("finished", {"succeeded": 1})


async def test_one_node_of_several() -> None:
    async with control_plane() as world:
        one, two, three = [await world.node(f"n{n}") for n in (1, 2, 3)]
        task_id = await world.task("n1", "n2", "n3")
        (lease,) = await poll(one)
        with listening(world, one) as first, listening(world, two) as second:
            task = await cancel(world, task_id, node="n2")
            assert (heard(first), heard(second)) == ([], [])
        assert {target["node_id"]: target["outcome"] for target in task["targets"]} == {
            "n1": "leased",
            "n2": "cancelled",
            "n3": "queued",
        }
        assert await poll(two) == []
        assert await report(one, lease) == 200
        assert await report(three, (await poll(three))[0], exit_code=1, error="exit status 1") == 200
        shown = await world.show(task_id)
        assert (shown["status"], shown["outcomes"]) == ("failed", {"cancelled": 1, "failed": 1, "succeeded": 1})
        answer = await world.operator.post(f"/api/v1/tasks/{task_id}/cancel", {"node": "n9"})
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, f"task {task_id} is not for node n9")
        (event,) = await world.audit(action="task.cancel")
        assert (event["actor"], event["node_id"], event["detail"]) == ("test-0", "n2", {"cancelled": 1, "asked": 0})


async def test_a_node_that_never_confirms_loses_the_task_with_its_lease(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1", timeout_sec=30)
        (lease,) = await poll(node)
        await cancel(world, task_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sweep_tasks, world.app.state.plane)
            await trio.sleep(329)
            assert (await world.show(task_id))["status"] == "leased"
            await trio.sleep(2 + TASKS_SECONDS)
            lost = await world.show(task_id)
            nursery.cancel_scope.cancel()
        assert (lost["status"], lost["reason"]) == ("lost", "node n1: cancel requested, but never confirmed")
        assert lost["targets"][0]["text"] == (
            "lost: cancel requested by test-0, but the node never confirmed; unknown whether it ran"
        )
        assert await poll(node) == []
        assert await report(node, lease, **CANCELLED) == 200  # it was only slow
        assert (await world.show(task_id))["status"] == "cancelled"


async def test_a_lease_that_dies_is_told_to_its_node_and_gives_its_place_to_others(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        one, two = [await world.node(f"n{n}") for n in (1, 2)]
        await world.task("n1", "n2", timeout_sec=30, concurrency=1)
        (lease,) = await poll(one)
        with listening(world, one) as first, listening(world, two) as second:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sweep_tasks, world.app.state.plane)
                await trio.sleep(329)
                assert (heard(first), heard(second)) == ([], [])
                await trio.sleep(2 + TASKS_SECONDS)
                assert (heard(first), heard(second)) == ([("task.ready", "")], [("task.ready", "")])
                await trio.sleep(10 * TASKS_SECONDS)
                nursery.cancel_scope.cancel()
            assert (heard(first), heard(second)) == ([], [])  # it dies once
        assert len(await poll(two)) == 1
        assert await poll(one) == []
        assert await report(one, lease) == 200


async def test_the_queued_clock_fires_without_the_node(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        await world.node("away")
        task_id = await world.task("away", queue_timeout_sec=60)
        shown: dict[str, Any] = {}

        async def wait() -> None:
            shown.update(await world.show(task_id, wait_s="60"))
            shown.update(await world.show(task_id, wait_s="60"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sweep_tasks, world.app.state.plane)
            await wait()
            assert trio.current_time() <= 60 + 2 * TASKS_SECONDS
            nursery.cancel_scope.cancel()
        (target,) = shown["targets"]
        assert (target["state"], target["outcome"]) == ("expired", "timed_out")
        assert target["text"] == "timed out: queued clock, 60 s; it was never handed out"
        assert (shown["status"], shown["reason"]) == ("failed", f"node away: {target['text']}")
        (event,) = await world.audit(action="task.expire")
        assert (event["actor"], event["target"], event["node_id"]) == ("server", task_id, "away")


async def test_the_queued_clock_is_looked_at_by_a_poll_too(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        first = await world.task("n1", queue_timeout_sec=60)
        second = await world.task("n1", queue_timeout_sec=61)
        await trio.sleep(60.5)
        assert [lease["id"] for lease in await poll(node)] == [second]
        await trio.sleep(600)  # once leased it is the lease that counts
        assert (await world.show(first))["outcomes"] == {"timed_out": 1}
        assert (await world.show(second))["outcomes"] == {"leased": 1}


@pytest.mark.parametrize("detail", [{"outcome": 5}, {"outcome": "cancelled", "killed": -1}, []])
async def test_details_of_wrong_types_are_refused_like_all_else(detail: object) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        await world.task("n1")
        (lease,) = await poll(node)
        assert await report(node, lease, detail=detail) == 400
        assert await report(node, lease, detail=None) == 200


async def test_details_are_cut_to_size_and_harmless() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1")
        (lease,) = await poll(node)
        evil = "\x1b]0;owned\x07\u202e<script>" * 5_000
        sent = {"outcome": "refused", "reason": evil, "rule": evil, "unknown": evil}
        assert await report(node, lease, exit_code=-1, error="no", detail=sent) == 200
        (result,) = (await world.show(task_id))["results"]
        assert result["outcome"] == "refused"
        assert result["text"].isprintable()
        assert len(result["text"].encode()) <= 512
        assert set(result["detail"]) == {"outcome", "reason", "rule"} <= set(RunDetail.model_fields)
        assert len(json.dumps(result["detail"])) < 1_200

"""The life of a task in the control plane, seen from both sides."""

from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from server_stub.config import Limits
from tests.rigs.server_app import Caller, World, control_plane, result_of


async def poll(node: Caller, **query: str) -> list[dict[str, Any]]:
    answer = await node.get("/api/agent/tasks", **query)
    leased: list[dict[str, Any]] = answer.raise_for_status().json()
    return leased


async def report(node: Caller, lease: dict[str, Any], **fields: object) -> int:
    return (await node.post("/api/agent/task-result", result_of(lease, **fields))).status_code


async def test_create_lease_report_show() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1", interpreter="bash", timeout_sec=60, output_limit=100)
        assert (await world.show(task_id))["status"] == "queued"
        (lease,) = await poll(node)
        assert {name: value for name, value in lease.items() if name != "lease_id"} == {
            "id": task_id,
            "interpreter": "bash",
            "script": "true",
            "timeout_sec": 60,
            "output_limit": 100,
        }
        assert (await world.show(task_id))["status"] == "leased"
        assert await report(node, lease, exit_code=3, stdout="out", error="exit status 3") == 200
        shown = await world.show(task_id)
        assert (shown["status"], shown["attempts"], shown["actor"]) == ("failed", 1, "test-0")
        (result,) = shown["results"]
        assert (result["node_id"], result["exit_code"], result["stdout"]) == ("n1", 3, "out")
        assert "script" not in shown
        actions = [event["action"] for event in await world.audit()]
        assert actions[:3] == ["task.result", "task.lease", "task.create"]


async def test_trap_05_oldest_first_three_a_poll_sixteen_with_the_extension() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        created = [await world.task("n1") for _ in range(22)]
        assert [lease["id"] for lease in await poll(node)] == created[:3]
        assert [lease["id"] for lease in await poll(node, max="16")] == created[3:19]
        assert [lease["id"] for lease in await poll(node, max="16")] == created[19:]
        youngest = await world.task("n1")  # behind more living leases than a poll looks at
        assert [lease["id"] for lease in await poll(node)] == [youngest]
        assert (await node.get("/api/agent/tasks", max="17")).status_code == 400


async def test_trap_05_a_dead_lease_is_handed_out_again_and_the_old_id_is_refused(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1", timeout_sec=30)
        (first,) = await poll(node)
        await trio.sleep(330)
        assert await poll(node) == []
        await trio.sleep(1)
        (second,) = await poll(node)
        assert second["id"] == task_id
        assert second["lease_id"] != first["lease_id"]
        assert await report(node, first) == 403
        assert await report(node, second) == 200
        denied = (await world.audit(action="task.result"))[1]
        assert (denied["decision"], denied["reason"], denied["target"]) == ("deny", "invalid task lease", task_id)


async def test_trap_06_a_result_is_taken_after_the_lease_has_expired(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        await world.task("n1")
        (lease,) = await poll(node)
        await trio.sleep(86_400)
        assert await report(node, lease) == 200
        assert await poll(node) == []


async def test_weak_point_02_the_same_result_again_is_stored_once() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1")
        (lease,) = await poll(node)
        for _ in range(3):
            assert await report(node, lease, stdout="once") == 200
        assert await report(node, lease, stdout="another") == 403
        shown = await world.show(task_id)
        assert [result["stdout"] for result in shown["results"]] == ["once"]


async def test_weak_point_04_lost_after_the_attempt_limit_and_found_again(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1", timeout_sec=1)
        for _ in range(5):
            (lease,) = await poll(node)
            await trio.sleep(302)
        assert await poll(node) == []
        lost = await world.show(task_id)
        assert (lost["status"], lost["reason"], lost["attempts"]) == ("lost", "node n1: no result after 5 leases", 5)
        assert await report(node, lease, stdout="at last") == 200
        found = await world.show(task_id)
        assert (found["status"], found["reason"], found["results"][0]["stdout"]) == ("finished", "", "at last")


async def test_the_attempt_limit_counts_for_each_node(autojump_clock: MockClock) -> None:
    async with control_plane(Limits(attempt_limit=1)) as world:
        lazy, busy = await world.node("lazy"), await world.node("busy")
        task_id = await world.task("lazy", "busy")
        assert len(await poll(lazy)) == 1
        (lease,) = await poll(busy)
        assert await report(busy, lease) == 200
        await trio.sleep(1000)
        assert await poll(lazy) == []
        assert (await world.show(task_id))["status"] == "lost"


async def test_several_nodes_and_one_status() -> None:
    async with control_plane() as world:
        first, second = await world.node("n1"), await world.node("n2")
        task_id = await world.task("n1", "n2")
        (one,), (two,) = await poll(first), await poll(second)
        assert await report(first, one, exit_code=1) == 200
        assert (await world.show(task_id))["status"] == "leased"
        assert await report(second, one) == 403
        assert await report(second, two) == 200
        shown = await world.show(task_id)
        assert (shown["status"], [result["node_id"] for result in shown["results"]]) == ("failed", ["n1", "n2"])


async def test_a_batch_is_judged_one_by_one_and_stored_together() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        for _ in range(3):
            await world.task("n1", output_limit=4)
        leases = await poll(node)
        results = [result_of(lease)["result"] for lease in leases]
        results[1]["stdout"] = "longer"
        results.append(results[0])
        results.append({"task_id": "task_none", "lease_id": "lease_none"})
        answer = (await node.post("/api/agent/task-results", {"results": results})).json()
        assert answer["ok"] is True
        assert [(verdict["status"], verdict.get("code")) for verdict in answer["results"]] == [
            (200, None),
            (400, "task_output_limit_exceeded"),
            (200, None),
            (200, None),
            (403, "invalid_task_lease"),
        ]
        assert [v["lease_id"] for v in answer["results"][:3]] == [lease["lease_id"] for lease in leases]
        assert await report(node, leases[1], stdout="ok") == 200  # a 400 leaves the lease alive


@pytest.mark.parametrize("count", [0, 33])
async def test_a_batch_has_a_size(count: int) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        answer = await node.post("/api/agent/task-results", {"results": [{}] * count})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "results must have between 1 and 32 entries"


async def test_waiting_for_the_end_of_a_task(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1")
        (lease,) = await poll(node)
        shown: dict[str, Any] = {}

        async def wait() -> None:
            shown.update(await world.show(task_id, wait_s="60"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert not shown
            began = trio.current_time()
            assert await report(node, lease) == 200
        assert shown["status"] == "finished"
        assert trio.current_time() == began


async def test_waiting_ends_after_the_time_that_was_asked_for(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        await world.node("n1")
        task_id = await world.task("n1")
        began = trio.current_time()
        assert (await world.show(task_id, wait_s="60"))["status"] == "queued"
        assert trio.current_time() == began + 60
        assert (await world.operator.get(f"/api/v1/tasks/{task_id}", wait_s="61")).status_code == 400


async def test_nobody_waits_beyond_the_bound_or_during_shutdown(autojump_clock: MockClock) -> None:
    async with control_plane(Limits(waiters=0)) as world:
        await world.node("n1")
        task_id = await world.task("n1")
        began = trio.current_time()
        await world.show(task_id, wait_s="60")
        assert trio.current_time() == began
    async with control_plane() as world:
        await world.node("n1")
        task_id = await world.task("n1")
        world.app.state.plane.watch.close()
        await world.show(task_id, wait_s="60")
        assert trio.current_time() == began


async def test_cancel_takes_back_what_nobody_was_handed() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        first, second = await world.task("n1"), await world.task("n1")
        cancelled = await world.operator.post(f"/api/v1/tasks/{first}/cancel", {})
        assert cancelled.json()["task"]["status"] == "cancelled"
        (lease,) = await poll(node)
        assert lease["id"] == second
        assert await report(node, lease) == 200
        refused = await world.operator.post(f"/api/v1/tasks/{second}/cancel", {})
        assert (refused.status_code, refused.json()["error"]["message"]) == (
            409,
            "only what has not ended can be cancelled",
        )
        assert (await world.operator.post("/api/v1/tasks/task_none/cancel", {})).status_code == 404


async def test_the_kill_switch_stops_creating_and_leasing_but_not_reporting() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        await world.task("n1")
        (lease,) = await poll(node)
        await world.task("n1")
        assert (await world.operator.post("/api/v1/kill-switch", {"enabled": True})).json() == {
            "task_execution_disabled": True
        }
        refused = await world.operator.post("/api/v1/tasks", {"node": "n1", "script": "true"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "task_execution_disabled")
        answer = await node.get("/api/agent/tasks")
        assert (answer.json(), answer.headers["x-lattice-task-execution-disabled"]) == ([], "1")
        assert await report(node, lease) == 200
        await world.operator.post("/api/v1/kill-switch", {"enabled": False})
        assert (await world.operator.get("/api/v1/kill-switch")).json() == {"task_execution_disabled": False}
        assert len(await poll(node)) == 1
        assert "x-lattice-task-execution-disabled" not in (await node.get("/api/agent/tasks")).headers


@pytest.mark.parametrize(
    ("order", "status", "text"),
    [
        ({"node": "n1"}, 400, "targets and script are required"),
        ({"node": "n1", "script": "true", "interpreter": "perl"}, 400, 'interpreter "perl" is not allowlisted'),
        ({"nodes": ["n1", "n9"], "script": "true"}, 404, "node n9 not found"),
        ({"node": "n1", "script": "true", "timeout": 5}, 400, "timeout: unknown field"),
        ({"node": "n1", "script": "true", "timeout_sec": "5"}, 400, "timeout_sec: Input should be a valid integer"),
    ],
)
async def test_a_refused_task_reaches_nobody(order: dict[str, Any], status: int, text: str) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        refused = await world.operator.post("/api/v1/tasks", order)
        assert (refused.status_code, refused.json()["error"]["message"]) == (status, text)
        assert await poll(node) == []


async def test_open_tasks_are_bounded() -> None:
    async with control_plane(Limits(open_tasks=1)) as world:
        await world.node("n1")
        await world.task("n1")
        refused = await world.operator.post("/api/v1/tasks", {"node": "n1", "script": "true"})
        assert refused.status_code == 409


async def test_lists_are_newest_first_and_filtered() -> None:
    async with control_plane() as world:
        first, second = await world.node("n1"), await world.node("n2")
        ids = [await world.task("n1"), await world.task("n2"), await world.task("n1", "n2")]
        await poll(first)
        assert len(await poll(second)) == 2

        async def listed(**query: str) -> list[str]:
            answer = await world.operator.get("/api/v1/tasks", **query)
            return [task["id"] for task in answer.raise_for_status().json()["tasks"]]

        assert await listed() == ids[::-1]
        assert await listed(node="n2") == [ids[2], ids[1]]
        assert await listed(limit="1") == [ids[2]]
        assert await listed(status="queued") == []
        assert len(await listed(status="leased")) == 3
        assert (await world.operator.get("/api/v1/tasks", status="done")).status_code == 400
        assert (await world.operator.get("/api/v1/tasks", limit="1001")).status_code == 400
        assert (await world.operator.get("/api/v1/tasks/task_none")).status_code == 404


async def test_a_lease_survives_a_restart_disabling_and_rotation(tmp_path: Any) -> None:
    path = str(tmp_path / "control.db")
    async with control_plane(path=path) as world:
        node = await world.node("n1")
        await world.task("n1")
        (lease,) = await poll(node)
        await world.operator.post("/api/v1/nodes/n1/disable", {"disabled": True})
        assert await report(node, lease) == 401
        await world.operator.post("/api/v1/nodes/n1/disable", {"disabled": False})
        token = (await world.operator.post("/api/v1/nodes/n1/rotate", {})).json()["token"]
    async with control_plane(path=path) as world:
        assert await report(Caller(world.client, node.token, "n1"), lease) == 401
        assert await report(Caller(world.client, token, "n1"), lease) == 200


async def test_trap_05_a_task_that_was_reported_is_never_handed_out_again(autojump_clock: MockClock) -> None:
    """The reference forgets results beyond its newest 2,000 and hands such a task out again; we forget whole ended
    tasks only."""
    async with control_plane(Limits(ended_targets=1, node_burst=1_000)) as world:
        first = await world.node("n1")
        await world.node("n2")
        waiting = await world.task("n1", "n2")
        (lease,) = await poll(first)
        assert await report(first, lease) == 200
        for _ in range(70):  # past the look at the retention
            await world.task("n1")
            (lease,) = await poll(first)
            assert await report(first, lease) == 200
        await trio.sleep(1000)
        assert await poll(first) == []
        assert (await world.show(waiting))["results"][0]["node_id"] == "n1"
        answer = await world.operator.get("/api/v1/tasks", limit="1000")
        assert len(answer.json()["tasks"]) < 70


class Body(httpx.AsyncByteStream):
    """Pieces of a request body as they are asked for; ``None`` for a piece that never comes."""

    def __init__(self, piece: bytes, count: int | None) -> None:
        self.sent = 0
        self._piece, self._count = piece, count

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        if self.sent and self._count is None:
            await trio.sleep_forever()
        if self.sent == self._count:
            raise StopAsyncIteration
        self.sent += 1
        return self._piece


async def post_body(node: Caller, body: Body) -> httpx.Response:
    headers = {"authorization": f"Bearer {node.token}"}
    url = "http://control/api/agent/task-result"
    return await node.client.send(httpx.Request("POST", url, headers=headers, stream=body))


async def test_trap_07_a_body_over_the_limit_is_refused_while_it_arrives() -> None:
    body = Body(b"x" * 65_536, 1_000)
    async with control_plane() as world:
        answer = await post_body(await world.node("n1"), body)
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "invalid request body")
        assert body.sent == 17  # the first piece beyond 1 MiB


async def test_a_body_that_does_not_come_is_given_up(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        answer = await post_body(await world.node("n1"), Body(b"{", None))
        assert (answer.status_code, trio.current_time()) == (408, 30)


async def test_a_storage_fault_is_a_500_without_details(monkeypatch: pytest.MonkeyPatch) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        await world.task("n1")
        (lease,) = await poll(node)
        world.store.write(_break_results)
        answer = await node.post("/api/agent/task-result", result_of(lease))
        assert (answer.status_code, answer.json()["error"]["message"]) == (500, "internal server error")
        assert answer.json()["error"]["request_id"] == answer.headers["x-lattice-request-id"]
        world.store.write(_mend_results)
        assert await report(node, lease) == 200


def _break_results(tables: Any) -> None:
    tables.tasks._connection.execute("ALTER TABLE result RENAME COLUMN stdout TO gone")
    tables.tasks._connection.execute("ALTER TABLE result ADD COLUMN extra TEXT")


def _mend_results(tables: Any) -> None:
    tables.tasks._connection.execute("ALTER TABLE result DROP COLUMN extra")
    tables.tasks._connection.execute("ALTER TABLE result RENAME COLUMN gone TO stdout")


async def test_every_world_is_its_own() -> None:
    async with control_plane() as one, control_plane() as other:
        await one.node("n1")
        assert isinstance(other, World)
        assert (await other.operator.get("/api/v1/nodes")).json() == {"nodes": []}

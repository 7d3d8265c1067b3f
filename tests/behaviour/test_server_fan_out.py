"""A task for many nodes: by tag, some at a time, until too many have failed, and again where it has."""

from typing import Any

import pytest

from tests.rigs.control_streams import heard, listening
from tests.rigs.server_app import Caller, World, control_plane, result_of


async def poll(node: Caller) -> list[dict[str, Any]]:
    leased: list[dict[str, Any]] = (await node.get("/api/agent/tasks")).raise_for_status().json()
    return leased


async def report(node: Caller, lease: dict[str, Any], exit_code: int = 0) -> None:
    error = f"exit status {exit_code}" if exit_code else ""
    sent = result_of(lease, exit_code=exit_code, error=error)
    (await node.post("/api/agent/task-result", sent)).raise_for_status()


async def create(world: World, **order: object) -> dict[str, Any]:
    answer = await world.operator.post("/api/v1/tasks", {"script": "true", **order})
    task: dict[str, Any] = answer.raise_for_status().json()["task"]
    return task


async def refusal(world: World, path: str, body: dict[str, Any]) -> tuple[int, str]:
    answer = await world.operator.post(path, body)
    return answer.status_code, answer.json()["error"]["message"]


async def fleet(world: World, count: int, *tags: str) -> list[Caller]:
    nodes = [await world.node(f"n{number}") for number in range(count)]
    for node in nodes:
        await world.operator.post(f"/api/v1/nodes/{node.node_id}/tags", {"tags": list(tags)})
    return nodes


async def test_no_more_nodes_than_asked_for_have_it_at_once() -> None:
    async with control_plane() as world:
        nodes = await fleet(world, 5)
        task = await create(world, nodes=[node.node_id for node in nodes], concurrency=2)
        assert (task["concurrency"], task["outcomes"]) == (2, {"queued": 5})
        leases = {node.node_id: await poll(node) for node in nodes}
        assert [len(leases[node.node_id]) for node in nodes] == [1, 1, 0, 0, 0]
        await report(nodes[0], leases["n0"][0])
        assert [len(await poll(node)) for node in nodes[2:]] == [1, 0, 0]
        assert (await world.show(task["id"]))["outcomes"] == {"leased": 2, "queued": 2, "succeeded": 1}


async def test_a_task_without_room_does_not_keep_a_node_from_younger_ones() -> None:
    async with control_plane() as world:
        one, two = await fleet(world, 2)
        for _ in range(40):
            await create(world, nodes=["n0", "n1"], concurrency=1)
        for _ in range(14):
            await poll(one)
        younger = await create(world, node="n1")
        assert [lease["id"] for lease in await poll(two)] == [younger["id"]]


async def test_a_poll_that_finds_no_room_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with control_plane() as world:
        one, two = await fleet(world, 2)
        await create(world, nodes=["n0", "n1"], concurrency=1, max_failures=1, queue_timeout_sec=60)
        await poll(one)
        monkeypatch.setattr(world.store, "write", None)
        assert await poll(two) == []


async def test_connected_nodes_are_told_when_there_is_room() -> None:
    async with control_plane() as world:
        one, two = await fleet(world, 2)
        with listening(world, one) as first, listening(world, two) as second:
            task = await create(world, nodes=["n0", "n1"], concurrency=1)
            assert (heard(first), heard(second)) == ([("task.ready", "")], [("task.ready", "")])
            (lease,) = await poll(one)
            assert await poll(two) == []
            assert (heard(first), heard(second)) == ([], [])
            await report(one, lease)
            assert (heard(first), heard(second)) == ([], [("task.ready", "")])
            assert len(await poll(two)) == 1
        assert (await world.show(task["id"]))["outcomes"] == {"leased": 1, "succeeded": 1}


async def test_a_cancelled_target_makes_room_for_another() -> None:
    async with control_plane() as world:
        one, two = await fleet(world, 2)
        task = await create(world, nodes=["n0", "n1"], concurrency=1)
        (lease,) = await poll(one)
        await world.operator.post(f"/api/v1/tasks/{task['id']}/cancel", {"node": "n0"})
        with listening(world, two) as stream:
            assert await poll(two) == []  # n0 has not confirmed
            await report(one, lease, exit_code=1)
            assert heard(stream) == [("task.ready", "")]
        assert len(await poll(two)) == 1


async def test_the_rest_is_spared_after_so_many_failures() -> None:
    async with control_plane() as world:
        nodes = await fleet(world, 6)
        order = {"nodes": [node.node_id for node in nodes], "concurrency": 3, "max_failures": 2}
        task = await create(world, **order)
        leases = [await poll(node) for node in nodes[:3]]
        await report(nodes[0], leases[0][0], exit_code=1)
        (again,) = await poll(nodes[3])
        await report(nodes[1], leases[1][0], exit_code=1)
        assert [await poll(node) for node in nodes] == [[]] * 6
        await report(nodes[2], leases[2][0])
        await report(nodes[3], again)
        shown = await world.show(task["id"])
        assert (shown["status"], shown["reason"]) == ("failed", "stopped after 2 failures")
        assert shown["outcomes"] == {"cancelled": 2, "failed": 2, "succeeded": 2}
        assert [target["text"] for target in shown["targets"]][4:] == ["stopped after 2 failures"] * 2
        (event,) = await world.audit(action="task.stop")
        assert (event["actor"], event["target"], event["detail"]) == ("server", task["id"], {"spared": 2})


async def test_again_where_it_has_failed() -> None:
    async with control_plane() as world:
        nodes = await fleet(world, 3)
        task = await create(world, nodes=["n0", "n1", "n2"], concurrency=1, max_failures=1, queue_timeout_sec=900)
        path = f"/api/v1/tasks/{task['id']}/rerun"
        assert await refusal(world, path, {"only": "failed"}) == (
            409,
            f"task {task['id']} has not ended; cancel it first, or wait",
        )
        await report(nodes[0], (await poll(nodes[0]))[0])
        await report(nodes[1], (await poll(nodes[1]))[0], exit_code=1)
        with listening(world, nodes[2]) as stream:
            again = (await world.operator.post(path, {"only": "failed"})).raise_for_status().json()["task"]
            assert heard(stream) == [("task.ready", "")]
        assert (again["nodes"], again["rerun_of"], again["status"]) == (["n1", "n2"], task["id"], "queued")
        same = ("script_sha256", "timeout_sec", "output_limit", "concurrency", "max_failures", "queue_timeout_sec")
        assert {name: again[name] for name in same} == {name: task[name] for name in same}
        everywhere = (await world.operator.post(path, {"only": "all"})).raise_for_status().json()["task"]
        assert everywhere["nodes"] == ["n0", "n1", "n2"]
        assert await refusal(world, path, {"only": "some"}) == (400, "only: Input should be 'failed' or 'all'")
        assert await refusal(world, "/api/v1/tasks/task_none/rerun", {"only": "all"}) == (
            404,
            "task task_none not found",
        )


async def test_a_task_that_has_succeeded_everywhere_has_nothing_to_do_again() -> None:
    async with control_plane() as world:
        (node,) = await fleet(world, 1)
        task = await create(world, node="n0")
        await report(node, (await poll(node))[0])
        path = f"/api/v1/tasks/{task['id']}/rerun"
        assert await refusal(world, path, {"only": "failed"}) == (
            409,
            f"task {task['id']} has succeeded on all of its nodes",
        )


async def test_tags_say_who_gets_a_task_when_it_is_created() -> None:
    async with control_plane() as world:
        for node_id, tags in {"a": ["web", "eu"], "b": ["web"], "c": ["web", "eu"], "d": ["eu", "web"]}.items():
            answer = await world.operator.post("/api/v1/nodes", {"id": node_id, "tags": tags})
            assert answer.json()["node"]["tags"] == sorted(tags)
        await world.operator.post("/api/v1/nodes/d/disable", {"disabled": True})
        task = await create(world, tags=["web", "eu"])
        assert task["nodes"] == ["a", "c"]
        tagged = await world.operator.post("/api/v1/nodes/b/tags", {"tags": ["eu", "web", "eu"]})
        assert tagged.json()["node"]["tags"] == ["eu", "web"]
        assert (await world.show(task["id"]))["nodes"] == ["a", "c"]
        assert (await create(world, tags=["web", "eu"]))["nodes"] == ["a", "b", "c"]
        assert (await world.audit(action="node.tags"))[0]["detail"] == {"tags": ["eu", "web"]}


@pytest.mark.parametrize(
    ("order", "status", "text"),
    [
        ({"tags": ["db"]}, 404, "no enabled node has the tag db"),
        ({"tags": ["db", "eu"]}, 404, "no enabled node has the tags db, eu"),
        ({"tags": ["web"], "node": "n0"}, 400, "give either nodes or tags"),
        ({"tags": ["We b"]}, 400, "a tag must be 1 to 32 characters of a-z 0-9 _ . -"),
        ({"node": "n0", "concurrency": -1}, 400, "concurrency must be between 0 and 256"),
        ({"node": "n0", "max_failures": 257}, 400, "max_failures must be between 0 and 256"),
        ({"node": "n0", "queue_timeout_sec": 2_592_001}, 400, "queue_timeout_sec must be between 0 and 2592000"),
        ({"node": "n0", "concurrency": True}, 400, "concurrency: Input should be a valid integer"),
        ({"node": "n0", "concurrency": 2**70}, 400, "concurrency must be between 0 and 256"),
    ],
)
async def test_what_is_asked_for_wrongly(order: dict[str, Any], status: int, text: str) -> None:
    async with control_plane() as world:
        await fleet(world, 1, "web")
        assert await refusal(world, "/api/v1/tasks", {"script": "true", **order}) == (status, text)
        assert await refusal(world, "/api/v1/tasks/preview", {"script": "true", **order}) == (status, text)


async def test_tags_are_bounded() -> None:
    async with control_plane() as world:
        await fleet(world, 1)
        many = [f"t{number}" for number in range(17)]
        assert await refusal(world, "/api/v1/nodes/n0/tags", {"tags": many}) == (400, "tags must be at most 16")
        for tag in ("", "x" * 33, "Web", "a b", "é", "a\n"):
            assert (await refusal(world, "/api/v1/nodes/n0/tags", {"tags": [tag]}))[0] == 400
        assert await refusal(world, "/api/v1/nodes/n9/tags", {"tags": []}) == (404, "node n9 not found")


async def test_a_draining_node_is_handed_nothing_and_may_end_what_it_has() -> None:
    async with control_plane() as world:
        (node,) = await fleet(world, 1)
        await create(world, node="n0")
        (lease,) = await poll(node)
        with listening(world, node) as stream:
            answer = await world.operator.post("/api/v1/nodes/n0/drain", {"draining": True})
            assert heard(stream) == [("drain", "")]
            shown = answer.json()["node"]
            assert (shown["draining"], shown["control_stream"]) == (True, True)
            later = await create(world, node="n0")
            assert await poll(node) == []
            await report(node, lease)
            heard(stream)
            await world.operator.post("/api/v1/nodes/n0/drain", {"draining": False})
            assert heard(stream) == [("drain", ""), ("task.ready", "")]
        assert [lease["id"] for lease in await poll(node)] == [later["id"]]
        shown = (await world.operator.get("/api/v1/nodes/n0")).json()["node"]
        assert (shown["draining"], shown["control_stream"]) == (False, False)
        actions = [event["action"] for event in await world.audit(node="n0")]
        assert [action for action in actions if action.endswith("drain")] == ["node.undrain", "node.drain"]


async def test_nodes_that_wait_are_told_when_the_fleet_may_run_again() -> None:
    async with control_plane() as world:
        one, two = await fleet(world, 2)
        await create(world, node="n0")
        with listening(world, one) as first, listening(world, two) as second:
            await world.operator.post("/api/v1/kill-switch", {"enabled": True})
            assert (heard(first), heard(second), await poll(one)) == ([], [], [])
            await world.operator.post("/api/v1/kill-switch", {"enabled": False})
            assert (heard(first), heard(second)) == ([("task.ready", "")], [])


POLICY = {
    "allow_exec": True,
    "default_level": "strict",
    "levels": ["strict", "network"],
    "interpreters": ["sh"],
    "max_timeout_sec": 10,
}


async def test_what_nodes_would_say_before_it_is_sent() -> None:
    async with control_plane() as world:
        open_one, _, shut = await fleet(world, 3, "web")
        await open_one.post("/api/agent/metrics", {"policy": POLICY})
        await shut.post("/api/agent/metrics", {"policy": {"allow_exec": False, "refusal": "exec is off"}})
        await world.operator.post("/api/v1/nodes/n2/drain", {"draining": True})
        order = {"tags": ["web"], "script": "# lattice: level=network\ntrue", "timeout_sec": 30}
        answer = await world.operator.post("/api/v1/tasks/preview", order)
        assert answer.raise_for_status().json()["nodes"] == [
            {
                "node_id": "n0",
                "verdict": "runs",
                "text": "runs at level network, for 10 s at most",
                "level": "network",
                "timeout_sec": 10,
                "output_limit": 65_536,
                "online": True,
            },
            {
                "node_id": "n1",
                "verdict": "unknown",
                "text": "the node has not told what it allows",
                "level": "",
                "timeout_sec": 30,
                "output_limit": 65_536,
                "online": False,
            },
            {
                "node_id": "n2",
                "verdict": "refused",
                "text": "exec is off (rule exec_disabled); the node is draining",
                "level": "network",
                "timeout_sec": 30,
                "output_limit": 65_536,
                "online": True,
            },
        ]
        assert (await world.operator.get("/api/v1/tasks")).json() == {"tasks": []}
        shown = (await world.operator.get("/api/v1/nodes/n0")).json()["node"]["policy"]
        assert shown["levels"] == ["strict", "network"]


async def test_a_policy_is_cut_to_size_when_it_comes() -> None:
    async with control_plane() as world:
        (node,) = await fleet(world, 1)
        digests = [f"{number:064x}" for number in range(1_000)]
        huge = {"allow_exec": True, "refusal": "\x1b" + "x" * 9_999, "levels": ["strict\x00"] * 99}
        sent = {"policy": huge | {"listed_scripts": digests, "interpreters": ["y" * 999]}}
        assert (await node.post("/api/agent/metrics", sent)).status_code == 200
        policy = (await world.operator.get("/api/v1/nodes/n0")).json()["node"]["policy"]
        assert policy["listed_scripts"] == digests[:256]
        assert policy["lists_cut"] is True
        assert (policy["refusal"], policy["levels"]) == ("x" * 511, ["strict"] * 16)
        assert policy["interpreters"] == ["y" * 96]


async def test_the_script_is_shown_to_who_asks_for_it() -> None:
    async with control_plane() as world:
        await fleet(world, 1)
        task = await create(world, node="n0", script="echo secret")
        assert "script" not in await world.show(task["id"])
        assert (await world.show(task["id"], script="1"))["script"] == "echo secret"


async def test_the_audit_is_searched_and_paged() -> None:
    async with control_plane() as world:
        await fleet(world, 3, "web")
        await world.operator.post("/api/v1/users", {"id": "alice"})

        async def ids(**query: str) -> list[int]:
            return [event["id"] for event in await world.audit(**query)]

        everything = await ids()
        assert len(everything) == 8
        assert await ids(q="NODE.TAGS") == await ids(action="node.tags") != []
        assert [event["target"] for event in await world.audit(q="AliCe")] == ["alice"]
        assert await ids(q="n1node") == []  # not across two fields
        assert await ids(q="%") == await ids(q="_") == []
        assert await ids(q="node.add", node="n1", limit="1")
        page = await ids(limit="3")
        assert page + await ids(limit="100", before=str(page[-1])) == everything
        too_long = await world.operator.get("/api/v1/audit", q="x" * 257)
        assert too_long.status_code == 400

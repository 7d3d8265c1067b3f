"""Traffic of two nodes on the accounts of users."""

from typing import Any

from tests.rigs.server_app import Caller, World, control_plane


async def counted(world: World, *node_ids: str) -> list[Caller]:
    nodes = [await world.node(node_id) for node_id in node_ids]
    for node_id in node_ids:
        (await world.operator.put(f"/api/v1/nodes/{node_id}/profile", {})).raise_for_status()
    return nodes


async def report(node: Caller, counters: dict[str, int] | None, uptime: int = 0, **fields: object) -> dict[str, Any]:
    snapshot = {"user_bytes": counters, "core_uptime_sec": uptime, **fields}
    answer = await node.post("/api/agent/proxy-usage", {"snapshot": snapshot})
    taken: dict[str, Any] = answer.raise_for_status().json()
    return taken


async def usage(world: World) -> dict[str, Any]:
    found: dict[str, Any] = (await world.operator.get("/api/v1/usage")).raise_for_status().json()
    return found


async def test_two_nodes_one_account() -> None:
    async with control_plane() as world:
        first, second = await counted(world, "n1", "n2")
        await world.operator.post("/api/v1/users", {"id": "alice", "name": "Alice", "quota_bytes": 1000})
        await report(first, {"alice": 100})
        await report(second, {"alice": 7})
        await report(first, {"alice": 900}, at="2026-02-01T00:00:00Z")
        assert (await report(second, {"alice": 207}))["alerts_fired"] == 1
        (alice,) = (await usage(world))["users"]
        assert (alice["used_bytes"], alice["status"]) == (1000, "over_quota")
        assert alice["per_node"] == {"n1": 800, "n2": 200}
        told = [event["reason"] for event in await world.audit(action="proxy.user.notify")]
        assert told == ["quota:1000:100", "quota:1000:80"]


async def test_last_seen_is_the_time_of_the_observation() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        await report(node, {"alice": 1}, at="2026-02-01T00:00:00Z")
        assert (await usage(world))["users"][0]["last_seen_at"] == "2026-02-01T00:00:00Z"


async def test_users_of_other_nodes_and_strangers_are_ignored() -> None:
    async with control_plane() as world:
        first, _ = await counted(world, "n1", "n2")
        await world.operator.post("/api/v1/users", {"id": "bob", "nodes": ["n2"]})
        await report(first, {})
        answer = await report(first, {"bob": 5, "stranger": 6})
        assert (answer["users_ignored"], answer["bytes_delta"]) == (2, 0)


async def test_trap_12_a_refused_report_changes_nothing() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        await report(node, {"alice": 100}, collector_source="file")
        before = await usage(world)
        bad = {"snapshot": {"user_bytes": {"alice": 900, "a@b": 1}, "collector_source": "other"}}
        refused = await node.post("/api/agent/proxy-usage", bad)
        assert refused.status_code == 400
        assert await usage(world) == before
        assert (await report(node, {"alice": 150}))["bytes_delta"] == 50
        assert len(await world.audit(action="proxy.usage.report")) == 2  # none for the refused one


async def test_a_collection_error_leaves_the_counters_alone() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        await report(node, {"alice": 100}, 50)
        await report(node, None, 0, collector_source="file", collector_status="error", collector_error="gone")
        (health,) = (await usage(world))["nodes"]
        assert (health["collector_source"], health["collector_status"], health["collector_error"]) == (
            "file",
            "error",
            "gone",
        )
        assert (await report(node, {"alice": 170}, 60))["bytes_delta"] == 70


async def test_counters_of_any_size_are_survived() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        await report(node, {"alice": 0}, 2**64 - 1)
        for _ in range(2):
            await report(node, {"alice": 2**63 - 1}, 2**64 - 1)
            await report(node, {"alice": 0}, 0)
        (alice,) = (await usage(world))["users"]
        assert (alice["used_bytes"], alice["per_node"]) == (2**63 - 1, {"n1": 2**63 - 1})


async def test_profiles_and_users_are_registered_once() -> None:
    async with control_plane() as world:
        await counted(world, "n1")
        assert (await world.operator.put("/api/v1/nodes/n1/profile", {})).status_code == 200
        assert (await world.operator.put("/api/v1/nodes/n9/profile", {})).status_code == 404
        assert (await world.operator.post("/api/v1/users", {"id": "alice"})).status_code == 200
        assert (await world.operator.post("/api/v1/users", {"id": "alice"})).status_code == 409
        unknown = await world.operator.post("/api/v1/users", {"id": "bob", "nodes": ["n9"]})
        assert (unknown.status_code, unknown.json()["error"]["message"]) == (404, "node n9 not found")
        assert len(await world.audit(action="profile.set")) == 1


async def test_a_disabled_or_expired_user_is_still_counted() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "off", "enabled": False})
        await world.operator.post("/api/v1/users", {"id": "old", "expires_at": "2020-01-01T00:00:00Z"})
        await report(node, {})
        assert (await report(node, {"off": 1, "old": 2}))["bytes_delta"] == 3
        assert [user["status"] for user in (await usage(world))["users"]] == ["disabled", "expired"]

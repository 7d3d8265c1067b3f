"""Ledger reports over the wire: taken once each, refused as a whole, and beside the snapshots of the base wire."""

from typing import Any

import httpx

from lattice_agent.wire.ext import USAGE_LEDGER
from lattice_agent.wire.usage import LEDGER_PATH
from tests.behaviour.test_server_usage import counted, report, usage
from tests.rigs.server_app import Caller, World, control_plane

ID = "0123456789abcdef" * 2
OTHER = "f" * 32


async def send(node: Caller, totals: dict[str, int], seq: int, ledger: str = ID, **fields: object) -> httpx.Response:
    return await node.post(LEDGER_PATH, {"ledger": {"id": ledger, "seq": seq, "totals": totals}, **fields})


async def take(node: Caller, totals: dict[str, int], seq: int, ledger: str = ID, **fields: object) -> dict[str, Any]:
    answer = await send(node, totals, seq, ledger, **fields)
    taken: dict[str, Any] = answer.raise_for_status().json()
    return taken


async def used(world: World, user: str = "alice") -> int:
    found: int = (await world.operator.get(f"/api/v1/users/{user}")).raise_for_status().json()["user"]["used_bytes"]
    return found


async def test_the_feature_is_announced_and_agents_of_the_base_wire_are_billed_as_ever() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        announced = (await node.get("/api/agent/config")).json()["lattice_ext"]
        assert USAGE_LEDGER in announced["features"]
        await world.operator.post("/api/v1/users", {"id": "alice"})
        await report(node, {"alice": 100})
        assert (await report(node, {"alice": 150}))["bytes_delta"] == 50


async def test_a_report_counts_once() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "alice", "quota_bytes": 200})
        first = await take(node, {"alice": 170, "stranger": 9}, 3, collector_source="multi", collector_status="ok")
        assert first == {
            "bytes_delta": 170,
            "users_updated": 1,
            "users_ignored": 1,
            "alerts_fired": 1,
            "collector_source": "multi",
            "collector_status": "ok",
        }
        for seq in (3, 2, 0):
            again = await take(node, {"alice": 900, "stranger": 9}, seq, collector_error="old news")
            assert (again["bytes_delta"], again["users_updated"], again["alerts_fired"]) == (0, 0, 0)
        assert await used(world) == 170
        (health,) = (await usage(world))["nodes"]
        assert (health["collector_source"], health["collector_status"]) == ("multi", "ok")
        events = await world.audit(action="proxy.usage.report")
        assert [event["reason"] for event in events] == [
            *(f"seq {seq} was counted before" for seq in (0, 2, 3)),
            "",
        ]


async def test_ledgers_and_nodes_count_apart() -> None:
    async with control_plane() as world:
        first, second = await counted(world, "n1", "n2")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        await take(first, {"alice": 10}, 5)
        await take(second, {"alice": 10}, 5)
        await take(first, {"alice": 10}, 1, OTHER)
        assert await used(world) == 30
        await take(first, {"alice": 11}, 6)  # an older ledger goes on, as after a rescued state
        assert await used(world) == 31


async def test_who_becomes_a_user_is_not_billed_the_past() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await take(node, {"alice": 500}, 1)
        await world.operator.post("/api/v1/users", {"id": "alice"})
        assert (await take(node, {"alice": 520}, 2))["bytes_delta"] == 20


async def test_traffic_of_a_time_without_eligibility_is_never_billed() -> None:
    async with control_plane() as world:
        node, _ = await counted(world, "n1", "n2")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        await take(node, {"alice": 100}, 1)
        await world.operator.post("/api/v1/users/alice", {"nodes": ["n2"]})
        assert (await take(node, {"alice": 400}, 2))["users_ignored"] == 1
        await world.operator.post("/api/v1/users/alice", {"nodes": []})
        assert (await take(node, {"alice": 450}, 3))["bytes_delta"] == 50
        assert await used(world) == 150


async def test_disabled_and_expired_users_are_still_counted() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "off", "enabled": False})
        await world.operator.post("/api/v1/users", {"id": "old", "expires_at": "2020-01-01T00:00:00Z"})
        answer = await take(node, {"off": 1, "old": 2}, 1)
        assert (answer["bytes_delta"], answer["alerts_fired"]) == (3, 1)  # expired
        assert (await take(node, {"off": 1, "old": 2}, 2))["alerts_fired"] == 0


async def test_a_reset_forgives_and_is_not_billed_again() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "alice", "quota_bytes": 100})
        assert (await take(node, {"alice": 100}, 1))["alerts_fired"] == 2
        (await world.operator.post("/api/v1/users/alice/reset", {})).raise_for_status()
        assert await used(world) == 0
        assert (await take(node, {"alice": 100}, 2))["bytes_delta"] == 0
        assert (await take(node, {"alice": 180}, 3))["alerts_fired"] == 1
        (event,) = await world.audit(action="user.reset")
        assert event["detail"] == {"used_bytes": 100}


async def test_an_error_may_come_alone_or_beside_totals() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        alone = await node.post(LEDGER_PATH, {"collector_source": "multi", "collector_error": "xray: no answer"})
        assert alone.json()["collector_status"] == "error"
        beside = await take(node, {"alice": 5}, 1, collector_source="multi", collector_error="xray: no answer")
        assert beside["bytes_delta"] == 5
        (health,) = (await usage(world))["nodes"]
        assert (health["collector_status"], health["collector_error"]) == ("error", "xray: no answer")


async def test_a_refused_report_changes_nothing() -> None:
    async with control_plane() as world:
        stranger = await world.node("n9")
        unknown = await send(stranger, {"alice": 1}, 1)
        assert (unknown.status_code, unknown.json()["error"]["message"]) == (400, "proxy node profile n9 not found")
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        await take(node, {"alice": 100}, 1)
        before = await usage(world)
        for wrong in (
            await send(node, {"alice": 900, "a@b": 1}, 2),
            await send(node, {"alice": 2**53 + 1}, 2),
            await send(node, {"alice": -1}, 2),
            await send(node, {"alice": 1.5}, 2),  # type: ignore[dict-item]
            await send(node, {"alice": 900}, 2, "not hex"),
            await send(node, {"alice": 900}, -2),
            await send(node, {"alice": 900}, 2**64 - 1),
            await send(node, {f"u{n}": 1 for n in range(4_097)}, 2),
            await send(node, {"alice": 900}, 2, collector_source="no good!"),
        ):
            assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "bad_request")
        assert await usage(world) == before
        assert (await take(node, {"alice": 150}, 2))["bytes_delta"] == 50


async def test_last_seen_is_the_time_of_the_observation_and_the_booking_that_of_the_server() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        await take(node, {"alice": 7}, 1, at="2025-12-31T23:59:59Z")
        assert (await usage(world))["users"][0]["last_seen_at"] == "2025-12-31T23:59:59Z"
        booked = (await world.operator.get("/api/v1/usage/bookings", by="month")).json()["bookings"]
        assert booked == [{"start": "2026-03-01T00:00:00Z", "user_id": "alice", "node_id": "n1", "bytes": 7}]

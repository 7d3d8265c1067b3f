"""Users as operators keep them: quota by billing month, expiry, alerts, and what was booked."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from server_stub.sweep import sweep_hourly
from tests.behaviour.test_server_usage import counted, report
from tests.rigs.server_app import World, control_plane

DAY = 86_400.0


async def change(world: World, **fields: object) -> dict[str, Any]:
    answer = await world.operator.post("/api/v1/users/alice", fields)
    user: dict[str, Any] = answer.raise_for_status().json()["user"]
    return user


async def show(world: World) -> dict[str, Any]:
    answer = await world.operator.get("/api/v1/users/alice")
    user: dict[str, Any] = answer.raise_for_status().json()["user"]
    return user


async def notices(world: World) -> list[str]:
    """Oldest first."""
    return [event["reason"] for event in reversed(await world.audit(action="proxy.user.notify"))]


async def bookings(world: World, **query: str) -> list[tuple[str, str, int]]:
    answer = await world.operator.get("/api/v1/usage/bookings", **query)
    found = answer.raise_for_status().json()["bookings"]
    return [(one["start"], one["node_id"], one["bytes"]) for one in found]


async def test_a_change_sets_what_is_given_and_keeps_the_rest() -> None:
    async with control_plane() as world:
        await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "alice", "quota_bytes": 5, "nodes": ["n1"]})
        user = await change(world, enabled=False, expires_at="2026-12-31T02:00:00+02:00")
        assert (user["quota_bytes"], user["nodes"], user["status"]) == (5, ["n1"], "disabled")
        assert user["expires_at"] == "2026-12-31T00:00:00Z"
        user = await change(world, expires_at=None, nodes=[], enabled=True)
        assert (user["expires_at"], user["nodes"], user["status"], user["quota_bytes"]) == (None, [], "active", 5)
        assert user == await show(world)
        newest, before = await world.audit(action="user.set")
        assert before["detail"] == {"enabled": [True, False], "expires_at": [None, "2026-12-31T00:00:00Z"]}
        assert newest["detail"]["nodes"] == [["n1"], []]


async def test_the_same_again_is_no_change() -> None:
    async with control_plane() as world:
        await world.operator.post("/api/v1/users", {"id": "alice", "quota_bytes": 5})
        await change(world, quota_bytes=5, enabled=True, reset_day=0)
        await change(world)
        assert await world.audit(action="user.set") == []


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"reset_day": 29}, 400, "reset_day: Input should be less than or equal to 28"),
        ({"reset_day": -1}, 400, "reset_day: Input should be greater than or equal to 0"),
        ({"nodes": ["n9"]}, 404, "node n9 not found"),
        ({"quota": 5}, 400, "quota: unknown field"),
        ({"used_bytes": 0}, 400, "used_bytes: unknown field"),
    ],
)
async def test_a_wrong_change_is_named_and_changes_nothing(
    fields: dict[str, object], status: int, message: str
) -> None:
    async with control_plane() as world:
        await world.operator.post("/api/v1/users", {"id": "alice"})
        before = await show(world)
        refused = await world.operator.post("/api/v1/users/alice", {"enabled": False, **fields})
        assert (refused.status_code, refused.json()["error"]["message"]) == (status, message)
        assert await show(world) == before
        assert await world.audit(action="user.set") == []


async def test_who_does_not_exist_is_404() -> None:
    async with control_plane() as world:
        for answer in (
            await world.operator.get("/api/v1/users/nobody"),
            await world.operator.post("/api/v1/users/nobody", {}),
            await world.operator.post("/api/v1/users/nobody/reset", {}),
            await world.operator.get("/api/v1/usage", user="nobody"),
            await world.operator.get("/api/v1/usage/bookings", by="day", user="nobody"),
        ):
            assert (answer.status_code, answer.json()["error"]["message"]) == (404, "user nobody not found")


async def test_only_operators_see_and_change_users() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        assert (await node.get("/api/v1/users")).status_code == 401
        assert (await node.post("/api/v1/users/alice/reset", {})).status_code == 401
        assert [user["id"] for user in (await world.operator.get("/api/v1/users")).json()["users"]] == ["alice"]


async def test_a_lower_quota_tells_at_once_that_it_is_reached() -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        await report(node, {})
        await report(node, {"alice": 90})
        assert (await change(world, quota_bytes=100))["status"] == "active"
        assert (await change(world, quota_bytes=90))["status"] == "over_quota"
        await change(world, quota_bytes=100)
        assert await notices(world) == ["quota:100:80", "quota:90:80", "quota:90:100", "quota:100:80"]


async def test_the_quota_of_a_billing_month(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        (node,) = await counted(world, "n1")
        order = {"id": "alice", "quota_bytes": 100, "reset_day": 15}
        user = (await world.operator.post("/api/v1/users", order)).json()["user"]
        assert user["period_start"] == "2026-02-15T00:00:00Z"
        await report(node, {})
        await report(node, {"alice": 100})
        assert (await show(world))["status"] == "over_quota"
        await trio.sleep(14 * DAY)  # 15 March, noon
        user = await show(world)
        assert (user["status"], user["used_bytes"], user["period_start"]) == ("active", 0, "2026-03-15T00:00:00Z")
        assert (await report(node, {"alice": 185}))["alerts_fired"] == 1
        user = await show(world)
        assert (user["used_bytes"], user["per_node"]) == (85, {"n1": 185})
        assert await notices(world) == [
            "quota:100:80:2026-02-15",
            "quota:100:100:2026-02-15",
            "quota:100:80:2026-03-15",
        ]
        months = [("2026-02-15T00:00:00Z", "n1", 100), ("2026-03-15T00:00:00Z", "n1", 85)]
        assert await bookings(world, by="month") == months


async def test_expiry_is_told_of_without_any_report(autojump_clock: MockClock) -> None:
    async with control_plane() as world, trio.open_nursery() as nursery:
        await world.operator.post("/api/v1/users", {"id": "alice", "expires_at": "2026-03-10T00:30:00Z"})
        await world.operator.post(
            "/api/v1/users", {"id": "off", "expires_at": "2026-03-10T00:30:00Z", "enabled": False}
        )
        nursery.start_soon(sweep_hourly, world.app.state.plane)
        await trio.sleep(DAY)  # eight days and a half before the end
        assert await notices(world) == []
        await trio.sleep(9 * DAY)
        events = await world.audit(action="proxy.user.notify")
        assert [(event["time"][:13], event["target"], event["reason"]) for event in reversed(events)] == [
            ("2026-03-03T01", "alice", "expiry:2026-03-10:7"),
            ("2026-03-09T01", "alice", "expiry:2026-03-10:1"),
            ("2026-03-10T01", "alice", "expiry:2026-03-10:expired"),
        ]
        nursery.cancel_scope.cancel()


async def test_a_database_that_fails_is_looked_at_again_an_hour_later(autojump_clock: MockClock) -> None:
    async with control_plane() as world, trio.open_nursery() as nursery:
        await world.operator.post("/api/v1/users", {"id": "alice", "expires_at": "2026-03-01T00:00:00Z"})
        world.store._connection.execute("PRAGMA query_only = ON")
        nursery.start_soon(sweep_hourly, world.app.state.plane)
        await trio.sleep(3_599)
        world.store._connection.execute("PRAGMA query_only = OFF")
        assert await notices(world) == []
        await trio.sleep(2)
        assert await notices(world) == ["expiry:2026-03-01:expired"]
        nursery.cancel_scope.cancel()


async def test_bookings_by_hour_day_and_month(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        first, second = await counted(world, "n1", "n2")
        for user in ("alice", "bob"):
            await world.operator.post("/api/v1/users", {"id": user})
        for node in (first, second):
            await report(node, {})
        await report(first, {"alice": 1, "bob": 50})
        await trio.sleep(3_600)
        await report(first, {"alice": 3, "bob": 50})
        await report(second, {"alice": 10})
        await trio.sleep(DAY - 3_600)
        await report(second, {"alice": 110})
        alice = {"user": "alice", "from": "2026-03-01T00:00:00Z"}
        assert await bookings(world, by="hour", **alice) == [
            ("2026-03-01T12:00:00Z", "n1", 1),
            ("2026-03-01T13:00:00Z", "n1", 2),
            ("2026-03-01T13:00:00Z", "n2", 10),
            ("2026-03-02T12:00:00Z", "n2", 100),
        ]
        assert await bookings(world, by="day", **alice) == [
            ("2026-03-01T00:00:00Z", "n1", 3),
            ("2026-03-01T00:00:00Z", "n2", 10),
            ("2026-03-02T00:00:00Z", "n2", 100),
        ]
        assert await bookings(world, by="month", user="alice", node="n2") == [("2026-03-01T00:00:00Z", "n2", 110)]
        assert await bookings(world, by="day", to="2026-03-02T00:00:00+00:00", node="n1", **alice) == [
            ("2026-03-01T00:00:00Z", "n1", 3)
        ]
        # Without from: the last day of hours, so the first hour is still shown.
        assert len(await bookings(world, by="hour", user="alice")) == 4


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "by: Field required"),
        ({"by": "week"}, "by: Input should be 'hour', 'day' or 'month'"),
        ({"by": "day", "from": "yesterday"}, "from: Value error, time must be RFC 3339 with an offset"),
        ({"by": "day", "since": "2026-03-01T00:00:00Z"}, "since: unknown field"),
    ],
)
async def test_a_wrong_query_is_named(query: dict[str, str], message: str) -> None:
    async with control_plane() as world:
        refused = await world.operator.get("/api/v1/usage/bookings", **query)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"].startswith(message)


async def test_usage_of_one_user_or_one_node() -> None:
    async with control_plane() as world:
        first, second = await counted(world, "n1", "n2")
        await world.operator.post("/api/v1/users", {"id": "alice"})
        await world.operator.post("/api/v1/users", {"id": "bob", "nodes": ["n2"]})
        for node in (first, second):
            await report(node, {})
            await report(node, {"alice": 5, "bob": 5})
        one = (await world.operator.get("/api/v1/usage", user="bob")).json()
        assert ([user["id"] for user in one["users"]], len(one["nodes"])) == (["bob"], 2)
        here = (await world.operator.get("/api/v1/usage", node="n1")).json()
        assert [(user["id"], user["per_node"]) for user in here["users"]] == [("alice", {"n1": 5})]
        assert [profile["node_id"] for profile in here["nodes"]] == ["n1"]

"""Who gets in, how often, and what is written down about those who don't."""

import re
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from server_stub.bootstrap import create_operator_token
from server_stub.config import Limits
from tests.rigs.server_app import SOURCE, Caller, control_plane, websocket

HEARTBEAT = "/api/agent/metrics"


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_tokens_are_kept_as_digests_only() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", node.token)
        assert re.fullmatch(r"lop_[A-Za-z0-9_-]{43}", world.operator.token)
        dump = "\n".join(world.store._connection.iterdump())
        assert node.token not in dump
        assert world.operator.token not in dump


@pytest.mark.parametrize("header", ["bearer {}", "Bearer{}", "{}", "Basic {}", "Bearer ", "Bearer {}x", ""])
async def test_only_the_exact_scheme_and_token(header: str) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        headers = {"authorization": header.format(node.token)} if header else {}
        answer = await world.client.post(HEARTBEAT, json={"node_id": "n1"}, headers=headers)
        assert code_of(answer) == (401, "invalid_node_token")
        padded = {"authorization": f"Bearer   {node.token} "}
        assert (await world.client.post(HEARTBEAT, json={"node_id": "n1"}, headers=padded)).status_code == 200


async def test_a_token_does_for_its_own_node_only() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        await world.node("n2")
        for other in ("n2", "n9", ""):
            assert (await Caller(world.client, node.token).post(HEARTBEAT, {"node_id": other})).status_code == 401
            assert (await Caller(world.client, node.token).get("/api/agent/tasks", node_id=other)).status_code == 401
        assert (await Caller(world.client, node.token).get("/api/agent/tasks")).status_code == 401


async def test_operators_and_nodes_are_not_the_same() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        assert code_of(await Caller(world.client, node.token).get("/api/v1/nodes")) == (401, "unauthorized")
        assert (await Caller(world.client, world.operator.token, "n1").post(HEARTBEAT, {})).status_code == 401


async def test_a_caller_without_a_token_is_turned_away_before_its_body_is_read() -> None:
    async def never() -> Any:
        raise AssertionError("the body was read")
        yield b""

    async with control_plane() as world:
        answer = await world.client.post(HEARTBEAT, content=never())
        assert answer.status_code == 401


async def test_weak_point_07_a_node_has_a_rate_of_its_own(autojump_clock: MockClock) -> None:
    async with control_plane(Limits(node_rate=1.0, node_burst=3)) as world:
        first, second = await world.node("n1"), await world.node("n2")
        statuses = [(await first.post(HEARTBEAT, {})).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        limited = await first.post(HEARTBEAT, {})
        assert limited.json()["error"]["message"] == "rate limited"
        assert "retry-after" not in limited.headers
        assert (await second.post(HEARTBEAT, {})).status_code == 200
        await trio.sleep(1)
        assert (await first.post(HEARTBEAT, {})).status_code == 200


async def test_an_address_without_a_token_is_limited_and_its_nodes_are_not(autojump_clock: MockClock) -> None:
    async with control_plane(Limits(address_rate=1.0, address_burst=2)) as world:
        node = await world.node("n1")
        stranger = Caller(world.client, "x" * 43, "n1")
        statuses = [(await stranger.post(HEARTBEAT, {})).status_code for _ in range(4)]
        assert statuses == [401, 401, 429, 429]
        assert (await Caller(world.client, "").get("/api/v1/nodes")).status_code == 429
        assert (await Caller(world.client, node.token).post(HEARTBEAT, {"node_id": "n2"})).status_code == 429
        assert (await node.post(HEARTBEAT, {})).status_code == 200
        await trio.sleep(1)
        assert (await stranger.post(HEARTBEAT, {})).status_code == 401


async def test_denials_are_audited_at_a_bounded_rate(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        stranger = Caller(world.client, "x" * 43, "n1")
        for _ in range(10):
            await stranger.post(HEARTBEAT, {})
        (event,) = await world.audit(action="node.auth")
        assert (event["actor"], event["target"], event["decision"]) == ("anonymous", SOURCE, "deny")
        await trio.sleep(61)
        await stranger.post(HEARTBEAT, {})
        assert len(await world.audit(action="node.auth")) == 2


async def test_disabling_and_rotation_take_effect_at_once() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        disabled = await world.operator.post("/api/v1/nodes/n1/disable", {"disabled": True})
        assert disabled.json()["node"]["disabled"] is True
        assert code_of(await node.post(HEARTBEAT, {})) == (401, "invalid_node_token")
        await world.operator.post("/api/v1/nodes/n1/disable", {"disabled": False})
        assert (await node.post(HEARTBEAT, {})).status_code == 200
        token = (await world.operator.post("/api/v1/nodes/n1/rotate", {})).json()["token"]
        assert (await node.post(HEARTBEAT, {})).status_code == 401
        assert (await Caller(world.client, token, "n1").post(HEARTBEAT, {})).status_code == 200
        assert (await world.operator.post("/api/v1/nodes/n9/rotate", {})).status_code == 404
        actions = [event["action"] for event in await world.audit(node="n1")]
        assert actions == ["node.rotate", "node.enable", "node.disable", "node.add"]


async def test_operators_come_and_go_and_one_stays() -> None:
    async with control_plane() as world:
        added = await world.operator.post("/api/v1/operators", {"name": "second"})
        second = Caller(world.client, added.json()["token"])
        assert (await second.get("/api/v1/nodes")).status_code == 200
        assert (await world.operator.post("/api/v1/operators", {"name": "second"})).status_code == 409
        await second.post("/api/v1/nodes", {"id": "n1"})
        assert (await world.audit(action="node.add"))[0]["actor"] == "second"
        assert (await world.operator.post("/api/v1/operators/second/revoke", {})).status_code == 200
        assert code_of(await second.get("/api/v1/nodes")) == (401, "unauthorized")
        assert (await world.operator.post("/api/v1/operators/second/revoke", {})).status_code == 404
        assert (await world.operator.post("/api/v1/operators/test-0/revoke", {})).status_code == 409
        listed = (await world.operator.get("/api/v1/operators")).json()["operators"]
        assert [(o["name"], o["revoked_at"] is None) for o in listed] == [("second", False), ("test-0", True)]
        create_operator_token(world.store, "third")


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/api/v1/nodes", {"id": "n1", "role": "x"}, "role: unknown field"),
        ("/api/v1/nodes", {"id": "a b"}, "id must be 1 to 128 characters"),
        ("/api/v1/nodes", {}, "id: Field required"),
        ("/api/v1/users", {"id": "u", "quota_bytes": -1}, "quota_bytes: Input should be greater than or equal to 0"),
        ("/api/v1/users", {"id": "u", "quota_bytes": 2**63}, "quota_bytes: Input should be less than or equal to"),
        ("/api/v1/users", {"id": "u", "expires_at": "2026-01-02"}, "expires_at: Value error, time must be RFC 3339"),
        ("/api/v1/kill-switch", {"enabled": 1}, "enabled: Input should be a valid boolean"),
        ("/api/v1/operators", {"name": ""}, "name must be 1 to 128 characters"),
    ],
)
async def test_bad_orders_are_named(path: str, body: dict[str, Any], text: str) -> None:
    async with control_plane() as world:
        answer = await world.operator.post(path, body)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith(text)


async def test_operator_bodies_are_bounded_and_must_be_json() -> None:
    async with control_plane() as world:
        headers = {"authorization": f"Bearer {world.operator.token}"}
        for content in (b"{" + b" " * 1_048_576 + b"}", b"{", b"[]", b"{}{}"):
            answer = await world.client.post("/api/v1/nodes", content=content, headers=headers)
            assert answer.status_code == 400


async def test_unknown_paths_and_methods() -> None:
    async with control_plane() as world:
        for path in ("/api/none", "/api/v1/nodes/", "/api/agent/hello/", "/none"):
            answer = await world.client.get(path)
            assert (answer.status_code, answer.text) == (404, "404 page not found\n")
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            assert answer.headers["x-frame-options"] == "DENY"
        answer = await world.client.delete("/api/v1/nodes")
        assert code_of(answer) == (405, "method_not_allowed")


async def test_control_streams_are_bounded_for_each_node() -> None:
    async with control_plane(Limits(control_streams_per_node=1)) as world:
        node, other = await world.node("n1"), await world.node("n2")
        path = "/api/agent/control/stream"

        async def ask(caller: Caller, talk: Any = None) -> int:
            headers = {"authorization": f"Bearer {caller.token}"}
            return (await websocket(world.app, path, f"node_id={caller.node_id}", headers, talk)).status_code

        async def while_open() -> None:
            assert await ask(node) == 429
            assert await ask(other) == 101

        assert await ask(node, while_open) == 101
        assert await ask(node) == 101
        assert (await node.get(path)).status_code == 400

"""What the control plane knows of its nodes: presence, facts, configuration."""

from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from server_stub.config import Limits
from server_stub.times import text
from tests.rigs.server_app import Caller, TrioClock, World, control_plane

HELLO, HEARTBEAT = "/api/agent/hello", "/api/agent/metrics"


async def shown(world: World, node_id: str = "n1") -> dict[str, Any]:
    node: dict[str, Any] = (await world.operator.get(f"/api/v1/nodes/{node_id}")).raise_for_status().json()["node"]
    return node


async def test_trap_04_online_for_ninety_seconds_after_hello_or_heartbeat(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        assert (await shown(world))["online"] is False
        for path in (HELLO, HEARTBEAT):
            await node.post(path, {})
            await trio.sleep(90)
            assert (await shown(world))["online"] is True
            await trio.sleep(1)
            await node.get("/api/agent/tasks")  # no heartbeat
            assert (await shown(world))["online"] is False


async def test_what_a_node_says_is_shown() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        await node.post(HELLO, {"version": "1.2", "host_facts": {"hostname": "box"}, "wireguard_ip": "10.9.0.1"})
        await node.post(
            HEARTBEAT,
            {"metrics": {"load1": 0.5}, "agent_runtime": {"allow_exec": True}, "internal_ip": "10.0.0.5"},
        )
        view = await shown(world)
        assert (view["agent_version"], view["host_facts"]["hostname"], view["metrics"]["load1"]) == ("1.2", "box", 0.5)
        assert view["agent_runtime"]["allow_exec"] is True
        assert view["metrics"]["collected_at"] is None
        assert (view["addresses"]["wireguard_ip"], view["addresses"]["internal_ip"]) == ("10.9.0.1", "10.0.0.5")
        await node.post(HELLO, {})
        view = await shown(world)
        assert (view["agent_version"], view["host_facts"]["hostname"]) == ("1.2", "box")
        assert view["addresses"]["wireguard_ip"] == ""
        await node.post(HEARTBEAT, {})
        assert (await shown(world))["agent_runtime"] is None
        assert (await world.operator.get("/api/v1/nodes")).json()["nodes"] == [await shown(world)]


async def test_weak_point_22_a_refused_address_refuses_the_whole_call() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        refused = await node.post(HEARTBEAT, {"public_ip": "100.64.0.1", "version": "9"})
        assert refused.json()["error"]["message"] == "public_ip is reserved for special use"
        view = await shown(world)
        assert (view["online"], view["agent_version"]) == (False, "")


async def test_nodes_are_named_once_and_bounded() -> None:
    async with control_plane(Limits(nodes=1)) as world:
        await world.node("n1")
        assert (await world.operator.post("/api/v1/nodes", {"id": "n1"})).json()["error"]["message"] == "node n1 exists"
        assert (await world.operator.post("/api/v1/nodes", {"id": "n2"})).status_code == 409
        assert (await world.operator.get("/api/v1/nodes/n2")).status_code == 404


async def config(node: Caller) -> dict[str, Any]:
    answer: dict[str, Any] = (await node.get("/api/agent/config")).raise_for_status().json()
    return answer


async def test_hello_and_config_announce_the_extensions() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        features = [
            "results.batch",
            "tasks.batch",
            "facts.inventory",
            "metrics.detail",
            "usage.ledger",
            "control.tasks",
            "results.detail",
            "policy.summary",
        ]
        announced = {"v": 1, "features": features}
        assert (await node.post(HELLO, {})).json() == {"ok": True, "lattice_ext": announced}
        assert (await config(node))["lattice_ext"] == announced
        assert (await node.post(HEARTBEAT, {})).json() == {"ok": True}


INVENTORY = "/api/agent/inventory"


async def test_the_inventory_is_kept_whole_and_replaced_by_the_next() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        path = "/api/v1/nodes/n1/inventory"
        assert (await world.operator.get(path)).json() == {"inventory": None, "received_at": None}
        first = {"cpu": {"model": "Ex\u202eample\n", "cores": 4}, "disks": [{"name": "sda", "rotational": False}]}
        assert (await node.post(INVENTORY, {"inventory": first})).json() == {"ok": True}
        told = (await world.operator.get(path)).json()
        assert told["inventory"] == {
            "collected_at": None,
            "cpu": {"model": "Example", "cores": 4},
            "disks": [{"name": "sda", "rotational": False}],
        }
        assert told["received_at"] is not None
        await node.post(INVENTORY, {"inventory": {"memory": {"total_bytes": 5}}})
        assert (await world.operator.get(path)).json()["inventory"] == {
            "collected_at": None,
            "memory": {"total_bytes": 5},
        }
        assert (await world.operator.get("/api/v1/nodes/n2/inventory")).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu": {"cores": -1}},
        {"cpu": {"cores": 1.5}},
        {"cpu": []},
        {"disks": [{}] * 257},
        {"gaps": [{"family": 5}]},
        {"cgroup": {"cpu_quota_cores": -0.5}},
    ],
)
async def test_an_inventory_that_is_none_is_refused_and_keeps_the_one_before(wrong: dict[str, Any]) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        await node.post(INVENTORY, {"inventory": {"memory": {"total_bytes": 5}}})
        assert (await node.post(INVENTORY, {"inventory": wrong})).status_code == 400
        told = (await world.operator.get("/api/v1/nodes/n1/inventory")).json()
        assert told["inventory"]["memory"] == {"total_bytes": 5}


async def test_an_inventory_needs_the_node_s_token() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        assert (await replace(node, token="x" * 43).post(INVENTORY, {"inventory": {}})).status_code == 401
        assert (await node.get("/api/v1/nodes/n1/inventory")).status_code == 401


async def test_details_of_a_heartbeat_are_shown_until_one_comes_without() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        detail = {"kernel": {"processes": 7}, "disks": [{"name": "s\x1bda", "busy": 12.5}]}
        await node.post(HEARTBEAT, {"metrics": {"load1": 0.5}, "metrics_detail": detail})
        assert (await shown(world))["metrics_detail"] == {
            "kernel": {"processes": 7},
            "disks": [{"name": "sda", "busy": 12.5}],
        }
        await node.post(HELLO, {})
        assert (await shown(world))["metrics_detail"] is not None
        await node.post(HEARTBEAT, {"metrics": {"load1": 0.5}})
        assert (await shown(world))["metrics_detail"] is None


async def test_overrides_come_and_go(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        plain = await config(node)
        assert plain["debug"] == {
            "enabled": False,
            "collect": False,
            "max_line_bytes": 4096,
            "max_batch_lines": 100,
        }
        assert "ip_config" not in plain
        order = {"debug": True, "ip_config": {"mode": "resolver", "resolvers": ["https://ip.example"]}}
        assert (await world.operator.put("/api/v1/nodes/n1/config", order)).status_code == 200
        changed = await config(node)
        assert changed["debug"]["enabled"] is True
        assert changed["ip_config"]["updated_at"] == text(TrioClock().now())
        assert changed["ip_config"]["resolvers"] == ["https://ip.example"]
        await world.operator.put("/api/v1/nodes/n1/config", {})
        assert await config(node) == plain


async def test_an_address_script_is_withheld_by_the_kill_switch() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        order = {"ip_config": {"mode": "script", "script": " echo 9.9.9.9\n"}}
        assert (await world.operator.put("/api/v1/nodes/n1/config", order)).status_code == 200
        sent = (await config(node))["ip_config"]
        assert (sent["script"], len(sent["script_sha256"])) == ("echo 9.9.9.9", 16)
        await world.operator.post("/api/v1/kill-switch", {"enabled": True})
        assert "ip_config" not in await config(node)


@pytest.mark.parametrize(
    ("ip_config", "text"),
    [
        ({"mode": "magic"}, "ip_config.mode: Input should be 'auto', 'static', 'resolver' or 'script'"),
        ({"mode": "script"}, "ip_config.script: needed with mode script, and only then"),
        ({"mode": "static", "script": "x"}, "ip_config.script: needed with mode script, and only then"),
    ],
)
async def test_overrides_are_checked(ip_config: dict[str, Any], text: str) -> None:
    async with control_plane() as world:
        await world.node("n1")
        answer = await world.operator.put("/api/v1/nodes/n1/config", {"ip_config": ip_config})
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, text)


async def test_readiness_is_that_of_the_store() -> None:
    async with control_plane() as world:
        assert (await world.client.get("/readyz")).status_code == 200
        world.store.close()
        answer = await world.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"status": "unavailable", "checks": {"store": "failed", "audit_wal": "failed"}}


async def test_events_are_audited() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        login = {"kind": "ssh_login", "user": "root\x1b[2J", "address": "198.51.100.7", "method": "publickey"}
        assert (await node.post("/api/agent/event", login)).json() == {"ok": True}
        (event,) = await world.audit(action="ssh.login")
        assert event["detail"] == {**login, "user": "root[2J"}


async def test_what_has_no_feature_yet_is_validated() -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        for path in ("monitor-result", "logs", "debug-events", "singbox-inventory", "event"):
            assert (await node.post(f"/api/agent/{path}", {"node_id": 5})).status_code == 400
        mismatch = {"batch": {"node_id": "n2", "lines": ["x"]}}
        assert (await node.post("/api/agent/debug-events", mismatch)).status_code == 400
        session = await node.post("/api/agent/terminal/sessions/none/events", {"status": "open"})
        assert session.json()["error"]["message"] == "terminal session not found"
        large = {"batch": {"source_id": "s", "lines": ["x" * 1_000] * 2_000}}
        assert (await node.post("/api/agent/logs", large)).status_code == 403  # read: its limit is 16 MiB

"""The history of a node's metrics, from heartbeats to the API."""

import pytest
import trio
from trio.testing import MockClock

from server_stub.rules.metric_history import MOST_ROWS
from tests.rigs.server_app import Caller, World, control_plane

HEARTBEAT = "/api/agent/metrics"


async def beat(node: Caller, load: float, **more: float) -> None:
    metrics = {"load1": load, "cpu_percent": 10.0, "memory_total": 4096, "disk_total": 8192, **more}
    (await node.post(HEARTBEAT, {"metrics": metrics})).raise_for_status()


async def loads(world: World, window: str) -> list[tuple[str, float]]:
    answer = (await world.operator.get("/api/v1/nodes/n1/metrics", range=window)).raise_for_status().json()
    return [(point["time"][8:16], point["load1"]) for point in answer["points"]]


def rows(world: World, node_id: str) -> int:
    query = "SELECT count(*) FROM metric WHERE node_id = ?"
    return int(world.store._connection.execute(query, (node_id,)).fetchone()[0])


async def test_means_by_step_and_gaps_that_stay(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        for load in (1.0, 2.0):
            await beat(node, load)
            await trio.sleep(20)
        await trio.sleep(600)
        await beat(node, 6.0)
        assert await loads(world, "1h") == [("01T12:00", 1.5), ("01T12:10", 6.0)]
        assert await loads(world, "24h") == [("01T12:00", 1.5), ("01T12:10", 6.0)]
        assert await loads(world, "7d") == [("01T12:00", 3.0)]


async def test_the_answer_of_the_api(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        await beat(node, 0.123456, memory_used=1024, disk_used=2048, net_rx_speed=10.4, net_tx_speed=20.6)
        answer = (await world.operator.get("/api/v1/nodes/n1/metrics")).json()
        [point] = answer.pop("points")
        assert answer == {"step_s": 60, "memory_total": 4096, "disk_total": 8192}
        assert point == {
            "time": "2026-03-01T12:00:00Z",
            "cpu_percent": 10.0,
            "load1": 0.123,
            "memory_used": 1024,
            "disk_used": 2048,
            "rx_speed": 10,
            "tx_speed": 21,
        }


async def test_what_cannot_be_asked_for() -> None:
    async with control_plane() as world:
        await world.node("n1")
        assert (await world.operator.get("/api/v1/nodes/n1/metrics", range="1y")).status_code == 400
        assert (await world.operator.get("/api/v1/nodes/n9/metrics")).status_code == 404
        assert (await Caller(world.client, "").get("/api/v1/nodes/n1/metrics")).status_code == 401


@pytest.mark.long
async def test_the_rows_of_a_node_are_bounded(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        node, idle = await world.node("n1"), await world.node("n2")
        await beat(idle, 1.0)
        for _ in range(9 * 24 * 12):
            await beat(node, 1.0)
            await trio.sleep(300)
        for _ in range(121):
            await beat(node, 1.0)
            await trio.sleep(60)
        assert rows(world, "n1") == MOST_ROWS
        assert rows(world, "n2") == 3
        await trio.sleep(30 * 86_400)
        await beat(node, 1.0)
        assert rows(world, "n1") == 3

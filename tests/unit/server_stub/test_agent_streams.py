"""A node's control stream while the node does not read."""

import pytest
import trio
import trio.testing

from lattice_agent.wire.base import encode
from lattice_agent.wire.control import DRAIN, TASK_CANCEL, TASK_READY, ChunkHeader, Order, Running, encode_chunk
from server_stub.api.agent_streams import AgentStream
from server_stub.api.plane import Plane
from server_stub.store.records import Credential
from tests.rigs.server_app import Message, control_plane


def stream() -> AgentStream:
    return AgentStream(Credential("n1", b"digest", disabled=False))


async def waiting(stream: AgentStream) -> list[Order]:
    return [order for _ in range(len(stream._orders)) if (order := await stream.next()) is not None]


@pytest.mark.parametrize("words", [(True,), (True, False), (False, True, False), (True, False, True, False, True)])
async def test_the_last_word_on_draining_is_the_one_that_is_said(words: tuple[bool, ...]) -> None:
    told = stream()
    for on in words:
        assert told.say(Order(type=DRAIN, on=on))
    assert await waiting(told) == [Order(type=DRAIN, on=words[-1])]


async def test_what_waits_already_is_not_said_twice_and_keeps_its_place() -> None:
    told = stream()
    for order in (Order(type=TASK_READY), Order(type=TASK_CANCEL, task_id="t"), Order(type=TASK_READY)):
        assert told.say(order)
    assert [order.type for order in await waiting(told)] == [TASK_READY, TASK_CANCEL]


async def test_a_drain_is_said_though_too_much_waits() -> None:
    told = stream()
    said = [told.say(Order(type=TASK_CANCEL, task_id=str(number))) for number in range(100)]
    assert said.count(False) == 36
    assert told.say(Order(type=DRAIN, on=False))
    assert (await waiting(told))[-1].type == DRAIN


async def test_a_revoked_node_that_does_not_read_is_not_listened_to() -> None:
    async with control_plane() as world:
        plane: Plane = world.app.state.plane
        node = await world.node("n1")
        task = await world.task("n1")
        [lease] = (await node.get("/api/agent/tasks")).json()
        (await world.operator.post(f"/api/v1/tasks/{task}/cancel", {})).raise_for_status()
        scope: Message = {
            "type": "websocket",
            "path": "/api/agent/control/stream",
            "raw_path": b"/api/agent/control/stream",
            "root_path": "",
            "query_string": b"node_id=n1",
            "headers": [(b"authorization", f"Bearer {node.token}".encode())],
            "client": ("198.51.100.7", 40_000),
            "server": ("control", 80),
            "scheme": "ws",
            "subprotocols": [],
            "extensions": {},
        }
        to_app, from_node = trio.open_memory_channel[Message](8)

        async def send(message: Message) -> None:
            if message["type"] == "websocket.send":  # the order to cancel: it waits in the socket for good
                await trio.sleep_forever()

        async def say(**frame: object) -> None:
            await to_app.send({"type": "websocket.receive", **frame})
            await trio.testing.wait_all_tasks_blocked()

        running = Running(task_id=task, lease_id=lease["lease_id"])
        header = ChunkHeader(task_id=task, lease_id=lease["lease_id"], stream="stdout")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.app, scope, from_node.receive, send)
            await to_app.send({"type": "websocket.connect"})
            await say(text=encode(running).decode())
            log = plane.live.log(task, "n1")
            assert log is not None
            (await world.operator.post("/api/v1/nodes/n1/disable", {"disabled": True})).raise_for_status()
            plane.streams.revoke(plane.store.node_of)
            await say(bytes=encode_chunk(header, b"lies"))
            assert log.end == 0
            await to_app.send({"type": "websocket.disconnect", "code": 1006})

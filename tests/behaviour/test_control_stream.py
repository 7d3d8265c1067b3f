"""The control stream over real sockets: what a node is told when it connects, and what it may say."""

import signal
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx_ws
import pytest
import trio

from lattice_agent.wire.control import MAX_FRAME
from tests.rigs.live_plane import SECONDS, Event, Node, Script, Talk, live_plane

pytestmark = pytest.mark.slow

HOSTILE: list[str | bytes] = [
    "",
    "no JSON",
    "[]",
    "null",
    "17",
    "[" * 8_000,
    '{"type":"task.running"}',
    '{"type":"task.running","task_id":"task_x","lease_id":"lease_x","position":-1}',
    '{"type":"task.running","task_id":17}',
    '{"type":"task.running","task_id":"\\ud800","lease_id":"\\u0000"}',
    '{"type":"a later invention","task_id":{"a":1}}',
    b"",
    b"\n",
    b"\xff\xfe\n\n",
    b"{}\n",
    b'{"stream":"stdout"}\nx',
    b'{"stream":"stdin","task_id":"t"}\nx',
    b'{"stream":"stdout","task_id":"t","position":18446744073709551616}\nx',
    b'{"stream":"stdout","task_id":"t","position":18446744073709551615,"offset":18446744073709551615}\nx',
    b"x" * MAX_FRAME,
    "y" * MAX_FRAME,
]


async def test_whatever_a_node_says_the_stream_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        task = await plane.task("n1")
        lease = await node.poll()
        async with node.stream() as talk:
            for frame in HOSTILE:
                await (talk.socket.send_text(frame) if isinstance(frame, str) else talk.socket.send_bytes(frame))
            assert await talk.running(lease) == 0
            script = Script([("stdout", b"fine")])
            await talk.tell(lease, script)
            async with plane.follow(task, "output", node="n1") as reader:
                await reader.until_shown(script.size)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.long
async def test_a_frame_that_is_too_long_closes_the_stream(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        async with node.stream() as talk:
            await talk.socket.send_bytes(b"x" * (MAX_FRAME + 1))
            assert await closed(talk) == 1009


async def test_a_node_that_connects_is_told_what_it_missed(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        doomed = await plane.task("n1")
        await node.poll()
        await plane.task("n1")
        await plane.post(f"tasks/{doomed}/cancel", {})
        async with node.stream() as talk:
            assert [await told(talk), await told(talk)] == [("task.cancel", doomed, False), ("task.ready", "", False)]
        await plane.post("nodes/n1/drain", {"draining": True})
        async with node.stream() as talk:
            assert [await told(talk), await told(talk)] == [("task.cancel", doomed, False), ("drain", "", True)]
            await plane.post("nodes/n1/drain", {"draining": False})
            assert await told(talk) == ("drain", "", False)


async def test_a_node_without_work_is_told_nothing(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node, other = await plane.node("n1"), await plane.node("n2")
        async with node.stream() as talk, other.stream():
            await plane.task("n2")
            task = await plane.task("n1")
            assert await told(talk) == ("task.ready", "", False)
            await node.poll()
            await plane.post(f"tasks/{task}/cancel", {})
            assert await told(talk) == ("task.cancel", task, False)


async def told(talk: Talk) -> tuple[str, str, bool]:
    order = await talk.order()
    return order.type, order.task_id, order.on


async def raw_stream(node: Node) -> trio.SocketStream:
    """A control stream that was asked for; the answer is to be read."""
    address = urlsplit(node.plane.url)
    raw = await trio.open_tcp_stream(str(address.hostname), int(address.port or 0))
    await raw.send_all(
        f"GET /api/agent/control/stream?node_id={node.id} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Authorization: Bearer {node.token}\r\n\r\n".encode()
    )
    return raw


@pytest.mark.long
async def test_answers_to_pings_do_not_gather_for_a_node_that_does_not_read(tmp_path: Path) -> None:
    pings = (b"\x89\xfd\x00\x00\x00\x00" + b"p" * 125) * 500
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        async with await raw_stream(node) as raw:
            with trio.fail_after(SECONDS):
                assert (await raw.receive_some()).startswith(b"HTTP/1.1 101 ")
            with trio.fail_after(6 * SECONDS), pytest.raises(trio.BrokenResourceError):
                await raw.send_all(pings * 400)  # 26 MB; the kernel's buffers hold some 8
        async with node.stream() as talk:
            await plane.task("n1")
            assert await told(talk) == ("task.ready", "", False)


@pytest.mark.long
async def test_a_flood_of_small_frames_closes_the_stream(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        async with await raw_stream(node) as raw:
            with trio.fail_after(SECONDS):
                assert (await raw.receive_some()).startswith(b"HTTP/1.1 101 ")
                await raw.send_all(b"\x81\x81\x00\x00\x00\x00x" * 2_000)
                answer = b""
                with suppress(trio.BrokenResourceError):  # what had not been read when it was closed
                    while more := await raw.receive_some():
                        answer += more
            assert answer[:1] == b"\x88"
            assert int.from_bytes(answer[2:4], "big") == 1008
        async with node.stream() as talk:
            await plane.task("n1")
            assert await told(talk) == ("task.ready", "", False)


@pytest.mark.long
async def test_a_run_is_noted_once_and_operators_are_told(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        task = await plane.task("n1")
        async with plane.follow(task, "events") as events, node.stream() as talk:
            first = await events.event()
            assert first is not None
            assert (first.name, first.data["status"]) == ("task", "queued")
            lease = await node.poll()
            assert target_in(await events.until("task"))["outcome"] == "leased"
            await talk.running(lease)
            running = target_in(await events.until("task"))
            assert running["outcome"] == "running"
            await talk.running(lease)
            await node.report(lease, Script([("stdout", b"done")]))
            end = await events.event()  # the second word of the run was no news
            assert end is not None
            assert (end.name, end.data["status"]) == ("end", "finished")
            assert target_in(end)["running_since"] == running["running_since"]
            assert [("stdout" in result, result["exit_code"]) for result in end.data["results"]] == [(False, 0)]
            assert await events.event() is None
        async with plane.follow(task, "events") as late:
            event = await late.event()
            assert event is not None
            assert event.name == "end"


def target_in(event: Event) -> dict[str, object]:
    [target] = event.data["targets"]
    return dict(target)


@pytest.mark.long
@pytest.mark.parametrize(("what", "body"), [("disable", {"disabled": True}), ("rotate", {})])
async def test_streams_of_a_revoked_credential_are_closed_soon(
    tmp_path: Path, what: str, body: dict[str, object]
) -> None:
    async with live_plane(tmp_path) as plane:
        node, other = await plane.node("n1"), await plane.node("n2")
        task = await plane.task("n2")
        lease = await other.poll()
        async with node.stream() as first, node.stream() as second, other.stream() as kept:
            await plane.post(f"nodes/n1/{what}", body)
            assert await closed(first) == 1008
            assert await closed(second) == 1008
            assert await kept.running(lease) == 0
        assert (await plane.show(task))["status"] == "leased"


@pytest.mark.long
async def test_more_frames_than_the_rate_are_read_slower_and_not_lost(tmp_path: Path) -> None:
    script = Script([("stdout", b"x")] * 100)
    async with live_plane(tmp_path, limits={"frame_rate": 100, "frame_burst": 10}) as plane:
        node = await plane.node("n1")
        task = await plane.task("n1")
        lease = await node.poll()
        async with node.stream() as talk, plane.follow(task, "output", node="n1") as reader:
            await talk.running(lease)
            began = trio.current_time()
            await talk.tell(lease, script)
            await reader.until_shown(script.size)
            assert trio.current_time() - began > 0.5


@pytest.mark.long
async def test_a_fleet_that_comes_at_once_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with live_plane(tmp_path, limits={"stream_rate": 0.01, "stream_burst": 1}) as plane:
        nodes = [await plane.node(f"n{number}") for number in range(3)]
        async with nodes[0].stream():
            for node, wait_s in ((nodes[1], "60"), (nodes[2], "60")):
                assert await put_off(node) == (429, wait_s)


@pytest.mark.long
async def test_one_node_that_comes_again_and_again_does_not_keep_the_others_out(tmp_path: Path) -> None:
    limits = {"stream_rate": 0.01, "stream_burst": 5, "node_stream_rate": 0.02, "node_stream_burst": 3}
    async with live_plane(tmp_path, limits=limits) as plane:
        restless, other = await plane.node("n1"), await plane.node("n2")
        for _ in range(3):
            async with restless.stream():
                pass
        for _ in range(10):
            assert await put_off(restless) == (429, "50")
        async with other.stream():
            await plane.task("n2")


async def put_off(node: Node) -> tuple[int, str]:
    url = f"{node.plane.url}/api/agent/control/stream?node_id={node.id}"
    headers = node.headers | {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    answer = await node.plane.client.get(url, headers=headers)
    assert answer.headers["connection"] == "close"
    return answer.status_code, answer.headers["retry-after"]


@pytest.mark.long
async def test_a_stopping_server_closes_the_streams_in_order(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        async with node.stream() as talk:
            plane.server.process.send_signal(signal.SIGTERM)
            assert await closed(talk) == 1012
            assert plane.server.wait() == 0


async def closed(talk: Talk) -> int:
    """The code with which the server closes it."""
    with trio.fail_after(SECONDS):
        while True:
            try:
                await talk.order()
            except httpx_ws.WebSocketDisconnect as end:
                return int(end.code)

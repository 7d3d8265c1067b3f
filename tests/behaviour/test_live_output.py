"""Live output on its way from an agent to those who look: over real sockets, through cuts and restarts."""

import signal
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from tests.rigs.live_plane import SECONDS, Answered, LivePlane, Node, Reader, Script, live_plane
from tests.rigs.real_processes import reserved_port

pytestmark = pytest.mark.slow

SCRIPT = Script(
    [("stdout", b"one\n"), ("stderr", b"careful\n"), ("stdout", "zwei ä\n".encode()), ("stdout", b"x" * 40_000)]
)


def assert_shows(reader: Reader, script: Script) -> None:
    assert reader.shown == {stream: script.stream(stream) for stream in ("stdout", "stderr")}


async def test_output_is_seen_before_the_run_ends_and_the_result_replaces_it(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        task = await plane.task("n1")
        async with plane.follow(task, "output", node="n1") as early, node.stream() as talk:
            lease = await node.poll()
            assert await talk.running(lease) == 0
            await talk.tell(lease, SCRIPT)
            await early.until_shown(SCRIPT.size)
            assert_shows(early, SCRIPT)
            async with plane.follow(task, "output", node="n1") as late:
                await late.until_shown(SCRIPT.size)
                assert_shows(late, SCRIPT)
                await node.report(lease, SCRIPT)
                for reader in (early, late):
                    result = (await reader.until("result")).data["result"]
                    assert result["stdout"].encode() == SCRIPT.stream("stdout")
                    assert await reader.event() is None
        async with plane.follow(task, "output", node="n1") as after:
            event = await after.event()
            assert event is not None
            assert event.name == "result"
            assert await after.event() is None


async def test_an_agent_that_connects_anew_goes_on_where_the_server_is(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        task = await plane.task("n1")
        lease = await node.poll()
        async with plane.follow(task, "output", node="n1") as reader:
            async with node.stream() as talk:
                await talk.running(lease)
                await talk.tell(lease, SCRIPT, end=6)
                await reader.until_shown(12)  # chunks are whole
            async with node.stream() as talk:
                position = await talk.running(lease)
                assert position == 12
                await talk.tell(lease, SCRIPT, position)
                await reader.until_shown(SCRIPT.size)
        assert_shows(reader, SCRIPT)
        assert reader.resets == 0


@pytest.mark.long
async def test_what_lies_behind_a_gap_is_asked_for_and_what_comes_twice_is_shown_once(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        task = await plane.task("n1")
        lease = await node.poll()
        async with plane.follow(task, "output", node="n1") as reader, node.stream() as talk:
            await talk.running(lease)
            await talk.tell(lease, SCRIPT, position=12)
            order = await talk.order()
            assert (order.type, order.position) == ("output.from", 0)
            await talk.tell(lease, SCRIPT)
            await talk.tell(lease, SCRIPT)
            await reader.until_shown(SCRIPT.size)
        assert_shows(reader, SCRIPT)


@pytest.mark.long
async def test_a_restarted_server_has_it_all_again(tmp_path: Path) -> None:
    with reserved_port() as port:
        async with live_plane(tmp_path, port) as plane:
            node = await plane.node("n1")
            task = await plane.task("n1")
            lease = await node.poll()
            async with plane.follow(task, "output", node="n1") as reader, node.stream() as talk:
                await talk.running(lease)
                await talk.tell(lease, SCRIPT, end=6)
                await reader.until_shown(12)
                plane.server.process.kill()
            last_id = reader.last_id
        async with live_plane(tmp_path, port) as plane:
            node = Node(plane, node.id, node.token)
            async with plane.follow(task, "output", node="n1", last_id=last_id) as reader:
                reset = await reader.until("reset")
                assert (reset.data, reset.id) == ({}, "0")
                async with node.stream() as talk:
                    assert await talk.running(lease) == 0
                    await talk.tell(lease, SCRIPT)
                    await reader.until_shown(SCRIPT.size)
                    assert_shows(reader, SCRIPT)
                    await node.report(lease, SCRIPT)
                    result = (await reader.until("result")).data["result"]
        assert result["stdout"].encode() == SCRIPT.stream("stdout")


@pytest.mark.long
async def test_a_viewer_that_connects_anew_goes_on_after_what_it_has_seen(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        task = await plane.task("n1")
        lease = await node.poll()
        async with node.stream() as talk:
            await talk.running(lease)
            await talk.tell(lease, SCRIPT)
            async with plane.follow(task, "output", node="n1") as first:
                await first.until_shown(12)
            seen = first.shown
            async with plane.follow(task, "output", node="n1", position="0", last_id=first.last_id) as second:
                second.shown = seen
                await second.until_shown(SCRIPT.size)
            assert_shows(second, SCRIPT)
            async with plane.follow(task, "output", node="n1", position=str(SCRIPT.size - 3)) as tail:
                tail.shown = {"stdout": SCRIPT.stream("stdout")[:-3], "stderr": b""}
                event = await tail.event()
        assert event is not None
        assert event.data["position"] == SCRIPT.size - 3
        assert (event.id, second.resets) == (str(SCRIPT.size), 0)


@pytest.mark.long
async def test_two_viewers_at_different_positions_see_the_same(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        task = await plane.task("n1")
        lease = await node.poll()
        async with node.stream() as talk, plane.follow(task, "output", node="n1") as quick:
            await talk.running(lease)
            await talk.tell(lease, SCRIPT, end=6)
            await quick.until_shown(12)
            async with plane.follow(task, "output", node="n1") as slow:
                await talk.tell(lease, SCRIPT, 12)
                await quick.until_shown(SCRIPT.size)
                await slow.until_shown(SCRIPT.size)
        assert_shows(quick, SCRIPT)
        assert_shows(slow, SCRIPT)


async def test_output_of_another_lease_or_another_node_is_not_taken(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node, thief = await plane.node("n1"), await plane.node("n2")
        task, own = await plane.task("n1"), await plane.task("n2")
        lease, other = await node.poll(), await thief.poll()
        async with node.stream() as talk, thief.stream() as stolen, plane.follow(task, "output", node="n1") as reader:
            await stolen.socket.send_text(
                f'{{"type":"task.running","task_id":"{task}","lease_id":"{lease["lease_id"]}"}}'
            )
            await stolen.tell(lease, Script([("stdout", b"stolen")]))
            await talk.tell(lease | {"lease_id": "lease_x"}, Script([("stdout", b"old")]))
            assert await stolen.running(other) == 0  # all of the above has been read
            assert await talk.running(lease) == 0
            await talk.tell(lease, SCRIPT)
            await reader.until_shown(SCRIPT.size)
            with pytest.raises(Answered, match="404"):
                async with plane.follow(own, "output", node="n1"):
                    pass
        assert_shows(reader, SCRIPT)


@pytest.mark.long
async def test_a_viewer_that_never_reads_costs_its_socket_and_one_event(tmp_path: Path) -> None:
    loud = Script([("stdout", b"y" * 262_144), ("stderr", b"z" * 262_144)])
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        tasks = [await plane.task("n1", output_limit=262_144) for _ in range(6)]
        deaf = [never_read(plane, task) for task in tasks for _ in range(20)]
        try:
            before = memory_kib(plane)
            async with node.stream() as talk:
                for task in tasks:
                    lease = await node_lease(node, task)
                    await talk.running(lease)
                    await talk.tell(lease, loud)
                    async with plane.follow(task, "output", node="n1") as reader:
                        await reader.until_shown(loud.size)  # nobody is slowed down by the deaf ones
                    assert_shows(reader, loud)
            grown = memory_kib(plane) - before
        finally:
            for connection in deaf:
                connection.close()
    logs = len(tasks) * loud.size // 1024
    assert grown - logs < len(deaf) * 160


@pytest.mark.long
async def test_a_stopping_server_ends_event_streams_at_once(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        await plane.node("n1")
        task = await plane.task("n1")
        async with plane.follow(task, "output", node="n1") as output, plane.follow(task, "events") as events:
            assert await events.event() is not None
            plane.server.process.send_signal(signal.SIGTERM)
            with trio.fail_after(3):  # less than the 5 s that running requests are given
                assert await output.event() is None
                assert await events.event() is None


@pytest.mark.long
async def test_one_viewer_too_many_is_told_so_and_a_place_is_given_back(tmp_path: Path) -> None:
    async with live_plane(tmp_path, limits={"viewers": 2}) as plane:
        await plane.node("n1")
        task = await plane.task("n1")
        async with plane.follow(task, "events"), plane.follow(task, "output", node="n1"):
            with pytest.raises(Answered, match="429"):
                async with plane.follow(task, "events"):
                    pass
        await until_admitted(plane, task)


async def until_admitted(plane: LivePlane, task: str) -> None:
    with trio.fail_after(SECONDS):
        while True:
            with suppress(Answered):
                async with plane.follow(task, "events"):
                    return


def never_read(plane: LivePlane, task: str) -> socket.socket:
    address = urlsplit(plane.url)
    connection = socket.create_connection((address.hostname, address.port or 0), timeout=SECONDS)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    request = (
        f"GET /api/v1/tasks/{task}/output?node=n1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {plane.token}\r\n\r\n"
    )
    connection.sendall(request.encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


async def node_lease(node: Node, task: str) -> dict[str, object]:
    answer = await node.plane.client.get(
        f"{node.plane.url}/api/agent/tasks",
        params={"node_id": node.id, "max": "1"},
        headers={"authorization": f"Bearer {node.token}"},
    )
    [lease] = answer.raise_for_status().json()
    assert lease["id"] == task
    return dict(lease)


def memory_kib(plane: LivePlane) -> int:
    for line in Path(f"/proc/{plane.server.process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("no Pss")

"""The control stream over real sockets: opened when announced, with pin and token, and survived when it dies."""

import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from lattice_agent.link import websocket
from lattice_agent.link.client import ControlPlane
from lattice_agent.link.control_stream import ControlStream
from lattice_agent.link.features import Features
from lattice_agent.link.health import LinkHealth
from lattice_agent.link.line import Line
from lattice_agent.link.settings import LinkSettings
from lattice_agent.secret import Secret
from lattice_agent.tasks.live_sender import LiveSender
from lattice_agent.wire.control import MAX_FRAME, Order
from lattice_agent.wire.ext import CONTROL_TASKS
from tests.rigs.steered_control_stream import PATH, ControlServer
from tests.rigs.transport import TOKEN, Authority, http_answer, start_proxy

ANOTHER_PIN = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
LIMIT_S = 20.0


class Agent:
    """The agent's side: a real client, live output, and a record of the orders."""

    def __init__(self, plane: ControlPlane, features: Features) -> None:
        self.plane = plane
        self.line = Line(plane, LinkHealth())
        self.features = features
        self.live = LiveSender(features)
        self.orders: list[Order] = []
        self.news = trio.Event()
        self.stream = ControlStream(self.line, features, self, rng=random.Random(1))
        self.opened, self.closed = self.live.opened, self.live.closed
        self.next_frame = self.live.next_frame

    def order(self, order: Order) -> None:
        self.orders.append(order)
        self.live.output_from(order.task_id, order.lease_id, order.position)
        self.news.set()
        self.news = trio.Event()

    async def has_heard(self, count: int) -> None:
        while len(self.orders) < count:
            await self.news.wait()


@asynccontextmanager
async def agent_of(server: ControlServer, *, announced: bool = True, **tls: object) -> AsyncIterator[Agent]:
    features = Features()
    features.announced([CONTROL_TASKS] if announced else ["results.batch"])
    settings = LinkSettings(server.url, "node 1", **tls)  # type: ignore[arg-type]
    async with ControlPlane(settings, Secret(TOKEN)) as plane, trio.open_nursery() as nursery:
        agent = Agent(plane, features)
        await nursery.start(agent.stream.run)
        yield agent
        nursery.cancel_scope.cancel()


@pytest.fixture
async def server(nursery: trio.Nursery) -> ControlServer:
    made = ControlServer()
    await made.start(nursery)
    return made


async def test_a_server_that_announces_nothing_sees_no_upgrade(server: ControlServer) -> None:
    with trio.fail_after(LIMIT_S):
        async with agent_of(server, announced=False) as agent:
            await agent.line.get("/api/agent/config")
            await trio.testing.wait_all_tasks_blocked(0.2)
            await agent.line.get("/api/agent/config")
    assert len(server.heads) == 2
    assert server.upgrades == []


async def test_the_request_is_the_agents_own(server: ControlServer) -> None:
    with trio.fail_after(LIMIT_S):
        async with agent_of(server):
            await server.next_peer()
    (head,) = server.upgrades
    assert head.startswith(b"GET %b?node_id=node%%201 HTTP/1.1\r\n" % PATH)
    assert head.count(b"Authorization: Bearer %b\r\n" % TOKEN.encode()) == 1
    assert b"sec-websocket-extensions" not in head.lower()
    assert b"User-Agent: lattice-agent/" in head


async def test_it_closes_properly(server: ControlServer) -> None:
    with trio.fail_after(LIMIT_S):
        async with agent_of(server) as agent:
            peer = await server.next_peer()
            await peer.order("task.ready")
            await agent.has_heard(1)  # not in the middle of its first frame
        await peer.over.wait()
    assert peer.closed_with == 1000


async def test_orders_said_with_the_handshake_are_heard(server: ControlServer) -> None:
    with trio.fail_after(LIMIT_S):
        async with agent_of(server) as agent:
            peer = await server.next_peer()
            await peer.order("task.ready")
            await peer.say('{"type":"terminal.open","session":{"id":"term_1"}}')
            await peer.order("drain", on=True)
            await agent.has_heard(3)
    assert [order.type for order in agent.orders] == ["task.ready", "terminal.open", "drain"]


async def test_live_output_over_a_cut_connection(server: ControlServer) -> None:
    with trio.fail_after(LIMIT_S):
        async with agent_of(server) as agent:
            write = agent.live.begin("task_1", "lease_1")
            peer = await server.next_peer()
            assert (await peer.next_json())["type"] == "task.running"
            await peer.order("output.from", task_id="task_1", lease_id="lease_1")
            write("stdout", b"before ")
            assert (await peer.next_chunk())[1] == b"before "
            await peer.cut()
            write("stdout", b"meanwhile ")
            peer = await server.next_peer()
            running = await peer.next_json()
            assert running == {"type": "task.running", "task_id": "task_1", "lease_id": "lease_1", "position": 17}
            await peer.order("output.from", task_id="task_1", lease_id="lease_1", position=7)
            header, data = await peer.next_chunk()
            assert (header.position, header.offset, data) == (7, 7, b"meanwhile ")


async def test_a_restarted_server_is_found_again(nursery: trio.Nursery) -> None:
    async with trio.open_nursery() as first_life:
        server = ControlServer()
        await server.start(first_life)
        with trio.fail_after(LIMIT_S):
            async with agent_of(server) as agent:
                await server.next_peer()
                first_life.cancel_scope.cancel()
                again = ControlServer()
                again.port = server.port
                while agent.stream.connected:
                    await trio.testing.wait_all_tasks_blocked(0.01)
                await again.start(nursery)
                await (await again.next_peer()).order("task.ready")
                await agent.has_heard(1)


@pytest.mark.long
async def test_a_black_hole_is_noticed_and_recovered_from(
    server: ControlServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The real limits are under test in virtual time; here are real sockets, and limits that a test can wait for."""
    monkeypatch.setattr(websocket, "SILENCE_S", 1.5)
    monkeypatch.setattr(websocket, "PING_S", 0.3)
    with trio.fail_after(LIMIT_S):
        async with agent_of(server) as agent:
            peer = await server.next_peer()
            peer.answers_pings = False
            peer = await server.next_peer()
            await peer.order("task.ready")
            await agent.has_heard(1)
    assert "nothing was heard" in caplog.text


@pytest.mark.long
async def test_a_server_that_does_not_read_holds_nothing_up(
    server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "WRITE_S", 0.3)
    monkeypatch.setattr(websocket, "CLOSE_S", 0.1)
    with trio.fail_after(LIMIT_S):
        async with agent_of(server) as agent:
            write = agent.live.begin("task_1", "lease_1")
            peer = await server.next_peer()
            await peer.next_json()
            peer.reads = False
            await peer.order("output.from", task_id="task_1", lease_id="lease_1")
            began = trio.current_time()
            for _ in range(1000):
                write("stdout", b"x" * 16_384)  # beyond what the sockets of both sides hold
            assert trio.current_time() - began < 5  # of memory's speed: nobody waits for it
            assert (await agent.line.get("/api/agent/config")).ok
            await server.next_peer()


@pytest.mark.long
@pytest.mark.parametrize("how", ["a long frame", "no frame"])
async def test_a_server_that_speaks_nonsense_is_left_and_tried_again(server: ControlServer, how: str) -> None:
    with trio.fail_after(LIMIT_S):
        async with agent_of(server) as agent:
            peer = await server.next_peer()
            await (peer.say("x" * (MAX_FRAME + 1)) if how == "a long frame" else peer.raw(b"\xff" * 100))
            await peer.over.wait()
            await (await server.next_peer()).order("task.ready")
            await agent.has_heard(1)


@pytest.mark.long
async def test_an_answer_to_another_handshake_is_no_stream(
    server: ControlServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.accept_header = b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="
    with trio.fail_after(LIMIT_S):
        async with agent_of(server) as agent:
            await (await server.next_peer()).over.wait()
            await (await server.next_peer()).over.wait()
            assert not agent.stream.connected
    assert "Sec-WebSocket-Accept" in caplog.text


async def test_the_stream_takes_no_seat_of_ordinary_requests(server: ControlServer) -> None:
    with trio.fail_after(LIMIT_S):
        async with agent_of(server) as agent:
            await server.next_peer()
            agent.plane.set_rate(1000)
            async with trio.open_nursery() as nursery:
                for _ in range(24):
                    nursery.start_soon(agent.line.get, "/api/agent/config")
    assert len(server.heads) == 25


async def test_no_stream_where_there_is_none(server: ControlServer) -> None:
    server.instead = lambda: http_answer(b"{}", "404 Not Found")
    with trio.fail_after(LIMIT_S):
        async with agent_of(server) as agent:
            while agent.features.has(CONTROL_TASKS):
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert (await agent.line.get("/api/agent/config")).ok
    assert len(server.upgrades) == 1


@pytest.mark.long
@pytest.mark.parametrize("ending", ["redirect", "401", "echo", "cut"])
async def test_the_token_is_in_no_log(server: ControlServer, caplog: pytest.LogCaptureFixture, ending: str) -> None:
    caplog.set_level(logging.DEBUG)
    answers = {
        "redirect": http_answer(b"", "302 Found", f"Location: http://127.0.0.1:1/{TOKEN}"),
        "401": http_answer(b'{"error":{"code":"unauthorized","message":"no"}}', "401 Unauthorized"),
        "echo": TOKEN.encode() + b"\r\n\r\n",
        "cut": None,
    }
    server.instead = lambda: answers[ending]
    with trio.fail_after(LIMIT_S):
        async with agent_of(server):
            if ending == "cut":
                await (await server.next_peer()).close(1008, f"bad token {TOKEN}")
                await server.next_peer()
            while not caplog.records or "stream" not in caplog.text:
                await trio.testing.wait_all_tasks_blocked(0.01)
    assert server.upgrades
    assert TOKEN not in caplog.text


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def tls_server(nursery: trio.Nursery, authority: Authority) -> tuple[ControlServer, str]:
    identity = authority.issue("stream", alternatives="IP:127.0.0.1,DNS:control.test")
    server = ControlServer(identity.server_context())
    await server.start(nursery)
    return server, identity.pin


async def test_over_tls_with_the_right_pin(nursery: trio.Nursery, authority: Authority) -> None:
    server, pin = await tls_server(nursery, authority)
    with trio.fail_after(LIMIT_S):
        async with agent_of(server, ca_file=authority.certificate, pin_spki_sha256=(pin,)) as agent:
            peer = await server.next_peer()
            await peer.order("task.ready")
            await agent.has_heard(1)
        await peer.over.wait()
    assert peer.closed_with == 1000


async def test_a_wrong_pin_opens_no_stream(
    nursery: trio.Nursery, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    server, _ = await tls_server(nursery, authority)
    with trio.fail_after(LIMIT_S):
        async with agent_of(server, ca_file=authority.certificate, pin_spki_sha256=(ANOTHER_PIN,)) as agent:
            while "not pinned" not in caplog.text:
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert not agent.stream.connected
    assert server.heads == []  # not a byte was said to it


async def test_an_authority_that_is_not_trusted_opens_no_stream(
    nursery: trio.Nursery, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, _ = await tls_server(nursery, authority)
    with trio.fail_after(LIMIT_S):
        async with agent_of(server, ca_file=Authority(tmp_path, "other").certificate):
            while "certificate is refused" not in caplog.text:
                await trio.testing.wait_all_tasks_blocked(0.01)
    assert server.heads == []


async def test_weak_point_20_the_stream_goes_through_the_proxy(
    nursery: trio.Nursery, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which the Go agent's does not."""
    server, pin = await tls_server(nursery, authority)
    proxy = await start_proxy(nursery, server.port)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    features = Features()
    features.announced([CONTROL_TASKS])
    settings = LinkSettings("https://control.test", "node-1", ca_file=authority.certificate, pin_spki_sha256=(pin,))
    with trio.fail_after(LIMIT_S):
        async with ControlPlane(settings, Secret(TOKEN)) as plane, trio.open_nursery() as running:
            agent = Agent(plane, features)
            await running.start(agent.stream.run)
            await (await server.next_peer()).order("task.ready")
            await agent.has_heard(1)
            running.cancel_scope.cancel()
    assert proxy.asked[0].startswith(b"CONNECT control.test:443 ")

"""Requests that nobody sends by accident are answered like any other wrong one: with a refusal, from bounded memory,
and never with a fault of the server."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lattice_agent.wire.policy import MAX_SCRIPTS
from server_stub.bounded_http import PIPELINED_MOST
from server_stub.config import Limits
from tests.rigs.described_server import NODE, Described, described_server
from tests.rigs.server_app import World, control_plane
from tests.rigs.server_process import SERVE, Running, serving, started

DEEP = 100_000
SECONDS = 20.0


async def send(world: World, method: str, path: str, body: bytes = b"", token: str = "") -> Any:
    headers = {"authorization": f"Bearer {token or world.operator.token}"}
    return await world.client.request(method, path, content=body, headers=headers)


@pytest.mark.parametrize("digits", ["0001" + "9" * 30, "0001" + "9" * 5_000, "00016", "-1", "1_0", "٣"])
async def test_a_poll_asks_for_no_more_than_there_can_be(digits: str) -> None:
    """The first four digits were looked at once, and all of them used."""
    async with control_plane() as world:
        node = await world.node("n1")
        await world.task("n1")
        answer = await node.get("/api/agent/tasks", max=digits)
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "max must be between 1 and 16")


@pytest.mark.parametrize("path", ["/api/v1/users/u1%00x", "/api/v1/usage?user=u1%00", "/api/v1/nodes/n1%00x"])
async def test_an_id_with_a_nul_names_nobody(path: str) -> None:
    """SQLite's JSON functions read a text up to its first NUL."""
    async with control_plane() as world:
        await world.node("n1")
        await world.operator.post("/api/v1/users", {"id": "u1"})
        assert (await send(world, "GET", path)).status_code == 404


async def test_targets_with_a_nul_are_no_targets() -> None:
    async with control_plane() as world:
        await world.node("n1")
        for path, body in (
            ("/api/v1/tasks", {"nodes": ["n1\0x"], "script": "true"}),
            ("/api/v1/users", {"id": "u1", "nodes": ["n1\0x"]}),
        ):
            assert (await world.operator.post(path, body)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * DEEP, id="deep list"),
        pytest.param(b'{"id":' * DEEP, id="deep object"),
        pytest.param(b'{"id":"n2","name":"\\ud800"}', id="half a character"),
        pytest.param(b'{"id":"n2","name":"\xed\xa0\x80"}', id="half a character in UTF-8"),
        pytest.param(b'{"id":"n2","name":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"id":"n2","name":' + b"9" * 5_000 + b"}", id="endless number"),
        pytest.param(b'{"id":"n2","name":false}', id="false is no text"),
        pytest.param(b'{"id":"n2","name":null}', id="null is no text"),
        pytest.param(b'{"id":"n2"}{}', id="two values"),
        pytest.param(b'\xef\xbb\xbf{"id":"n2"}', id="byte order mark"),
        pytest.param(b"NaN", id="not a number"),
    ],
)
async def test_a_body_that_is_no_order_is_refused(body: bytes) -> None:
    async with control_plane() as world:
        answer = await send(world, "POST", "/api/v1/nodes", body)
        assert answer.status_code == 400, answer.text
        assert (await world.operator.get("/api/v1/nodes")).json() == {"nodes": []}


@pytest.mark.parametrize("number", ["true", "1.0", "1e400", "NaN", "-1", "9" * 400, '"1"', str(2**63)])
@pytest.mark.parametrize("field", ["timeout_sec", "output_limit", "concurrency", "max_failures", "queue_timeout_sec"])
async def test_a_limit_is_a_whole_number_within_bounds(field: str, number: str) -> None:
    async with control_plane() as world:
        await world.node("n1")
        body = f'{{"node":"n1","script":"true","{field}":{number}}}'.encode()
        assert (await send(world, "POST", "/api/v1/tasks", body)).status_code == 400


@pytest.mark.parametrize("body", [b"[" * DEEP, b'{"metrics":' * DEEP, b"\xff", b"", b"1e999"])
async def test_a_message_that_is_none_is_refused_on_the_agents_wire(body: bytes) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        answer = await send(world, "POST", "/api/agent/metrics", body, node.token)
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "invalid request body")


async def test_half_a_character_from_a_node_is_replaced() -> None:
    """As Go reads it; it would be no UTF-8 in the database or in an answer."""
    async with control_plane() as world:
        node = await world.node("n1")
        task_id = await world.task("n1")
        lease = (await node.get("/api/agent/tasks")).json()[0]
        result = {"task_id": task_id, "lease_id": lease["lease_id"], "exit_code": -(2**63), "stdout": "\0\ud800"}
        body = json.dumps({"node_id": "n1", "result": result}).encode()
        assert (await send(world, "POST", "/api/agent/task-result", body, node.token)).status_code == 200
        (shown,) = (await world.show(task_id))["results"]
        assert (shown["exit_code"], shown["stdout"]) == (-(2**63), "\0\ufffd")


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-23:59", "0002-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z"])
async def test_times_at_the_ends_of_the_calendar(moment: str) -> None:
    async with control_plane() as world:
        node = await world.node("n1")
        await world.operator.post("/api/v1/users", {"id": "u1"})
        reports = (
            ("metrics", {"metrics": {"collected_at": moment}, "agent_runtime": {"reported_at": moment}}),
            ("hello", {"host_facts": {"hostname": "h", "boot_time": moment, "reported_at": moment}}),
            ("inventory", {"inventory": {"collected_at": moment}}),
        )
        for path, body in reports:
            assert (await node.post(f"/api/agent/{path}", body)).status_code == 200
        assert (await world.operator.post("/api/v1/users/u1", {"expires_at": moment})).status_code == 200
        query = {"by": "hour", "from": moment, "to": moment}
        assert (await world.operator.get("/api/v1/usage/bookings", **query)).status_code == 200
        for path in ("nodes/n1", "nodes/n1/inventory", "nodes/n1/metrics", "users/u1"):
            assert (await world.operator.get(f"/api/v1/{path}")).status_code == 200


async def test_the_largest_numbers_of_a_heartbeat_are_kept_and_shown() -> None:
    numbers = {"cpu_percent": 1e308, "load1": -1e308, "memory_used": 2**64 - 1, "net_rx_speed": 1e308}
    async with control_plane() as world:
        node = await world.node("n1")
        for _ in range(3):
            assert (await node.post("/api/agent/metrics", {"metrics": numbers})).status_code == 200
        for path in ("nodes", "nodes/n1/metrics"):
            assert (await world.operator.get(f"/api/v1/{path}")).status_code == 200


async def test_what_a_node_says_of_itself_is_bounded() -> None:
    """Every node may have its say, and all of them are shown in one list."""
    async with control_plane() as world:
        node = await world.node("n1")
        endpoint = {"wireguard_endpoint": "a" * 900_000 + ":1"}
        assert (await node.post("/api/agent/hello", endpoint)).status_code == 400
        policy = {"allow_exec": True, "listed_scripts": ["a" * 64] * 10_000, "levels": ["strict"] * 10_000}
        assert (await node.post("/api/agent/metrics", {"policy": policy})).status_code == 200
        answer = await world.operator.get("/api/v1/nodes/n1")
        assert len(answer.content) < 65 * MAX_SCRIPTS * 2


async def test_a_parameter_is_given_once() -> None:
    async with control_plane() as world:
        answer = await send(world, "GET", "/api/v1/tasks?limit=1&limit=2")
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "limit: given more than once")
        many = "&".join(f"p{number}=1" for number in range(5_000))
        assert (await send(world, "GET", f"/api/v1/tasks?{many}")).status_code == 400


@pytest.mark.parametrize("number", ["1e3", "%2B1", "1_0", "9" * 5_000, "", "-1", "1001"])
async def test_a_number_of_a_query_is_digits(number: str) -> None:
    async with control_plane() as world:
        for path in ("tasks", "audit"):
            assert (await send(world, "GET", f"/api/v1/{path}?limit={number}")).status_code == 400


async def test_operators_are_bounded_in_number() -> None:
    async with control_plane(Limits(operators=2)) as world:
        assert (await world.operator.post("/api/v1/operators", {"name": "second"})).status_code == 200
        answer = await world.operator.post("/api/v1/operators", {"name": "third"})
        assert (answer.status_code, answer.json()["error"]["message"]) == (409, "there are 2 operators already")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    place: Path = tmp_path_factory.mktemp("served")
    with described_server(place) as world:
        yield world


def dial(server: Running) -> socket.socket:
    url = urlsplit(server.url)
    assert url.hostname is not None
    return socket.create_connection((url.hostname, url.port or 80), timeout=SECONDS)


def answer_to(world: Described, *pieces: bytes) -> bytes:
    """Everything that comes back until the server ends the connection."""
    with dial(world.server) as stream:
        heard = b""
        try:
            for piece in pieces:
                stream.sendall(piece)
            while more := stream.recv(65_536):
                heard += more
        except ConnectionError:  # refused while it was still being sent
            pass
        return heard


def request(world: Described, line: bytes, *headers: bytes) -> bytes:
    token = b"Authorization: Bearer " + world.operator.encode()
    return b"\r\n".join([line, b"Host: x", b"Connection: close", token, *headers, b"", b""])


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /api/v1/nodes/\xff HTTP/1.1", b"400"),
        (b"GET /api/v1/nodes/%ff%ed%a0%80 HTTP/1.1", b"404"),
        (b"GET /api/v1/nodes/%zz HTTP/1.1", b"404"),
        (b"GET /api/v1/nodes/a%2fb HTTP/1.1", b"404"),
        (b"GET /api/v1/nodes/../../readyz HTTP/1.1", b"404"),
        (b"GET //api/v1/nodes HTTP/1.1", b"404"),
        (b"GET /api/v1/nodes/ HTTP/1.1", b"404"),
        (b"OPTIONS * HTTP/1.1", b"404"),
        (b"QUERY /api/v1/nodes HTTP/1.1", b"405"),
        (b"TRACE /api/v1/nodes HTTP/1.1", b"405"),
        (b"GET /api/v1/nodes/" + b"a" * 20_000 + b" HTTP/1.1", b"404"),
    ],
)
def test_odd_request_lines(served: Described, line: bytes, status: bytes) -> None:
    assert answer_to(served, request(served, line)).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param([b"X: y\r\n" * 10_000] * 100, id="headers"),
        pytest.param([b"X: ", *[b"y" * 65_536] * 100], id="one header"),
    ],
)
def test_a_head_without_an_end_is_cut_off(served: Described, flood: list[bytes]) -> None:
    """Nobody has shown a token yet."""
    heard = answer_to(served, b"GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\n", *flood)
    assert heard == b"" or b"400 Bad Request" in heard


def test_trailers_without_an_end_are_cut_off(served: Described) -> None:
    head = request(served, b"POST /api/v1/nodes HTTP/1.1", b"Transfer-Encoding: chunked")
    heard = answer_to(served, head, b"0\r\n", *[b"X: y\r\n" * 10_000] * 100)
    assert b"200 OK" not in heard


def test_a_body_in_chunks_is_no_flood(served: Described) -> None:
    body = json.dumps({"enabled": False}).encode()
    pieces = [b"%x\r\n%c\r\n" % (1, byte) for byte in body]
    head = request(served, b"POST /api/v1/kill-switch HTTP/1.1", b"Transfer-Encoding: chunked")
    assert b"200 OK" in answer_to(served, head, *pieces, b"0\r\n\r\n")


def test_requests_that_wait_for_nobody_are_cut_off(served: Described) -> None:
    """Nobody has shown a token yet; each of them that waited would cost more than a hundred times its size."""
    before = memory_of(served)
    for _ in range(10):
        assert answer_to(served, b"GET /a HTTP/1.1\r\n\r\n" * 13_000).count(b"HTTP/1.1 ") <= 2 * PIPELINED_MOST
    assert memory_of(served) - before < 16 * 2**20


def test_a_few_requests_at_once_are_answered_one_after_the_other(served: Described) -> None:
    heard = answer_to(served, b"GET /a HTTP/1.1\r\n\r\n" * 7 + request(served, b"GET /a HTTP/1.1"))
    assert heard.count(b"HTTP/1.1 404 ") == 8


def memory_of(world: Described) -> int:
    """The most it ever took, in bytes."""
    status = Path(f"/proc/{world.server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1_024


def test_many_requests_in_one_connection_are_no_flood(served: Described) -> None:
    url = "/api/v1/nodes/" + "a" * 4_000
    with served.client(served.operator) as client:
        assert {client.get(url).status_code for _ in range(40)} == {404}


@pytest.mark.long
@pytest.mark.parametrize("begun", [b"", b"GET /api/v1/nodes HTTP/1.1\r\nHost:"])
def test_a_head_that_does_not_come_is_not_waited_for(begun: bytes) -> None:
    impatient = f"from server_stub import bounded_http\nbounded_http.HEAD_SECONDS = 0.2\n{SERVE}"
    with started([sys.executable, "-c", impatient, repr({"port": 0, "db_path": ":memory:"})]) as server:
        with dial(server) as stream:
            stream.sendall(begun)
            assert stream.recv(1) == b""


def test_requests_that_are_none_do_not_fill_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    logged = ["sh", "-c", 'exec "$@" 2> "$0"', str(log), *serving(db_path=":memory:")]
    with started(logged) as server:
        for junk in (b"junk\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: nothing\r\nConnection: upgrade\r\n\r\n"):
            for _ in range(30):
                with dial(server) as stream:
                    stream.sendall(junk)
                    assert stream.recv(1)
        server.process.terminate()
        assert server.wait() == 0
    lines = log.read_text().splitlines()
    assert sum("Invalid HTTP request received" in line for line in lines) == 1
    assert len(lines) < 10, lines


@pytest.mark.parametrize("path", ["/api/v1/nodes", "/nope", f"/api/agent/tasks?node_id={NODE}"])
def test_a_websocket_where_there_is_none(served: Described, path: str) -> None:
    upgrade = (b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    asked = request(served, b"GET %s HTTP/1.1" % path.encode(), *upgrade).replace(b"close", b"upgrade")
    assert answer_to(served, asked).startswith(b"HTTP/1.1 403")

"""What the control plane reads of agents, operators, browsers and strangers: requests, a few in a row, and frames.

An input holds requests with a form feed between them: a line ``METHOD path?query``, then the body. ``@TASK``,
``@LEASE`` and ``@CSRF`` stand for what the application has made.
"""

import string
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, Final

import httpx
import trio
from trio.testing import MockClock

from tests.fuzz.form import headed
from tests.fuzz.plane import NODE, Plane, Prepared, check_answer, plane, prepared
from tests.fuzz.target import Target
from tests.rigs.dashboard import Page
from tests.rigs.server_app import SOURCE

_MOST: Final = 6
"""Requests of one input."""
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_FRAMES_MOST: Final = 40
_SAFE: Final = string.ascii_letters + string.digits + string.punctuation

Headers = Callable[[Prepared], Mapping[str, str]]


async def _requests(data: bytes, headers: Headers, known: Prepared) -> None:
    async with plane(known) as world:
        for request in world.known.filled_in(data).split(b"\f")[:_MOST]:
            line, body = headed(request)
            method, _, target = line.partition(" ")
            if method in _METHODS and target.startswith("/"):
                await _ask(world, method, target, body, headers(world.known))


async def _ask(world: Plane, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> None:
    path, _, query = target.partition("?")
    if "/events" in path or path.endswith("/output"):
        return  # streams go on: ``api.frames`` and the rigs of live output have those
    url = httpx.URL("http://control").copy_with(raw_path=_sendable(path, query))
    request = world.client.build_request(method, url, content=body, headers=dict(headers))
    answer = await world.client.send(request)
    check_answer(answer, path)
    if answer.headers.get("content-type", "").startswith("text/html"):
        _check_page(answer.text)


def _sendable(path: str, query: str) -> bytes:
    """What a client can put on the request line: other characters percent-encoded, which the server takes apart."""
    line = f"{path}?{query}" if query else path
    encoded = "".join(char if char in _SAFE else "".join(f"%{byte:02X}" for byte in char.encode()) for char in line)
    return encoded.encode("ascii")


def _check_page(markup: str) -> None:
    """Whatever was sent, it is text on the page: elements are closed as the templates do, and none is a script's."""
    page = Page(markup)
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), attributes
        assert not attributes.get("href", "").lstrip().lower().startswith("javascript:")
        assert tag != "script" or attributes.get("src", "").startswith("/static/")


def _agent(known: Prepared) -> Mapping[str, str]:
    return {"authorization": f"Bearer {known.node}", "content-type": "application/json"}


def _operator(known: Prepared) -> Mapping[str, str]:
    return {"authorization": f"Bearer {known.operator}", "content-type": "application/json"}


def _browser(known: Prepared) -> Mapping[str, str]:
    return {"cookie": f"lattice_session={known.session}", "content-type": "application/x-www-form-urlencoded"}


def _stranger(known: Prepared) -> Mapping[str, str]:
    return {"cookie": "lattice_login=0123456789abcdef", "content-type": "application/x-www-form-urlencoded"}


def _at_once(main: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """In virtual time: what a request wants to wait for is there at once. It is given what is prepared, last."""
    trio.run(partial(main, *arguments, prepared()), clock=MockClock(autojump_threshold=0))


def _asking(headers: Headers) -> Callable[[bytes], None]:
    return lambda data: _at_once(_requests, data, headers)


def _credentials(data: bytes) -> None:
    """A header and a cookie of the input's own: no request gets in by any but the right ones."""
    authorization, cookie = headed(data)

    async def main(known: Prepared) -> None:
        async with plane(known) as world:
            sent = {"authorization": authorization, "cookie": cookie.decode("latin-1")}
            headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in sent.items() if value]
            for path, method in (
                ("/api/v1/nodes", "GET"),
                (f"/api/agent/tasks?node_id={NODE}", "GET"),
                ("/nodes", "GET"),
            ):
                answer = await world.client.send(httpx.Request(method, f"http://control{path}", headers=headers))
                check_answer(answer, path)
                assert answer.status_code in (401, 303, 302, 400), (path, answer.status_code)

    _at_once(main)


Message = MutableMapping[str, Any]


async def _frames(data: bytes, known: Prepared) -> None:
    """Frames of a control stream, a form feed between them; one that begins with ``t`` is text."""
    async with plane(known) as world:
        frames = world.known.filled_in(data).split(b"\f")[:_FRAMES_MOST]
        received: list[Message] = [{"type": "websocket.connect"}, *map(_message, frames)]
        sent: list[Message] = []

        async def receive() -> Message:
            return received.pop(0) if received else {"type": "websocket.disconnect", "code": 1000}

        async def send(message: Message) -> None:
            sent.append(message)

        await world.app(_scope(world.known), receive, send)
        assert sent[0]["type"] == "websocket.accept"
        assert {message["type"] for message in sent} <= {"websocket.accept", "websocket.send", "websocket.close"}


def _message(frame: bytes) -> Message:
    if frame[:1] == b"t":
        return {"type": "websocket.receive", "text": frame[1:].decode("utf-8", "replace")}
    return {"type": "websocket.receive", "bytes": frame[1:]}


def _scope(known: Prepared) -> Message:
    path = "/api/agent/control/stream"
    return {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": f"node_id={NODE}".encode(),
        "headers": [(b"authorization", f"Bearer {known.node}".encode())],
        "client": (SOURCE, 40_000),
        "server": ("control", 80),
        "scheme": "ws",
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }


_NO_FAULT: Final = "no fault of the server; JSON, and every refusal an envelope with its request id"
TARGETS: Final = (
    Target("api.agent", ("server_stub.api.body", "server_stub.api.agent", "server_stub.api.agent_tasks",
           "server_stub.api.accepted", "server_stub.rules.results", "server_stub.rules.usage_ledger",
           "server_stub.rules.facts"), _asking(_agent), (), _NO_FAULT),
    Target("api.operator", ("server_stub.api.body", "server_stub.api.queries", "server_stub.api.orders",
           "server_stub.rules.task_limits", "server_stub.rules.tags", "server_stub.rules.metric_history",
           "server_stub.rules.policy_preview"), _asking(_operator), (), _NO_FAULT),
    Target("api.browser", ("server_stub.dashboard.forms", "server_stub.dashboard.draft",
           "server_stub.dashboard.visits"), _asking(_browser), (),
           "no fault; what was sent is text on the page, never an element or a script"),
    Target("api.stranger", ("server_stub.dashboard.login", "server_stub.api.gate", "server_stub.rules.local_paths"),
           _asking(_stranger), (), "no fault, and no way in", longest=16_384),
    Target("api.credentials", ("server_stub.api.gate", "server_stub.api.sessions"), _credentials, (), "nobody gets in",
           longest=8_192),
    Target("api.frames", ("server_stub.api.control_stream", "server_stub.api.live_output",
           "server_stub.rules.live_output"),
           lambda data: _at_once(_frames, data), (), "the stream goes on to its end"),
)  # fmt: skip

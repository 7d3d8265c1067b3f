"""The control plane in this process: the real application and store under trio, without sockets and threads."""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import trio
from starlette.applications import Starlette

from server_stub.app import build_app
from server_stub.bootstrap import create_operator_token
from server_stub.config import Limits, Settings
from server_stub.runner import run_directly
from server_stub.store.sqlite import SqliteStore

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOURCE = "198.51.100.7"


class TrioClock:
    """Both clocks follow trio's: under a mock clock, days pass in no time."""

    def now(self) -> datetime:
        return START + timedelta(seconds=trio.current_time())

    def monotonic(self) -> float:
        return trio.current_time()


@dataclass(frozen=True)
class Caller:
    """Somebody with a token (or none)."""

    client: httpx.AsyncClient
    token: str
    node_id: str = ""

    async def get(self, path: str, **query: str) -> httpx.Response:
        return await self._send("GET", path, params=({"node_id": self.node_id} if self.node_id else {}) | query)

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return await self._send("POST", path, json=({"node_id": self.node_id} if self.node_id else {}) | body)

    async def put(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return await self._send("PUT", path, json=body)

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return await self.client.request(method, path, headers=headers, **content)


@dataclass(frozen=True)
class World:
    """A control plane with one operator."""

    app: Starlette
    store: SqliteStore
    client: httpx.AsyncClient
    operator: Caller

    async def node(self, node_id: str) -> Caller:
        """Registers a node."""
        answer = await self.operator.post("/api/v1/nodes", {"id": node_id})
        return Caller(self.client, answer.raise_for_status().json()["token"], node_id)

    async def task(self, *nodes: str, **limits: object) -> str:
        """Creates a task, returns its id."""
        answer = await self.operator.post("/api/v1/tasks", {"nodes": list(nodes), "script": "true", **limits})
        return str(answer.raise_for_status().json()["task"]["id"])

    async def show(self, task_id: str, **query: str) -> dict[str, Any]:
        answer = await self.operator.get(f"/api/v1/tasks/{task_id}", **query)
        shown: dict[str, Any] = answer.raise_for_status().json()["task"]
        return shown

    async def audit(self, **query: str) -> list[dict[str, Any]]:
        """Newest first."""
        answer = await self.operator.get("/api/v1/audit", **query)
        events: list[dict[str, Any]] = answer.raise_for_status().json()["events"]
        return events


@asynccontextmanager
async def control_plane(limits: Limits | None = None, path: str = ":memory:") -> AsyncIterator[World]:
    """Ends with the store closed."""
    limits = limits or Limits()
    store = SqliteStore(path, limits)
    try:
        token = create_operator_token(store, f"test-{len(store.read(lambda tables: tables.operators.all()))}")
        app = build_app(store, TrioClock(), Settings(db_path=path, limits=limits), run_directly)
        transport = httpx.ASGITransport(app=app, client=(SOURCE, 40_000), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
            yield World(app, store, client, Caller(client, token))
    finally:
        store.close()


def result_of(lease: dict[str, Any], **fields: object) -> dict[str, Any]:
    """A plain successful result for a leased task."""
    blank = {"exit_code": 0, "stdout": "", "stderr": "", "error": ""}
    return {"result": {"task_id": lease["id"], "lease_id": lease["lease_id"], **blank, **fields}}


Message = MutableMapping[str, Any]


async def websocket(
    app: Starlette, path: str, query: str, headers: dict[str, str], talk: Callable[[], Awaitable[None]] | None = None
) -> httpx.Response:
    """Asks for an upgrade; the answer has status 101 if it was accepted. ``talk`` runs while it is open."""
    scope: Message = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": (SOURCE, 40_000),
        "server": ("control", 80),
        "scheme": "ws",
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    to_app, from_test = trio.open_memory_channel[Message](8)
    from_app: list[Message] = []
    answered = trio.Event()

    async def send(message: Message) -> None:
        from_app.append(message)
        answered.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, scope, from_test.receive, send)
        await to_app.send({"type": "websocket.connect"})
        await answered.wait()
        if from_app[0]["type"] == "websocket.accept":
            if talk is not None:
                await talk()
            await to_app.send({"type": "websocket.disconnect", "code": 1000})
            return httpx.Response(101)
    body = b"".join(message.get("body", b"") for message in from_app[1:])
    return httpx.Response(from_app[0]["status"], headers=from_app[0]["headers"], content=body)

"""A control plane for one input: the real application over a copy of a database that was prepared once.

Nothing of an input outlives it, so that each finding can be repeated by itself.
"""

import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import httpx
import trio
from starlette.applications import Starlette

from server_stub.app import build_app
from server_stub.bootstrap import create_operator_token
from server_stub.config import Limits, Settings
from server_stub.ids import new_session_secret, token_digest
from server_stub.rules.sessions import Session
from server_stub.runner import run_directly
from server_stub.store.sqlite import SqliteStore
from tests.fuzz.form import scratch
from tests.rigs.server_app import SOURCE, START, Caller

NODE: Final = "n1"
CSRF: Final = "csrf-token-of-this-session"
LIMITS: Final = Limits()


@dataclass(frozen=True)
class Prepared:
    """The database, and who may ask what of it. ``task_id`` is leased to NODE under ``lease_id``."""

    path: Path
    operator: str
    node: str
    session: str
    task_id: str
    lease_id: str

    @property
    def words(self) -> Mapping[str, str]:
        """What stands in an input for what no input could guess."""
        return {"@TASK": self.task_id, "@LEASE": self.lease_id, "@CSRF": CSRF}

    def filled_in(self, data: bytes) -> bytes:
        """The input with the words in place."""
        for word, meaning in self.words.items():
            data = data.replace(word.encode(), meaning.encode())
        return data


@cache
def prepared() -> Prepared:
    """Made once in a process: a node with a profile, a user, a task on its way, an operator who is signed in."""
    return trio.run(_prepare, scratch() / "prepared.db")


async def _prepare(path: Path) -> Prepared:
    async with _opened(path) as (_, store, client):
        operator = Caller(client, create_operator_token(store, "ada"))
        added = await operator.post("/api/v1/nodes", {"id": NODE})
        node = Caller(client, added.raise_for_status().json()["token"], NODE)
        (await operator.put(f"/api/v1/nodes/{NODE}/profile", {})).raise_for_status()
        (await operator.post("/api/v1/users", {"id": "u1"})).raise_for_status()
        (await operator.post("/api/v1/tasks", {"nodes": [NODE], "script": "true"})).raise_for_status()
        (lease,) = (await node.get("/api/agent/tasks")).json()
        secret = new_session_secret()
        session = Session(token_digest(secret), "ada", CSRF, START, START)
        store.write(lambda tables: tables.sessions.add(session))
        return Prepared(path, operator.token, node.token, secret, lease["id"], lease["lease_id"])


class _Clock:
    """It is always the same moment, so that an input does the same again; what waits is not held up."""

    def now(self) -> datetime:
        return START

    def monotonic(self) -> float:
        return trio.current_time()


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[tuple[Starlette, SqliteStore, httpx.AsyncClient]]:
    store = SqliteStore(str(path), LIMITS)
    try:
        app = build_app(store, _Clock(), Settings(db_path=str(path), limits=LIMITS), run_directly)
        # Raised again: a fault of the server is to be seen with its place, not as status 500.
        transport = httpx.ASGITransport(app=app, client=(SOURCE, 40_000), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
            yield app, store, client
    finally:
        store.close()


@dataclass(frozen=True)
class Plane:
    """The application, with who may ask."""

    app: Starlette
    store: SqliteStore
    client: httpx.AsyncClient
    known: Prepared


@asynccontextmanager
async def plane(known: Prepared) -> AsyncIterator[Plane]:
    """One over a fresh copy."""
    copy = known.path.with_name("copy.db")
    shutil.copyfile(known.path, copy)
    try:
        async with _opened(copy) as (app, store, client):
            yield Plane(app, store, client, known)
    finally:
        for leftover in copy.parent.glob(f"{copy.name}*"):
            leftover.unlink()


def check_answer(answer: httpx.Response, path: str) -> None:
    """An answer of the API: JSON, and a refusal is an envelope with a request id; only an unknown path is plain."""
    assert answer.status_code < 500 or answer.status_code == 503, answer.status_code
    kind = answer.headers.get("content-type", "")
    if kind.startswith("application/json"):
        document: Any = json.loads(answer.content)
        if answer.status_code >= 400 and path.startswith("/api/"):
            assert document["error"]["code"]
            assert document["error"]["request_id"]
    else:
        assert answer.status_code in (404, 307, 303, 302) or not path.startswith("/api/agent/"), kind

"""``serve`` that kills itself at one point of taking a result: ``python -m tests.rigs.crashing_server DB POINT``.

The program is the production one; only the store's commit and the outermost ASGI call are wrapped.
"""

import asyncio
import os
import signal
import sys
from typing import NoReturn

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server_stub.app import build_app
from server_stub.clock import SystemClock
from server_stub.config import Settings
from server_stub.runner import OneThread
from server_stub.serve import open_listener, prepare, run
from server_stub.store.sqlite import SqliteStore

BEFORE_COMMIT, AFTER_COMMIT, HALF_ANSWER = POINTS = ("before-commit", "after-commit", "half-answer")


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


class CrashingStore(SqliteStore):
    """Dies around the commit that follows ``armed = True``."""

    armed = False
    point = ""

    def _commit(self) -> None:
        if self.armed and self.point == BEFORE_COMMIT:
            die()
        super()._commit()
        if self.armed and self.point == AFTER_COMMIT:
            die()


class ArmedByResults:
    """Arms the store while a result is taken; at point ``half-answer`` sends half of the body and dies."""

    def __init__(self, app: ASGIApp, store: CrashingStore) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/agent/task-result"):
            await self._app(scope, receive, send)
            return
        self._store.armed = True

        async def half(message: Message) -> None:
            if message["type"] != "http.response.body" or self._store.point != HALF_ANSWER:
                await send(message)
                return
            body = message["body"]
            await send({**message, "body": body[: len(body) // 2], "more_body": True})
            await asyncio.sleep(0.01)  # the event loop writes what it was given
            die()

        await self._app(scope, receive, half)


def main(db_path: str, point: str) -> None:
    settings = Settings(db_path=db_path, port=0)
    store = CrashingStore(db_path)
    store.point = point
    prepare(store, settings)
    app = build_app(store, SystemClock(), settings, OneThread())
    with open_listener(settings) as listener:
        run(ArmedByResults(app, store), settings, listener, on_stop=app.state.plane.close)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

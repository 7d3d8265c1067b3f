"""An answer to a result of which only the first half goes out, with a crash point behind it."""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH: Final = "/api/agent/task-result"
WRITTEN_S: Final = 0.01
"""The event loop writes what it was given; then comes the other half."""


class HalfAnswers:
    """Around an application: bodies of answers to results come in two halves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or not scope["path"].startswith(PATH):
            await self._app(scope, receive, send)
            return

        async def in_halves(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            body = message["body"]
            middle = len(body) // 2
            await send({**message, "body": body[:middle], "more_body": True})
            await asyncio.sleep(WRITTEN_S)
            await send({**message, "body": body[middle:]})

        await self._app(scope, receive, in_halves)

"""The operators' side of the soak: one client, straight to the control plane, that knows trouble from faults.

A server that is away or stops is trouble, which the soak makes itself; another answer of 5xx is a fault of the server.
"""

import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import trio

TIMEOUT_S: Final = 40.0
AGAIN_S: Final = 0.5
WAIT_S: Final = 20
"""How long the server is asked to hold an answer back until a task has ended."""


class AwayError(Exception):
    """No answer: nobody knows whether the request was taken."""


class Refused(Exception):  # noqa: N818  # an answer, not a fault
    """An answer other than 2xx."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text[:200]}")
        self.status = status


class Operators:
    """``faults``: answers that no server may give, counted by what was asked."""

    def __init__(self, client: httpx.AsyncClient, context: ssl.SSLContext, token: str) -> None:
        self.client, self.context, self.token = client, context, token
        self.asked = 0
        self.faults: Counter[str] = Counter()

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None, **query: Any) -> dict[str, Any]:
        """The answer's JSON."""
        self.asked += 1
        try:
            answer = await self.client.request(method, f"/api/v1/{path}", json=body, params=query, headers=self.headers)
        except httpx.TransportError as error:
            raise AwayError(str(error)) from error
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # it stops
            raise AwayError(answer.text[:200])
        if answer.status_code >= 500:
            self.faults[f"{method} {path.partition('/')[0]}: {answer.status_code}"] += 1
            raise AwayError(answer.text[:200])
        if not answer.is_success:
            raise Refused(answer.status_code, answer.text)
        return dict(answer.json())

    async def surely(self, method: str, path: str, body: dict[str, Any] | None = None, **query: Any) -> dict[str, Any]:
        """Asks again until the server is back. For what may be asked twice."""
        while True:
            try:
                return await self.ask(method, path, body, **query)
            except AwayError:
                await trio.sleep(AGAIN_S)

    async def ended(self, task_id: str, limit_s: float) -> dict[str, Any] | None:
        """The task once it has ended; None if it has not by then."""
        with trio.move_on_after(limit_s):
            while True:
                task = (await self.surely("GET", f"tasks/{task_id}", wait_s=WAIT_S))["task"]
                if task["status"] not in ("queued", "leased"):
                    return dict(task)
                await trio.sleep(AGAIN_S)
        return None


@asynccontextmanager
async def operators(url: str, context: ssl.SSLContext, token: str) -> AsyncIterator[Operators]:
    """To the end of the block."""
    bounds = httpx.Limits(max_connections=300, max_keepalive_connections=50)
    async with httpx.AsyncClient(
        base_url=url, verify=context, trust_env=False, timeout=TIMEOUT_S, limits=bounds
    ) as client:
        yield Operators(client, context, token)

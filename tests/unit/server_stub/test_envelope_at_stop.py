"""What uvicorn cancels because the server stops is answered, and no fault."""

import asyncio
from typing import Any

import pytest

from server_stub.api.envelope import Envelope


async def cancelled(begun: bool) -> list[dict[str, Any]]:
    """What goes out of a request that is cancelled: before its answer has begun, or after."""
    sent: list[dict[str, Any]] = []
    waits = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        waits.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    request = asyncio.create_task(Envelope(app)({"type": "http", "path": "/", "method": "GET"}, receive, send))
    await waits.wait()
    request.cancel()
    await request
    return sent


def test_a_request_that_is_cancelled_at_the_stop_is_answered_503(caplog: pytest.LogCaptureFixture) -> None:
    start, body = asyncio.run(cancelled(begun=False))
    assert start["status"] == 503
    assert b'"request_id"' in body["body"]
    assert not caplog.records


def test_an_answer_that_has_begun_is_cut() -> None:
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled(begun=True))

"""What is left of a connection when it has ended."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from server_stub.bounded_http import BoundedHttp


class Transport(asyncio.Transport):
    """Takes everything."""

    def get_extra_info(self, _name: str, default: object = None) -> object:
        return default

    def get_protocol(self) -> asyncio.BaseProtocol:
        return asyncio.Protocol()

    def is_closing(self) -> bool:
        return False

    def write(self, data: object) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("reason", [None, ConnectionResetError("by the peer")], ids=["closed", "reset"])
def test_a_connection_that_ended_is_not_kept(reason: Exception | None) -> None:
    """The time that it would have been kept alive for, two minutes, is over with it."""

    async def one() -> "weakref.ref[BoundedHttp]":
        answered = asyncio.Event()

        async def app(_scope: object, _receive: object, send: Callable[[object], Awaitable[None]]) -> None:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            answered.set()

        config = Config(app, timeout_keep_alive=120, lifespan="off", log_config=None)  # type: ignore[arg-type]
        config.load()
        http = BoundedHttp(config, ServerState(), {})
        http.connection_made(Transport())
        http.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await answered.wait()
        assert http.timeout_keep_alive_task is not None
        http.connection_lost(reason)
        return weakref.ref(http)

    async def gone() -> bool:
        left = await one()
        await asyncio.sleep(0)
        gc.collect()
        return left() is None

    assert asyncio.run(gone())

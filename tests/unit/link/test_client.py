"""The client over an in-process transport; over real sockets: tests/behaviour/test_transport_*.py."""

import httpx
import pytest
import trio

from lattice_agent.errors import TransportRefusedError
from lattice_agent.link.client import Answer, ControlPlane
from lattice_agent.link.settings import LinkSettings
from lattice_agent.secret import Secret


def plane_with(transport: httpx.AsyncBaseTransport, **settings: float) -> ControlPlane:
    return ControlPlane(
        LinkSettings("http://127.0.0.1:8088", "node-1", **settings),  # type: ignore[arg-type]  # only numbers are passed
        Secret("token"),
        transport=transport,
    )


def empty(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(b""))


async def test_a_server_in_the_same_process_can_stand_in_for_the_network() -> None:
    async def serve(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            418, headers=[("X-Word", "one"), ("x-word", "two")], stream=httpx.ByteStream(await request.aread())
        )

    async with plane_with(httpx.MockTransport(serve)) as plane:
        answer = await plane.post("/x", b"body")
    assert answer == Answer(418, {"x-word": "one, two"}, b"body")


async def test_an_answer_cannot_be_changed() -> None:
    async with plane_with(httpx.MockTransport(empty)) as plane:
        answer = await plane.get("/x")
    with pytest.raises(TypeError):
        answer.headers["x"] = "y"  # type: ignore[index]  # that is the point


async def test_one_exchange_is_one_attempt() -> None:
    attempts = 0

    def fail(request: httpx.Request) -> httpx.Response:
        nonlocal attempts
        attempts += 1
        raise httpx.ConnectError("refused")

    async with plane_with(httpx.MockTransport(fail)) as plane:
        with pytest.raises(Exception, match="no connection"):
            await plane.get("/x")
    assert attempts == 1


async def test_the_callers_cancellation_is_not_a_link_error() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    async with plane_with(httpx.MockTransport(hang)) as plane:
        with trio.CancelScope() as scope:
            scope.cancel()
            await plane.get("/x")
        assert scope.cancelled_caught


async def test_waiting_for_the_own_pace_does_not_eat_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    transport = httpx.MockTransport(empty)
    async with plane_with(transport, requests_per_s=0.1, exchange_deadline_s=1.0) as plane:
        for _ in range(5):
            assert (await plane.get("/x")).status == 200
    assert trio.current_time() > 30


def test_the_guard_comes_before_everything() -> None:
    with pytest.raises(TransportRefusedError):
        ControlPlane(LinkSettings("http://control.test", "node-1"), Secret("token"))

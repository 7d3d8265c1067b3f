"""Calls against h2's own server side, over streams in memory."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import h2.connection
import h2.settings
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.grpc_answer import MESSAGE_LIMIT, RefusedCallError
from lattice_agent.usage.grpc_connection import WIRE_LIMIT, GrpcConnection
from tests.rigs.scripted_core import Call, Script, serve

PATH = "/package.Service/Method"
LIMIT_S = 20.0
OK = {"grpc-status": "0"}


@asynccontextmanager
async def connected(script: Script) -> AsyncIterator[GrpcConnection]:
    ours, theirs = memory_stream_pair()
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, theirs, script)
            async with GrpcConnection(ours, "127.0.0.1:10085") as connection:
                yield connection


async def refusal(script: Script) -> str:
    async with connected(script) as connection:
        with pytest.raises(UsageSourceError) as raised:
            await connection.call(PATH, b"question")
    return str(raised.value)


async def test_a_call_is_grpc() -> None:
    seen: list[Call] = []

    async def script(call: Call) -> None:
        seen.append(call)
        await call.answer(b"answer")

    async with connected(script) as connection:
        assert await connection.call(PATH, b"question") == b"answer"
    assert seen[0].request == b"\0\0\0\0\x08question"
    assert seen[0].headers == {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": PATH.encode(),
        b":authority": b"127.0.0.1:10085",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
        b"user-agent": b"lattice-agent",
    }


async def test_calls_follow_each_other_on_one_connection_and_are_counted() -> None:
    async def script(call: Call) -> None:
        await call.answer(call.request[5:] * 2)

    async with connected(script) as connection:
        assert await connection.call(PATH, b"a") == b"aa"
        sent, received = connection.sent, connection.received
        assert await connection.call(PATH, b"x" * 1000) == b"x" * 2000
        assert 1000 < connection.sent - sent < 1200
        assert 2000 < connection.received - received < 2200


async def test_an_answer_of_the_largest_size_passes_the_windows() -> None:
    async with connected(lambda call: call.answer(b"x" * MESSAGE_LIMIT)) as connection:
        assert await connection.call(PATH, b"") == b"x" * MESSAGE_LIMIT
        assert await connection.call(PATH, b"") == b"x" * MESSAGE_LIMIT  # the connection's window was given back, too


async def test_a_longer_answer_is_refused_while_it_arrives() -> None:
    async def script(call: Call) -> None:
        call.begin()
        while True:
            await call.send_body(b"x" * 16_384)

    assert await refusal(script) == "the answer is longer than 1048576 bytes"


async def test_frames_without_content_come_to_an_end() -> None:
    async def script(call: Call) -> None:
        call.begin()
        while True:
            call.http.send_data(call.stream_id, b"", pad_length=255)
            call.http.ping(b"12345678")
            await call.stream.send_all(b"\0\0\x08\x06\x01\0\0\0\0acknowle" * 4096)

    assert await refusal(script) == f"the answer takes more than {WIRE_LIMIT} bytes on the wire"


async def test_a_refusal_in_headers_alone() -> None:
    async with connected(lambda call: call.refuse(12, "unknown service ä 100%\n")) as connection:
        with pytest.raises(RefusedCallError) as raised:
            await connection.call(PATH, b"")
    assert (raised.value.code, raised.value.detail) == (12, "unknown service ä 100%")
    assert str(raised.value) == "the core refuses the call with gRPC status 12: unknown service ä 100%"


async def test_a_refusal_in_trailers() -> None:
    async with connected(lambda call: call.answer(b"", trailers={"grpc-status": "2"})) as connection:
        with pytest.raises(RefusedCallError) as raised:
            await connection.call(PATH, b"")
    assert str(raised.value) == "the core refuses the call with gRPC status 2"


async def test_a_long_refusal_is_cut() -> None:
    assert len(await refusal(lambda call: call.refuse(2, "x" * 2000))) < 300


def body(content: bytes) -> Script:
    async def script(call: Call) -> None:
        call.begin()
        await call.send_body(content)
        await call.end(OK)

    return script


def headers(**changed: str) -> Script:
    async def script(call: Call) -> None:
        call.begin(end_stream=True, **changed)
        await call.flush()

    return script


async def reset(call: Call) -> None:
    call.http.reset_stream(call.stream_id, 11)
    await call.flush()


async def go_away(call: Call) -> None:
    call.http.close_connection(2, b"too many pings")
    await call.flush()


async def hang_up(call: Call) -> None:
    await call.stream.aclose()


async def hang_up_half_way(call: Call) -> None:
    call.begin()
    await call.send_body(b"\0\0\0\0\x08half")
    await call.stream.aclose()


async def break_rules(call: Call) -> None:
    await call.stream.send_all(b"\0\0\x01\x06\0\0\0\0\0x")  # a ping of one byte


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (lambda call: call.answer(b"x", flag=1), "the answer is compressed although that was not asked for"),
        (lambda call: call.answer(b"x", trailers={"other": "0"}), "the answer ends without a gRPC status"),
        (lambda call: call.answer(b"x", trailers={"grpc-status": "-1"}), "the answer has the gRPC status '-1'"),
        (lambda call: call.answer(b"x", trailers={"grpc-status": "1000"}), "the answer has the gRPC status '1000'"),
        (body(b""), "the answer holds no message"),
        (body(b"\0\0\0\0"), "the answer holds no message"),
        (body(b"\0\0\0\0\x02x"), "the answer is cut, or holds more than one message"),
        (body(b"\0\0\0\0\x01x\0\0\0\0\0"), "the answer is cut, or holds more than one message"),
        (headers(**{":status": "404"}), "the answer has HTTP status 404, so it is not gRPC"),
        (headers(**{"content-type": "text/html"}), "the answer is HTTP/2 but not gRPC"),
        (reset, "the core ends the call (RST_STREAM, code 11)"),
        (go_away, "the core ends the connection (GOAWAY, code 2)"),
        (hang_up, "the connection ended before an answer had come"),
        (hang_up_half_way, "the connection ended before an answer had come"),
        (break_rules, "the core breaks the rules of HTTP/2: FrameDataMissingError"),
    ],
)
async def test_every_bad_end_has_a_sentence(script: Script, sentence: str) -> None:
    assert re.sub(r"ErrorCodes\.|<|>", "", await refusal(script)) == sentence


@pytest.mark.parametrize("pieces", [(b"HTTP/1.1 400 Bad Request\r\n\r\n",), (b"SS", b"H", b"-", b"2.0")])
async def test_another_protocol_is_known_by_its_fourth_byte(pieces: tuple[bytes, ...]) -> None:
    ours, theirs = memory_stream_pair()
    async with GrpcConnection(ours, "127.0.0.1:1") as connection, trio.open_nursery() as nursery:

        async def speak() -> None:
            for piece in pieces:
                await theirs.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()

        nursery.start_soon(speak)
        with pytest.raises(UsageSourceError, match="what listens there does not speak HTTP/2"):
            await connection.call(PATH, b"")
        nursery.cancel_scope.cancel()


async def test_a_peer_that_opens_no_window_is_an_error_and_no_wait() -> None:
    async def script(call: Call) -> None:
        call.http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        await call.answer(b"")

    async with connected(script) as connection:
        await connection.call(PATH, b"")
        with pytest.raises(UsageSourceError, match="the core breaks the rules of HTTP/2: FlowControlError"):
            await connection.call(PATH, b"")


async def test_a_silent_peer_is_left_at_the_callers_deadline(autojump_clock: MockClock) -> None:
    async def script(call: Call) -> None:
        await trio.sleep(10)

    async with connected(script) as connection:
        with pytest.raises(trio.TooSlowError), trio.fail_after(3):
            await connection.call(PATH, b"")
    assert trio.current_time() >= 3


async def hostile(data: bytes, act: Callable[[GrpcConnection], Awaitable[object]]) -> None:
    ours, theirs = memory_stream_pair()
    async with GrpcConnection(ours, "127.0.0.1:1") as connection:
        await theirs.send_all(data)
        await theirs.send_eof()
        with suppress(UsageSourceError):
            await act(connection)


frames = st.tuples(st.binary(max_size=40), st.integers(0, 10), st.integers(0, 255), st.sampled_from([0, 1, 2, 3])).map(
    lambda part: len(part[0]).to_bytes(3, "big") + bytes([part[1], part[2]]) + part[3].to_bytes(4, "big") + part[0]
)


@given(st.binary(max_size=200) | st.lists(frames, max_size=8).map(b"".join))
@settings(deadline=None)
def test_arbitrary_frames_raise_nothing_but_our_error(data: bytes) -> None:
    trio.run(hostile, data, lambda connection: connection.call(PATH, b""))

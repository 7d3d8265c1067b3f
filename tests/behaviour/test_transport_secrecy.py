"""The node token is in no message, repr, log line or traceback, not even one that shows local variables."""

import io
import logging
import traceback

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.errors import ConfigError, LinkError
from lattice_agent.link.client import ControlPlane
from lattice_agent.link.settings import LinkSettings
from lattice_agent.secret import Secret
from tests.rigs.transport import OK, TOKEN, Script, answering, http_answer, start_peer


async def echo(stream: trio.abc.Stream, request: bytes) -> None:
    """What an echo service or a confused proxy does: the headers come back where a status line should be."""
    await stream.send_all(request.replace(b"\r\n", b" ") + b"\r\n\r\n")


async def echo_in_a_header(stream: trio.abc.Stream, request: bytes) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\n" + TOKEN.encode() + b"\r\n\r\n")


async def hang_up(stream: trio.abc.Stream, request: bytes) -> None:
    await stream.aclose()


async def hang(stream: trio.abc.Stream, request: bytes) -> None:
    await stream.send_all(OK[:-1])
    for _ in range(10):
        await trio.sleep(10)


FAILURES: dict[str, Script] = {
    "echo": echo,
    "echo in a header": echo_in_a_header,
    "hang up": hang_up,
    "deadline": hang,
    "redirect": answering(http_answer(b"", "302 Found", f"Location: http://{TOKEN}@x.test/{TOKEN}?t={TOKEN}")),
    "coded": answering(http_answer(b"", "200 OK", "Content-Encoding: gzip")),
    "too large": answering(http_answer(bytes(2000))),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_no_failure_shows_the_token(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG)
    peer = await start_peer(nursery, FAILURES[name])
    async with ControlPlane(LinkSettings(peer.url, "node-1"), Secret(TOKEN)) as plane:
        with pytest.raises(LinkError) as caught:
            await plane.post("/api/agent/metrics", b"{}", answer_limit=1000)
    shown = f"{caught.value!r} {caught.value.hint()} {everything_a_traceback_can_show(caught.value)}"
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)
    assert TOKEN.encode() in peer.received
    assert "plane = <ControlPlane http://127.0.0.1" in shown  # the locals are really there
    assert TOKEN not in shown
    assert "site-packages" not in shown  # no frame of the libraries, which hold the request
    assert TOKEN not in caplog.text


async def test_no_success_shows_the_token(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    peer = await start_peer(nursery, answering(OK))
    with trio.fail_after(10):
        async with ControlPlane(LinkSettings(peer.url, "node-1"), Secret(TOKEN)) as plane:
            answer = await plane.get("/api/agent/config")
            assert TOKEN not in repr(plane)
    assert TOKEN not in repr(answer) + caplog.text


@pytest.mark.parametrize("token", ["", "abc def", "abcdef\r\nX-Evil: 1", "abc\n", "tökén", "abc\x7fdef"])
def test_a_token_that_is_no_header_value_is_refused_unseen(token: str) -> None:
    with pytest.raises(ConfigError, match="node token") as caught:
        ControlPlane(LinkSettings("http://127.0.0.1:1", "node-1"), Secret(token))
    # Leave out the local variable of this test itself.
    shown = everything_a_traceback_can_show(caught.value).replace(f"    token = {token!r}\n", "")
    assert "token = Secret(***)" in shown
    assert not token or repr(token)[1:-1] not in shown


def everything_a_traceback_can_show(error: BaseException) -> str:
    text = io.StringIO()
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    trace.print(file=text)
    return text.getvalue()

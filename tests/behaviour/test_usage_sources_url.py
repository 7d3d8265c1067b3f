"""A loopback usage URL against real HTTP servers on loopback, well-behaved and not."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio

from lattice_agent.errors import UsageSourceError
from lattice_agent.secret import Secret
from lattice_agent.usage.parse import DOCUMENT_LIMIT
from lattice_agent.usage.reading import RawUsage
from lattice_agent.usage.url import LoopbackUrlSource

Handler = Callable[[trio.SocketStream], Awaitable[None]]
GOOD = json.dumps({"user_bytes": {"user-1": 1000}, "core_uptime_sec": 100}).encode()


@dataclass
class Core:
    """A listening proxy core: its port, and the requests it was sent."""

    port: int = 0
    requests: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/usage"

    def header(self, name: str) -> str:
        lines = self.requests[-1].split("\r\n")
        return next((line.partition(": ")[2] for line in lines if line.lower().startswith(f"{name}:")), "")


def answering(body: bytes = GOOD, *headers: str, status: str = "200 OK") -> Handler:
    async def handle(stream: trio.SocketStream) -> None:
        head = "\r\n".join(
            [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        )
        await stream.send_all(head.encode() + body)

    return handle


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def dripping(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await trio.sleep_forever()


async def flooding(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await stream.send_all(b" " * 65_536)


async def garbling(stream: trio.SocketStream) -> None:
    await stream.send_all(b"220 mail ready\r\n")


@asynccontextmanager
async def core(handle: Handler, host: str = "127.0.0.1") -> AsyncIterator[Core]:
    seen = Core()

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                seen.requests.append((await stream.receive_some(65_536)).decode())
                await handle(stream)
            except trio.BrokenResourceError:
                pass  # the client has closed, as it should when it has read enough

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host=host))
        seen.port = listeners[0].socket.getsockname()[1]
        with trio.fail_after(30):
            yield seen
        nursery.cancel_scope.cancel()


async def read(url: str, secret: Secret | None = None, timeout_s: float = 10.0) -> RawUsage:
    async with aclosing(LoopbackUrlSource(url, secret=secret, timeout_s=timeout_s)) as source:
        return await source.read()


async def refusal(url: str, timeout_s: float = 10.0) -> str:
    with pytest.raises(UsageSourceError) as raised:
        await read(url, timeout_s=timeout_s)
    return str(raised.value)


async def test_a_document_is_read_and_reported() -> None:
    async with core(answering()) as one:
        async with aclosing(LoopbackUrlSource(one.url)) as source:
            assert await source.read() == RawUsage({"user-1": 1000}, core_uptime_s=100)


async def test_the_request_is_a_plain_get_without_authorization() -> None:
    async with core(answering()) as one:
        await read(f"{one.url}?full=1")
        assert one.requests[0].startswith("GET /usage?full=1 HTTP/1.1\r\n")
        assert (one.header("accept"), one.header("accept-encoding")) == ("application/json", "identity")
        assert one.header("host") == f"127.0.0.1:{one.port}"
        assert one.header("authorization") == ""


async def test_the_secret_of_a_file_goes_out_as_bearer_token(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush-1\n")
    async with core(answering()) as one:
        async with aclosing(LoopbackUrlSource(one.url, secret_file=tmp_path / "secret")) as source:
            await source.read()
        assert one.header("authorization") == "Bearer hush-1"


async def test_localhost_is_this_machine_without_asking_a_name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    async def elsewhere(host: str, *args: object, **kwargs: object) -> trio.SocketStream:
        assert host in ("127.0.0.1", "::1"), f"{host} would be looked up"
        return await connect(host, *args, **kwargs)  # type: ignore[arg-type]  # handed through as they came

    connect = trio.open_tcp_stream
    monkeypatch.setattr(trio, "open_tcp_stream", elsewhere)
    for host in ("127.0.0.1", "::1"):
        async with core(answering(), host) as one:
            assert await read(f"http://LocalHost:{one.port}/") == RawUsage({"user-1": 1000}, core_uptime_s=100)
            assert one.header("host") == f"localhost:{one.port}"


async def test_trap_15_a_redirect_is_an_error_and_the_secret_stays() -> None:
    async with core(answering()) as target:
        async with core(answering(b"", f"Location: {target.url}", status="302 Found")) as one:
            assert "the answer is a redirect, which is not followed" in await refusal(one.url)
            assert target.requests == []


@pytest.mark.parametrize("status", ["204 No Content", "404 Not Found", "500 Oops", "401 Unauthorized"])
async def test_a_status_without_a_document_is_an_error(status: str) -> None:
    async with core(answering(b"", status=status)) as one:
        message = await refusal(one.url)
        assert message.startswith(f"proxy usage URL {one.url}")
        assert status[:3] in message or "document is empty" in message


async def test_a_compressed_answer_is_refused_unread() -> None:
    async with core(answering(b"\x1f\x8b", "Content-Encoding: gzip")) as one:
        assert "is compressed" in await refusal(one.url)


@pytest.mark.parametrize("handle", [flooding, answering(b" " * (DOCUMENT_LIMIT + 1))])
async def test_an_answer_over_a_mebibyte_is_refused(handle: Handler) -> None:
    async with core(handle) as one:
        assert "the answer is longer than 1048576 bytes" in await refusal(one.url)


async def test_an_answer_of_exactly_a_mebibyte_is_read() -> None:
    async with core(answering(GOOD.ljust(DOCUMENT_LIMIT))) as one:
        assert (await read(one.url)).user_bytes == {"user-1": 1000}


@pytest.mark.parametrize("handle", [silent, dripping])
async def test_a_core_that_does_not_finish_is_cut_off(handle: Handler) -> None:
    async with core(handle) as one:
        message = await refusal(one.url, timeout_s=0.05)
        assert message == f"proxy usage URL {one.url} did not answer within 0.05 s"


async def test_what_is_no_http_and_nobody_at_all_are_errors() -> None:
    async with core(garbling) as one:
        assert "failed: " in await refusal(one.url)
        gone = one.url
    assert "failed: " in await refusal(gone)


async def test_a_wrong_document_is_an_error_that_names_the_url_and_the_place() -> None:
    async with core(answering(b'{"user_bytes": {"a": 1.5}}')) as one:
        assert await refusal(one.url) == f"proxy usage URL {one.url}: user_bytes['a'] is not a whole number"


async def test_proxy_settings_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with core(answering(b"{}")) as proxy, core(answering()) as one:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await read(one.url, Secret("hush"))
        assert proxy.requests == []


async def test_a_connection_is_closed_after_its_reading_although_the_core_would_keep_it() -> None:
    closed = trio.Event()

    async def keeping(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(GOOD), GOOD))
        assert await stream.receive_some(1) == b""
        closed.set()

    async with core(keeping) as one:
        async with aclosing(LoopbackUrlSource(one.url)) as source:
            await source.read()
            await closed.wait()

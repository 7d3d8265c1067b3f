"""How the node learns its public addresses: real resolvers on loopback, asked as the plan says."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.facts.address_plan import AddressFlags, AddressPlan, plan_addresses
from lattice_agent.facts.addresses import AddressPair
from lattice_agent.facts.resolver import TOTAL_TIMEOUT_S, Found, find_public_addresses, resolver_client
from lattice_agent.wire.config import IpConfig

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@dataclass
class Resolver:
    """What a listening resolver was asked: the first line of every request."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


def answering(status: str, body: bytes, *headers: str) -> Handler:
    async def handle(stream: trio.SocketStream) -> None:
        head = "\r\n".join(
            [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        )
        await stream.send_all(head.encode() + body)

    return handle


async def never(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def flooding(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await stream.send_all(b"9" * 65_536)


@asynccontextmanager
async def resolver(handle: Handler, host: str = "127.0.0.1") -> AsyncIterator[Resolver]:
    seen = Resolver()

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                request = await stream.receive_some(65_536)
                seen.asked.append(request.partition(b"\r\n")[0].decode())
                await handle(stream)
            except trio.BrokenResourceError:
                pass  # the client has closed, as it should when it has read enough

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host=host))
        port = listeners[0].socket.getsockname()[1]
        seen.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/ip"
        yield seen
        nursery.cancel_scope.cancel()


async def ask(plan: AddressPlan) -> Found:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with resolver_client(4, tls) as client_v4, resolver_client(6, tls) as client_v6:
        with trio.fail_after(60):
            return await find_public_addresses(plan, client_v4, client_v6)


async def test_a_named_resolver_gives_the_address() -> None:
    async with resolver(answering("200 OK", b"fl=1\nip=9.9.9.9\n")) as one:
        found = await ask(plan_addresses(AddressFlags(resolvers=(one.url,), public_ipv6="2606:4700::1"), None))
        assert found == Found(AddressPair("9.9.9.9", ""))
        assert one.asked == ["GET /ip HTTP/1.1"]


async def test_weak_point_22_auto_makes_no_call_when_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*args: object, **kwargs: object) -> object:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(trio, "open_tcp_stream", refuse)
    assert await ask(plan_addresses(AddressFlags(), None)) == Found(AddressPair())


async def test_the_servers_override_clears_the_resolvers_of_the_flags() -> None:
    async with resolver(answering("200 OK", b"9.9.9.9")) as one:
        plan = plan_addresses(AddressFlags(resolvers=(one.url,)), IpConfig(mode="static", static_ipv4="1.1.1.1"))
        assert await ask(plan) == Found(AddressPair())
        assert plan.public_ip == "1.1.1.1"
        assert one.asked == []


@pytest.mark.parametrize(
    ("handle", "reason"),
    [
        (answering("302 Found", b"9.9.9.9", "Location: http://127.0.0.1:1/"), "status 302"),
        (answering("500 Oops", b"9.9.9.9"), "status 500"),
        (answering("200 OK", b"192.0.2.7"), "answered no public IPv4 address"),
        (answering("200 OK", b"2606:4700::1111"), "answered no public IPv4 address"),
        (answering("200 OK", b"\xff\xfe"), "answered no public IPv4 address"),
        (answering("200 OK", b" " * 4090 + b"9.9.9.9"), "longer than 4096 bytes"),
        (flooding, "longer than 4096 bytes"),
    ],
)
async def test_the_next_resolver_is_asked_when_one_is_of_no_use(handle: Handler, reason: str) -> None:
    async with resolver(handle) as bad, resolver(answering("200 OK", b"9.9.9.9")) as good:
        found = await ask(AddressPlan(ask_v4=(bad.url, good.url)))
        assert found.addresses == AddressPair("9.9.9.9")
        assert len(found.problems) == 1
        assert reason in found.problems[0]
        assert len(bad.asked) == 1


async def test_a_resolver_that_is_not_there_is_no_more_than_a_sentence() -> None:
    found = await ask(AddressPlan(ask_v4=("http://user:hush@127.0.0.1:1/?key=hush",)))
    assert found.addresses == AddressPair()
    assert found.problems[0].startswith("ip resolver 127.0.0.1 failed: ")
    assert "hush" not in found.problems[0]


async def test_each_family_is_asked_over_itself() -> None:
    async with resolver(answering("200 OK", b"2606:4700::1111"), "::1") as six:
        both = AddressPlan(ask_v4=(six.url,), ask_v6=(six.url,))
        found = await ask(both)
        assert found.addresses == AddressPair("", "2606:4700::1111")
        assert len(six.asked) == 1  # the IPv4 client cannot even connect


async def test_silent_resolvers_cost_twelve_seconds_at_most(autojump_clock: MockClock) -> None:
    async with resolver(never) as one, resolver(never, "::1") as six:
        began = trio.current_time()
        plan = AddressPlan(ask_v4=tuple(f"{one.url}/{i}" for i in range(4)), ask_v6=(six.url,))
        found = await ask(plan)
        assert trio.current_time() - began == pytest.approx(TOTAL_TIMEOUT_S, abs=0.5)
        assert found.addresses == AddressPair()
        assert "did not answer within 5 s" in found.problems[0]
        assert "within 12 s" in found.problems[-1]


async def test_one_familys_answer_survives_the_silence_of_the_other(autojump_clock: MockClock) -> None:
    async with resolver(answering("200 OK", b"9.9.9.9")) as good, resolver(never, "::1") as silent:
        found = await ask(AddressPlan(ask_v4=(good.url,), ask_v6=(silent.url, f"{silent.url}/2", f"{silent.url}/3")))
        assert found.addresses == AddressPair("9.9.9.9", "")


async def test_proxy_settings_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with resolver(answering("200 OK", b"1.1.1.1")) as proxy, resolver(answering("200 OK", b"9.9.9.9")) as one:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert (await ask(AddressPlan(ask_v4=(one.url,)))).addresses == AddressPair("9.9.9.9")
        assert proxy.asked == []

"""What the client accepts from a server, and what it refuses: real sockets, servers as wrong as they can be."""

import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
from trio.testing import MockClock

from lattice_agent import __version__
from lattice_agent.errors import LinkError, TransportRefusedError
from lattice_agent.link.client import Answer, ControlPlane
from lattice_agent.link.errors import (
    AnswerTooLargeError,
    CodedAnswerError,
    DeadlineError,
    Reason,
    RedirectRefusedError,
    UnreachableError,
)
from lattice_agent.link.settings import LinkSettings
from lattice_agent.secret import Secret
from tests.rigs.transport import OK, TOKEN, Authority, Names, Peer, Script, answering, http_answer, start_peer


def plane_to(url: str, node_id: str = "node-1") -> ControlPlane:
    return ControlPlane(LinkSettings(url, node_id), Secret(TOKEN))


async def get(peer: Peer, *, answer_limit: int = 1000) -> Answer:
    with trio.fail_after(10):
        async with plane_to(peer.url) as plane:
            return await plane.get("/api/agent/config", answer_limit=answer_limit)


def head_of(peer: Peer) -> list[str]:
    return peer.requests[0].split(b"\r\n\r\n")[0].decode("ascii").split("\r\n")


# --- what is sent --------------------------------------------------------------------------------------------------


async def test_a_post_is_sent_as_it_is(nursery: trio.Nursery) -> None:
    peer = await start_peer(nursery, answering(OK))
    with trio.fail_after(10):
        async with plane_to(peer.url + "/prefix/") as plane:
            answer = await plane.post("/api/agent/metrics", b'{"node_id":"node-1"}')
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b'{"ok":true}', "11")
    request_line, *headers = head_of(peer)
    assert request_line == "POST /prefix/api/agent/metrics HTTP/1.1"
    assert {
        f"Authorization: Bearer {TOKEN}",
        "Accept-Encoding: identity",
        "Content-Type: application/json",
        f"User-Agent: lattice-agent/{__version__}",
    } <= set(headers)
    assert peer.requests[0].endswith(b'\r\n\r\n{"node_id":"node-1"}')


@pytest.mark.parametrize("node_id", ["a b", "a&limit=9", "a=b#c", "100%", "%41", "a+b", "knöten/ü", "?", "../.."])
async def test_trap_16_the_node_id_is_percent_encoded(nursery: trio.Nursery, node_id: str) -> None:
    peer = await start_peer(nursery, answering(OK))
    with trio.fail_after(10):
        async with plane_to(peer.url, node_id) as plane:
            await plane.get("/api/agent/tasks", {"max": "2 & more"})
    target = urlsplit(head_of(peer)[0].split(" ")[1])
    assert target.path == "/api/agent/tasks"
    assert parse_qs(target.query, strict_parsing=True) == {"node_id": [node_id], "max": ["2 & more"]}
    assert "+" not in target.query


async def test_without_node_and_token_nothing_of_them_is_sent(nursery: trio.Nursery) -> None:
    peer = await start_peer(nursery, answering(OK))
    with trio.fail_after(10):
        async with ControlPlane(LinkSettings(peer.url, ""), None) as plane:
            await plane.get("/api/health")
    request_line, *headers = head_of(peer)
    assert request_line == "GET /api/health HTTP/1.1"
    assert not [line for line in headers if line.lower().startswith("authorization")]


async def test_cookies_are_not_kept(nursery: trio.Nursery) -> None:
    peer = await start_peer(nursery, answering(http_answer(b"", "200 OK", "Set-Cookie: id=7; Path=/")))
    with trio.fail_after(10):
        async with plane_to(peer.url) as plane:
            await plane.get("/one")
            await plane.get("/two")
    assert b"cookie" not in peer.received.lower()


async def test_cleartext_to_another_machine_is_refused_before_any_socket() -> None:
    with pytest.raises(TransportRefusedError, match="in the clear"):
        ControlPlane(LinkSettings("http://192.0.2.1", "node-1"), Secret(TOKEN))


async def test_a_waived_cleartext_rule_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    settings = LinkSettings("http://192.0.2.1", "node-1", allow_insecure_http=True)
    await ControlPlane(settings, Secret(TOKEN)).aclose()
    assert "in the clear to 192.0.2.1" in caplog.text


# --- statuses, redirects ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["401 Unauthorized", "429 Too Many Requests", "503 Unavailable", "404 Not Found"])
async def test_any_status_but_3xx_is_an_answer(nursery: trio.Nursery, status: str) -> None:
    answer = await get(await start_peer(nursery, answering(http_answer(b"text", status, "Retry-After: 7"))))
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (int(status[:3]), b"text", "7")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_weak_point_19_a_redirect_to_cleartext_is_not_followed_and_gets_no_token(
    nursery: trio.Nursery, tmp_path: Path, status: int
) -> None:
    clear = await start_peer(nursery, answering(OK))
    authority = Authority(tmp_path)
    identity = authority.issue("good", alternatives="IP:127.0.0.1")
    away = http_answer(b"", f"{status} Moved", f"Location: {clear.url}/api/agent/task-result")
    peer = await start_peer(nursery, answering(away), identity.server_context())
    settings = LinkSettings(peer.url, "node-1", ca_file=authority.certificate)
    with trio.fail_after(10):
        async with ControlPlane(settings, Secret(TOKEN)) as plane:
            with pytest.raises(RedirectRefusedError) as caught:
                await plane.post("/api/agent/task-result", b"{}")
    assert "redirects to http://127.0.0.1" in str(caught.value)
    assert len(peer.requests) == 1
    assert clear.connections == 0


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://user:password@other.test:8443/x?token=7", "https://other.test"),
        ("/login?next=/", "another path on the same host"),
        ("http://[::broken", "an unreadable address"),
        ("//other.test/x", "other.test"),
        (None, "nowhere"),
    ],
)
async def test_trap_15_a_redirect_is_named_without_credentials(
    nursery: trio.Nursery, location: str | None, shown: str
) -> None:
    headers = [f"Location: {location}"] if location is not None else []
    peer = await start_peer(nursery, answering(http_answer(b"", "302 Found", *headers)))
    with pytest.raises(RedirectRefusedError, match=f"redirects to {shown.replace('.', '[.]')}; not followed"):
        await get(peer)


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "identity, gzip", "x"])
async def test_a_coded_body_is_refused(nursery: trio.Nursery, coding: str) -> None:
    bomb = gzip.compress(bytes(1_000_000))
    peer = await start_peer(nursery, answering(http_answer(bomb, "200 OK", f"Content-Encoding: {coding}")))
    with pytest.raises(CodedAnswerError, match="Content-Encoding"):
        await get(peer)


async def test_identity_is_no_coding(nursery: trio.Nursery) -> None:
    peer = await start_peer(nursery, answering(http_answer(b"plain", "200 OK", "Content-Encoding: identity")))
    assert (await get(peer)).body == b"plain"


@pytest.mark.parametrize(("size", "fits"), [(999, True), (1000, True), (1001, False)])
async def test_the_limit_is_exact(nursery: trio.Nursery, size: int, fits: bool) -> None:
    peer = await start_peer(nursery, answering(http_answer(b"x" * size)))
    if fits:
        assert len((await get(peer)).body) == size
    else:
        with pytest.raises(AnswerTooLargeError, match="longer than 1000 bytes"):
            await get(peer)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 500 Internal Server Error\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ],
)
async def test_weak_point_21_an_endless_body_is_stopped_at_the_limit(nursery: trio.Nursery, head: bytes) -> None:
    sent = 0

    async def endless(stream: trio.abc.Stream, request: bytes) -> None:
        nonlocal sent
        await stream.send_all(head)
        while True:
            await stream.send_all(bytes(65536))
            sent += 65536

    peer = await start_peer(nursery, endless)
    with pytest.raises(AnswerTooLargeError):
        await get(peer, answer_limit=300_000)
    with trio.fail_after(10):
        await peer.hung_up.wait()
    assert sent < 64 * 1024 * 1024  # what the socket buffers of both sides swallow, not a body


async def test_weak_point_21_an_endless_chunked_body_is_stopped_at_the_limit(nursery: trio.Nursery) -> None:
    async def endless(stream: trio.abc.Stream, request: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"1\r\nx\r\n" * 1000)

    with pytest.raises(AnswerTooLargeError):
        await get(await start_peer(nursery, endless), answer_limit=5000)


async def test_endless_headers_are_refused(nursery: trio.Nursery) -> None:
    async def endless(stream: trio.abc.Stream, request: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send_all(b"X: " + b"x" * 1000 + b"\r\n")

    with pytest.raises(UnreachableError) as caught:
        await get(await start_peer(nursery, endless))
    assert caught.value.reason is Reason.PROTOCOL


# --- time ------------------------------------------------------------------------------------------------------------


def dribble(data: bytes) -> Script:
    """One byte each ten seconds: lively enough for every phase timeout."""

    async def script(stream: trio.abc.Stream, request: bytes) -> None:
        for at in range(len(data)):
            await stream.send_all(data[at : at + 1])
            await trio.sleep(10)

    return script


@pytest.mark.parametrize("already_sent", [b"", OK[:-11]])
async def test_an_answer_byte_by_byte_ends_at_the_deadline_of_30_s(
    nursery: trio.Nursery, autojump_clock: MockClock, already_sent: bytes
) -> None:
    async def script(stream: trio.abc.Stream, request: bytes) -> None:
        await stream.send_all(already_sent)
        await dribble(OK[len(already_sent) :])(stream, request)

    peer = await start_peer(nursery, script)
    async with plane_to(peer.url) as plane:
        began = trio.current_time()
        with pytest.raises(DeadlineError, match="not finished within 30 s"):
            await plane.get("/api/agent/tasks")
        assert trio.current_time() - began == pytest.approx(30)
        await peer.hung_up.wait()  # the connection is not left behind


async def test_a_silent_server_is_given_up_after_30_s(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def silent(stream: trio.abc.Stream, request: bytes) -> None:
        await trio.sleep_forever()

    peer = await start_peer(nursery, silent)
    async with plane_to(peer.url) as plane:
        began = trio.current_time()
        with pytest.raises(UnreachableError) as caught:
            await plane.get("/api/agent/tasks")
        assert trio.current_time() - began == pytest.approx(30)
    assert caught.value.reason in (Reason.TIMEOUT, Reason.DEADLINE)  # both end then


async def test_an_answer_after_29_s_of_silence_is_an_answer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """As the Go agent takes it; the poll that it answers has cost a lease."""

    async def slow(stream: trio.abc.Stream, request: bytes) -> None:
        await trio.sleep(29)
        await stream.send_all(OK)

    peer = await start_peer(nursery, slow)
    async with plane_to(peer.url) as plane:
        assert (await plane.get("/api/agent/tasks")).status == 200


async def test_a_tls_handshake_without_end_is_cut(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    peer = await start_peer(nursery, answering(OK))  # waits for an HTTP request and says nothing to a ClientHello
    async with plane_to(peer.url.replace("http", "https")) as plane:
        with pytest.raises(UnreachableError) as caught:
            await plane.get("/api/agent/tasks")
    assert caught.value.reason is Reason.TIMEOUT


async def test_trap_04_a_heartbeat_passes_while_every_ordinary_seat_hangs(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def only_metrics(stream: trio.abc.Stream, request: bytes) -> None:
        if b"/api/agent/metrics" in request:
            await stream.send_all(OK)
        else:
            await trio.sleep_forever()

    peer = await start_peer(nursery, only_metrics)
    async with plane_to(peer.url) as plane, trio.open_nursery() as hanging:
        plane.set_rate(1000.0)  # the seats are meant here, not the pace
        for _ in range(20):
            hanging.start_soon(plane.get, "/api/agent/tasks")
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            assert (await plane.post("/api/agent/metrics", b"{}", urgent=True)).status == 200
        hanging.cancel_scope.cancel()


# --- no usable connection --------------------------------------------------------------------------------------------


async def hang_up(stream: trio.abc.Stream, request: bytes) -> None:
    await stream.aclose()


async def half_an_answer(stream: trio.abc.Stream, request: bytes) -> None:
    await stream.send_all(OK[:-4])
    await stream.aclose()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (hang_up, Reason.PROTOCOL),
        (half_an_answer, Reason.PROTOCOL),
        (answering(b"220 mail.test ESMTP\r\n\r\n"), Reason.PROTOCOL),
        (answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), Reason.PROTOCOL),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), Reason.PROTOCOL),
    ],
)
async def test_a_broken_exchange_is_a_link_error(
    nursery: trio.Nursery, script: Callable[[trio.abc.Stream, bytes], Awaitable[None]], reason: Reason
) -> None:
    with pytest.raises(UnreachableError) as caught:
        await get(await start_peer(nursery, script))
    assert caught.value.reason is reason
    assert caught.value.hint()


async def test_a_refused_connection_is_named() -> None:
    with trio.socket.socket() as bound:  # a port that is taken and not listened to
        await bound.bind(("127.0.0.1", 0))
        async with plane_to(f"http://127.0.0.1:{bound.getsockname()[1]}") as plane:
            with pytest.raises(UnreachableError, match="Connection refused") as caught:
                await plane.get("/api/agent/config")
    assert caught.value.reason is Reason.CONNECT


async def test_a_name_that_does_not_resolve_is_named() -> None:
    trio.socket.set_custom_hostname_resolver(Names(None))
    async with plane_to("https://control.invalid") as plane:
        with pytest.raises(UnreachableError, match="Name or service not known") as caught:
            await plane.get("/api/agent/config")
    assert caught.value.reason is Reason.DNS


async def test_tls_to_a_cleartext_port_is_named(nursery: trio.Nursery) -> None:
    async def cleartext(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await stream.receive_some(65536)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(trio.serve_listeners, cleartext, listeners)
    async with plane_to(f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}") as plane:
        with trio.fail_after(10), pytest.raises(UnreachableError) as caught:
            await plane.get("/api/agent/config")
    assert caught.value.reason is Reason.TLS


async def test_after_a_failure_the_client_goes_on(nursery: trio.Nursery) -> None:
    failing = True

    async def once(stream: trio.abc.Stream, request: bytes) -> None:
        await stream.send_all(b"nonsense\r\n\r\n" if failing else OK)

    peer = await start_peer(nursery, once)
    with trio.fail_after(10):
        async with plane_to(peer.url) as plane:
            plane.set_rate(1000.0)
            for _ in range(12):  # more than there are seats and connections
                with pytest.raises(LinkError):
                    await plane.get("/api/agent/config")
            failing = False
            assert (await plane.get("/api/agent/config")).status == 200

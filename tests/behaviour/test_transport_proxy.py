"""Through a CONNECT proxy: it sees a host name and TLS, the pin holds, and loopback never goes there."""

from pathlib import Path

import pytest
import trio

from lattice_agent.errors import ConfigError
from lattice_agent.link.client import ControlPlane
from lattice_agent.link.errors import PinMismatchError, Reason, UnreachableError
from lattice_agent.link.settings import LinkSettings
from lattice_agent.secret import Secret
from tests.rigs.transport import (
    OK,
    TOKEN,
    Authority,
    Identity,
    Names,
    Peer,
    answering,
    http_answer,
    start_peer,
    start_proxy,
)

ANOTHER_PIN = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue("plane", alternatives="DNS:control.test")


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def peer(nursery: trio.Nursery, identity: Identity) -> Peer:
    return await start_peer(nursery, answering(OK), identity.server_context())


def plane_by_name(ca_file: Path, *pins: str) -> ControlPlane:
    settings = LinkSettings("https://control.test", "node-1", ca_file=ca_file, pin_spki_sha256=pins)
    return ControlPlane(settings, Secret(TOKEN))


async def test_https_goes_through_the_proxy_which_does_not_see_the_token(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, authority: Authority, identity: Identity, peer: Peer
) -> None:
    proxy = await start_proxy(nursery, peer.port)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with trio.fail_after(10):
        async with plane_by_name(authority.certificate, identity.pin) as plane:
            assert (await plane.get("/api/agent/config")).status == 200
    assert [head.split(b"\r\n")[0] for head in proxy.asked] == [b"CONNECT control.test:443 HTTP/1.1"]
    assert TOKEN.encode() not in b"".join(proxy.asked)
    assert TOKEN.encode() in peer.received


async def test_weak_point_20_a_wrong_pin_inside_the_tunnel_sends_nothing(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, authority: Authority, peer: Peer
) -> None:
    proxy = await start_proxy(nursery, peer.port)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with trio.fail_after(10):
        async with plane_by_name(authority.certificate, ANOTHER_PIN) as plane:
            with pytest.raises(PinMismatchError):
                await plane.post("/api/agent/task-result", b"{}")
        await peer.hung_up.wait()
    assert len(proxy.asked) == 1
    assert peer.received == b""


async def test_the_pin_is_not_asked_of_an_https_proxy(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, authority: Authority, identity: Identity, peer: Peer
) -> None:
    proxy_identity = authority.issue("proxy", alternatives="IP:127.0.0.1")
    assert proxy_identity.pin != identity.pin
    proxy = await start_proxy(nursery, peer.port, proxy_identity.server_context())
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))  # the proxy is checked against the system's
    with trio.fail_after(10):
        async with plane_by_name(authority.certificate, identity.pin) as plane:
            assert (await plane.get("/api/agent/config")).status == 200
        async with plane_by_name(authority.certificate, proxy_identity.pin) as plane:
            with pytest.raises(PinMismatchError):
                await plane.get("/api/agent/config")
    assert len(peer.requests) == 1


async def test_a_proxy_that_refuses_is_named(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    refusing = await start_peer(nursery, answering(http_answer(b"", "407 Proxy Authentication Required")))
    monkeypatch.setenv("HTTPS_PROXY", refusing.url)
    with trio.fail_after(10):
        async with plane_by_name(authority.certificate) as plane:
            with pytest.raises(UnreachableError, match="407") as caught:
                await plane.get("/api/agent/config")
    assert caught.value.reason is Reason.PROXY
    assert TOKEN.encode() not in refusing.received


async def test_no_proxy_is_honoured(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, authority: Authority, peer: Peer
) -> None:
    trio.socket.set_custom_hostname_resolver(Names(peer.port))
    proxy = await start_proxy(nursery, peer.port)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "control.test")
    with trio.fail_after(10):
        async with plane_by_name(authority.certificate) as plane:
            assert (await plane.get("/api/agent/config")).status == 200
    assert proxy.asked == []


async def test_cleartext_to_loopback_never_leaves_through_a_proxy(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await start_peer(nursery, answering(OK))
    proxy = await start_proxy(nursery, peer.port)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    with trio.fail_after(10):
        async with ControlPlane(LinkSettings(peer.url, "node-1"), Secret(TOKEN)) as plane:
            await plane.get("/api/agent/config")
    assert (proxy.asked, len(peer.requests)) == ([], 1)


@pytest.mark.parametrize("url", ["socks5://user:sesame@127.0.0.1:1", "gopher://user:sesame@x", "http://[:sesame"])
async def test_a_proxy_setting_that_cannot_be_used_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        plane_by_name(authority.certificate)
    assert "sesame" not in str(caught.value)
    assert caught.value.__context__ is None

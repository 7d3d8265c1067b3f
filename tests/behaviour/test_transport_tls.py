"""The TLS session with the control plane, against real servers with certificates of a throw-away authority."""

import ssl
from pathlib import Path

import pytest
import trio

from lattice_agent.errors import ConfigError
from lattice_agent.link.client import ControlPlane
from lattice_agent.link.errors import PinMismatchError, Reason, UnreachableError
from lattice_agent.link.settings import LinkSettings
from lattice_agent.secret import Secret
from tests.rigs.transport import OK, TOKEN, Authority, Identity, Peer, answering, start_peer

ANOTHER_PIN = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue("good", alternatives="IP:127.0.0.1")


async def tls_peer(nursery: trio.Nursery, identity: Identity, version: ssl.TLSVersion | None = None) -> Peer:
    return await start_peer(nursery, answering(OK), identity.server_context(version))


def plane_to(peer: Peer, ca_file: Path | None, *pins: str) -> ControlPlane:
    settings = LinkSettings(peer.url, "node-1", ca_file=ca_file, pin_spki_sha256=pins)
    return ControlPlane(settings, Secret(TOKEN))


async def refusal(peer: Peer, ca_file: Path | None) -> UnreachableError:
    """The error of a request that TLS refuses; the server must not have seen a byte of it."""
    with trio.fail_after(10):
        async with plane_to(peer, ca_file) as plane:
            with pytest.raises(UnreachableError) as caught:
                await plane.get("/api/agent/config")
        await peer.hung_up.wait()
    assert peer.received == b""
    assert caught.value.reason is Reason.TLS
    return caught.value


async def test_weak_point_20_a_private_ca_file_is_trusted(
    nursery: trio.Nursery, authority: Authority, identity: Identity
) -> None:
    peer = await tls_peer(nursery, identity)
    with trio.fail_after(10):
        async with plane_to(peer, authority.certificate) as plane:
            answer = await plane.get("/api/agent/config")
    assert (answer.status, answer.body) == (200, b'{"ok":true}')
    assert f"Authorization: Bearer {TOKEN}".encode() in peer.received


async def test_an_unknown_authority_is_refused(nursery: trio.Nursery, identity: Identity) -> None:
    peer = await tls_peer(nursery, identity)
    error = await refusal(peer, ca_file=None)
    assert "unable to get local issuer certificate" in str(error)
    assert "CA file" in error.hint()


async def test_a_private_ca_file_replaces_the_authorities_of_the_system(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority, identity: Identity
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    peer = await tls_peer(nursery, identity)
    with trio.fail_after(10):
        async with plane_to(peer, None) as plane:
            assert (await plane.get("/api/agent/config")).status == 200
    stranger = Authority(tmp_path, "stranger")
    await refusal(await tls_peer(nursery, identity), stranger.certificate)


async def test_another_host_name_is_refused(nursery: trio.Nursery, authority: Authority) -> None:
    identity = authority.issue("elsewhere", alternatives="DNS:other.test")
    error = await refusal(await tls_peer(nursery, identity), authority.certificate)
    assert "127.0.0.1" in str(error)


async def test_a_name_only_in_the_subject_is_refused(nursery: trio.Nursery, authority: Authority) -> None:
    identity = authority.issue("127.0.0.1")
    await refusal(await tls_peer(nursery, identity), authority.certificate)


async def test_an_expired_certificate_is_refused(nursery: trio.Nursery, authority: Authority) -> None:
    identity = authority.issue("expired", alternatives="IP:127.0.0.1", days=-1)
    error = await refusal(await tls_peer(nursery, identity), authority.certificate)
    assert "expired" in str(error)
    assert "clock" in error.hint()


@pytest.mark.parametrize("prefix", ["", "sha256/"])
async def test_weak_point_20_the_right_pin_lets_the_request_pass(
    nursery: trio.Nursery, authority: Authority, identity: Identity, prefix: str
) -> None:
    peer = await tls_peer(nursery, identity)
    with trio.fail_after(10):
        async with plane_to(peer, authority.certificate, ANOTHER_PIN, prefix + identity.pin) as plane:
            assert (await plane.post("/api/agent/metrics", b"{}")).status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_weak_point_20_with_a_wrong_pin_the_server_has_received_nothing(
    nursery: trio.Nursery, authority: Authority, identity: Identity, version: ssl.TLSVersion
) -> None:
    peer = await tls_peer(nursery, identity, version)
    with trio.fail_after(10):
        async with plane_to(peer, authority.certificate, ANOTHER_PIN) as plane:
            with pytest.raises(PinMismatchError) as caught:
                await plane.post("/api/agent/task-result", b'{"stdout":"private"}')
        await peer.hung_up.wait()
    assert (peer.connections, bytes(peer.received)) == (1, b"")
    assert f"sha256/{identity.pin}" in str(caught.value)  # the operator can compare it


async def test_a_right_pin_does_not_replace_the_authority(nursery: trio.Nursery, identity: Identity) -> None:
    peer = await tls_peer(nursery, identity)
    with trio.fail_after(10):
        async with plane_to(peer, None, identity.pin) as plane:
            with pytest.raises(UnreachableError, match="certificate is refused"):
                await plane.get("/api/agent/config")
        await peer.hung_up.wait()
    assert peer.received == b""


async def test_a_second_request_uses_the_same_session(
    nursery: trio.Nursery, authority: Authority, identity: Identity
) -> None:
    peer = await tls_peer(nursery, identity)
    with trio.fail_after(10):
        async with plane_to(peer, authority.certificate, identity.pin) as plane:
            for _ in range(3):
                await plane.get("/api/agent/config")
    assert (peer.connections, len(peer.requests)) == (1, 3)


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
async def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "our-ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)):
        ControlPlane(LinkSettings("https://127.0.0.1:1", "node-1", ca_file=path), Secret(TOKEN))


async def test_a_pin_without_tls_is_refused() -> None:
    settings = LinkSettings("http://127.0.0.1:1", "node-1", pin_spki_sha256=(ANOTHER_PIN,))
    with pytest.raises(ConfigError, match="pin_spki_sha256"):
        ControlPlane(settings, Secret(TOKEN))

"""``-selfcheck-controlplane`` against real servers: exit code, what is said, and what reached the server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.rigs.transport import OK, Authority, Identity, answering, http_answer, start_peer

ANOTHER_PIN = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
TOKEN = "not-a-real-token-0123456789"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue("good", alternatives="IP:127.0.0.1")


async def selfcheck(*words: str, **environ: str) -> tuple[int, str]:
    """Exit code and stderr; stdout stays empty."""
    with trio.fail_after(30):
        done = await trio.run_process(
            [sys.executable, "-m", "lattice_agent", "--selfcheck-controlplane", *words],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environ},
        )
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.stdout == b""
    return done.returncode, done.stderr.decode()


async def test_a_healthy_control_plane_without_credentials() -> None:
    async with trio.open_nursery() as nursery:
        peer = await start_peer(nursery, answering(OK))
        code, said = await selfcheck("-server", f"{peer.url}/prefix/", "-token", TOKEN, LATTICE_NODE_ID="n1")
        assert (code, said) == (0, f"control-plane selfcheck ok: {peer.url}/prefix/api/health\n")
        assert peer.requests[0].startswith(b"GET /prefix/api/health HTTP/1.1\r\n")
        assert b"authorization" not in peer.received.lower()
        assert TOKEN.encode() not in peer.received
        nursery.cancel_scope.cancel()


async def test_the_server_may_come_from_the_environment() -> None:
    async with trio.open_nursery() as nursery:
        peer = await start_peer(nursery, answering(OK))
        assert (await selfcheck(LATTICE_SERVER=peer.url))[0] == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http_answer(b"", "500 Internal Server Error"), "answered with status 500"),
        (http_answer(b"", "204 No Content"), "answered with status 204"),
        (
            http_answer(b"", "302 Found", "Location: http://127.0.0.1:1/ok"),
            "redirects to http://127.0.0.1; not followed",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "GET http://127.0.0.1"),
    ],
)
async def test_anything_but_200_is_a_failure(answer: bytes, reason: str) -> None:
    async with trio.open_nursery() as nursery:
        peer = await start_peer(nursery, answering(answer))
        code, said = await selfcheck("-server", peer.url)
        assert code == 1
        assert said.startswith("control-plane selfcheck failed: ")
        assert reason in said
        assert said.count("\n") == 1
        assert len(peer.requests) == 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-server", "http://192.0.2.1"), "is refused: it would send the node token in the clear"),
        (("-server", "gopher://127.0.0.1"), "is refused: scheme 'gopher' is neither"),
        (("-server", ""), "is refused: it is not of the form"),
        (("-server", "http://127.0.0.1:1"), "Connection refused"),
        (("-slots", "0"), "-slots is 0; it must be at least 1"),
        (("-ca-file", "/nonexistent.pem", "-server", "https://127.0.0.1:1"), "CA file /nonexistent.pem cannot be read"),
    ],
)
async def test_what_keeps_it_from_asking_is_said_with_exit_1(words: tuple[str, ...], reason: str) -> None:
    code, said = await selfcheck(*words)
    assert code == 1
    assert said.startswith("control-plane selfcheck failed: ")
    assert reason in said
    assert said.count("\n") == 1


async def test_a_private_authority_and_a_pin(authority: Authority, identity: Identity) -> None:
    async with trio.open_nursery() as nursery:
        peer = await start_peer(nursery, answering(OK), identity.server_context())
        trusted = ("-server", peer.url, "-ca-file", str(authority.certificate))
        assert (await selfcheck(*trusted))[0] == 0
        assert (await selfcheck(*trusted, "-pin-sha256", ANOTHER_PIN, "-pin-sha256", identity.pin))[0] == 0
        assert len(peer.requests) == 2

        code, said = await selfcheck(*trusted, "-pin-sha256", ANOTHER_PIN)
        assert code == 1
        assert "not pinned; nothing was sent to it" in said
        code, said = await selfcheck("-server", peer.url)
        assert code == 1
        assert "certificate" in said
        assert len(peer.requests) == 2
        nursery.cancel_scope.cancel()


async def test_a_configuration_file_is_honoured(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    async with trio.open_nursery() as nursery:
        peer = await start_peer(nursery, answering(OK))
        file.write_text(f'[control_plane]\nbase_url = "{peer.url}"\n')
        file.chmod(0o600)
        assert (await selfcheck("--config", str(file)))[0] == 0
        nursery.cancel_scope.cancel()

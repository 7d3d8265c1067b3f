"""``serve`` as a process: where it listens, how it is started for the first time, and how it ends."""

import http.client
import json
import signal
import socket
import ssl
import stat
import subprocess
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from server_stub.config import Settings
from server_stub.errors import SettingsError
from server_stub.serve import open_listener
from tests.rigs.real_processes import wait_until
from tests.rigs.server_process import ROOT, serving, started

pytestmark = pytest.mark.slow


def test_first_start_writes_the_token_and_the_url_and_ends_in_order(tmp_path: Path) -> None:
    token_file, ready_file = tmp_path / "token", tmp_path / "ready"
    settings = {
        "db_path": str(tmp_path / "db"),
        "init_token_file": str(token_file),
        "ready_file": str(ready_file),
    }
    with started(serving(**settings)) as server:
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        token = token_file.read_text().strip()
        assert ready_file.read_text().strip() == server.url
        with server.client(token) as operator:
            operator.post("/api/v1/nodes", json={"id": "n1"}).raise_for_status()
            task = operator.post("/api/v1/tasks", json={"node": "n1", "script": "true"}).json()["task"]["id"]
        waiter = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
        waiter.request("GET", f"/api/v1/tasks/{task}?wait_s=60", headers={"authorization": f"Bearer {token}"})
        with server.client(token) as operator:
            let_read(operator)
        server.process.send_signal(signal.SIGTERM)
        with closing(waiter):  # whoever waits is told what is known when the server stops
            assert json.load(waiter.getresponse())["task"]["status"] == "queued"
        assert server.wait() == 0
    token_file.unlink()
    with started(serving(**settings)) as server:
        assert not token_file.exists()  # there is an operator: no second first token
        with server.client(token) as operator:
            assert operator.get("/api/v1/nodes").json()["nodes"][0]["id"] == "n1"


def let_read(operator: httpx.Client) -> None:
    """Comes back when what was sent to the server before has been read."""
    for _ in range(3):
        operator.get("/api/v1/nodes").raise_for_status()


def test_who_hung_up_is_not_waited_for(tmp_path: Path) -> None:
    """There is one place to wait: while it is taken, everybody else is answered at once."""
    token_file = tmp_path / "token"
    settings = {"db_path": str(tmp_path / "db"), "init_token_file": str(token_file), "limits": {"waiters": 1}}
    with started(serving(**settings)) as server:
        token = token_file.read_text().strip()
        with server.client(token) as operator:
            operator.post("/api/v1/nodes", json={"id": "n1"}).raise_for_status()
            task = operator.post("/api/v1/tasks", json={"node": "n1", "script": "true"}).json()["task"]["id"]

            def waited_s(wait_s: int) -> float:
                began = time.monotonic()
                operator.get(f"/api/v1/tasks/{task}", params={"wait_s": wait_s}).raise_for_status()
                return time.monotonic() - began

            waiter = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
            waiter.request("GET", f"/api/v1/tasks/{task}?wait_s=60", headers={"authorization": f"Bearer {token}"})
            let_read(operator)  # or one of our own requests might take the place
            wait_until(lambda: waited_s(1) < 1, "the place to be taken")
            waiter.close()
            wait_until(lambda: waited_s(1) >= 1, "the place to be free")


@pytest.mark.long
def test_a_second_process_on_the_same_database_is_refused(tmp_path: Path) -> None:
    command = serving(db_path=str(tmp_path / "db"))
    with started(command):
        second = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert second.returncode != 0
    assert "is served by another process" in second.stderr


@pytest.mark.long
def test_tls_with_the_given_certificate(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", "/CN=control"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    settings = {"db_path": ":memory:", "tls_cert": str(certificate), "tls_key": str(key)}
    with started(serving(**settings)) as server:
        assert server.url.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=str(certificate))
        assert httpx.get(f"{server.url}/api/health", verify=trusted, trust_env=False).json() == {"status": "ok"}


def test_control_stream_over_a_real_socket(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    with started(serving(db_path=":memory:", init_token_file=str(token_file))) as server:
        with server.client(token_file.read_text().strip()) as operator:
            token = operator.post("/api/v1/nodes", json={"id": "n1"}).json()["token"]
        assert upgrade_status(server.url, "x" * 43) == "401"
        assert upgrade_status(server.url, token) == "101"


def upgrade_status(url: str, token: str) -> str:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"GET /api/agent/control/stream?node_id=n1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            + f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        return connection.recv(1024).decode().split()[1]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_cleartext_beyond_loopback_is_refused(host: str) -> None:
    if host == "::" and not socket.has_ipv6:
        pytest.skip("no IPv6")
    with pytest.raises(SettingsError, match="is not loopback and there is no TLS certificate"):
        open_listener(Settings(db_path=":memory:", host=host, port=0))


def test_cleartext_beyond_loopback_when_told_so() -> None:
    listener = open_listener(Settings(db_path=":memory:", host="0.0.0.0", port=0, insecure_listen=True))
    with listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port}: Address already in use"):
            open_listener(Settings(db_path=":memory:", port=port))


@pytest.mark.long
@pytest.mark.parametrize("name", ["init_token_file", "ready_file"])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    blocked = tmp_path / "missing" / "file"
    command = serving(db_path=str(tmp_path / "db"), **{name: str(blocked)})
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert ended.returncode != 0
    assert f"{name.replace('_', ' ')} {blocked}: No such file or directory" in ended.stderr

"""The web page of a real server: its cookie under TLS, sign-ins that are too many, heartbeats meanwhile, and memory."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.rigs.dashboard import PASSWORD, Page
from tests.rigs.server_process import Running, serving, started
from tests.rigs.transport import Authority

pytestmark = pytest.mark.slow
NAME = "admin"


@contextmanager
def server_with_password(tmp_path: Path, **settings: object) -> Iterator[tuple[Running, str]]:
    """With its operator's token."""
    token_file = tmp_path / "token"
    command = serving(db_path=str(tmp_path / "db"), init_token_file=str(token_file), **settings)
    with started(command) as server:
        token = token_file.read_text().strip()
        with client(server, authorization=f"Bearer {token}") as operator:
            path = f"/api/v1/operators/{NAME}/password"
            operator.post(path, json={"password": PASSWORD}).raise_for_status()
        yield server, token


def client(server: Running, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=server.url, headers=headers, trust_env=False, verify=False, timeout=20)


def sign_in(server: Running, password: str) -> httpx.Response:
    with client(server) as browser:
        form = Page(browser.get("/login").text).form("/login")
        return browser.post("/login", data=form.fields | {"name": NAME, "password": password})


@pytest.mark.long
def test_sign_ins_that_are_too_many_are_refused(tmp_path: Path) -> None:
    with server_with_password(tmp_path) as (server, _):
        statuses = [sign_in(server, "wrong").status_code for _ in range(9)]
        assert statuses == [401] * 9
        assert sign_in(server, PASSWORD).status_code == 303
        assert sign_in(server, PASSWORD).status_code == 429


@pytest.mark.long
def test_under_tls_the_cookie_is_held_to_this_host_and_to_tls(tmp_path: Path) -> None:
    identity = Authority(tmp_path).issue("server", alternatives="IP:127.0.0.1")
    files = {"tls_cert": str(identity.certificate), "tls_key": str(identity.key)}
    with server_with_password(tmp_path, **files) as (server, _):
        answer = sign_in(server, PASSWORD)
        assert answer.status_code == 303
        [cookie] = [one for one in answer.headers.get_list("set-cookie") if "__Host-lattice_session=" in one]
        assert {"secure", "httponly", "path=/", "samesite=strict"} <= {
            part.strip().lower() for part in cookie.split(";")
        }
        secret = re.match(r"__Host-lattice_session=([^;]+)", cookie)
        assert secret is not None
        with client(server, cookie=f"lattice_session={secret[1]}") as planted:
            assert planted.get("/nodes").status_code == 303
        with client(server, cookie=f"__Host-lattice_session={secret[1]}") as own:
            assert own.get("/nodes").status_code == 200


@pytest.mark.long
def test_heartbeats_do_not_wait_for_passwords(tmp_path: Path) -> None:
    """Eight people sign in at once; hashes are made one after the other, away from the store."""
    with server_with_password(tmp_path) as (server, token):
        with client(server, authorization=f"Bearer {token}") as operator:
            node_token = operator.post("/api/v1/nodes", json={"id": "n1"}).json()["token"]
        with ThreadPoolExecutor(8) as people, client(server, authorization=f"Bearer {node_token}") as node:
            waiting = [people.submit(sign_in, server, PASSWORD) for _ in range(8)]
            for _ in range(40):
                begun = time.monotonic()
                node.post("/api/agent/metrics", json={"node_id": "n1"}).raise_for_status()
                assert time.monotonic() - begun < 2.0
            assert {one.result().status_code for one in waiting} == {303}


@pytest.mark.long
def test_sign_ins_and_pages_leave_the_server_small(tmp_path: Path) -> None:
    """A hash takes 19 MiB, and gives them back; Jinja2 and argon2 are there from the first page on."""
    with server_with_password(tmp_path) as (server, _):
        before = pss_kib(server)
        assert [sign_in(server, PASSWORD).status_code for _ in range(4)] == [303] * 4
        assert pss_kib(server) - before < 10 * 1024


def pss_kib(server: Running) -> int:
    rollup = Path(f"/proc/{server.process.pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss: +([0-9]+) kB$", rollup, re.M)[0])

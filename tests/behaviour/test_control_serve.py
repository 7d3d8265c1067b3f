"""``lattice-control serve`` as a process: what it refuses, how it starts and ends, and TLS from end to end."""

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.rigs.transport import Authority
from tests.unit.server_stub_cli.plane import plane
from tests.unit.server_stub_cli.rig import PROGRAM, Control, assert_harmless

OUTER_LIMIT_S = 30.0


def serve(*options: str) -> "subprocess.CompletedProcess[str]":
    """A ``serve`` that is expected to end by itself."""
    return subprocess.run([*PROGRAM, "serve", *options], capture_output=True, text=True, timeout=OUTER_LIMIT_S)


def assert_refused(ran: "subprocess.CompletedProcess[str]", code: int, text: str) -> None:
    assert (ran.returncode, ran.stdout) == (code, "")
    assert ran.stderr.startswith("lattice-control: ")
    assert ran.stderr.count("\n") == 1
    assert text in ran.stderr
    assert_harmless(ran.stderr)


@pytest.mark.long
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_cleartext_beyond_loopback_is_refused(tmp_path: Path, host: str) -> None:
    refused = serve("--db", str(tmp_path / "db"), "--listen", f"{host}:0")

    assert_refused(refused, os.EX_CONFIG, "--allow-insecure-http")
    assert os.listdir(tmp_path) == []


@pytest.mark.long
def test_wrong_settings_are_one_line_that_names_them(tmp_path: Path) -> None:
    db = ("--db", str(tmp_path / "db"), "--listen", "127.0.0.1:0")
    none = str(tmp_path / "none" / "x")

    assert_refused(serve(*db, "--tls-cert", none), os.EX_CONFIG, "tls key is missing")
    assert_refused(serve(*db, "--tls-cert", none, "--tls-key", none), os.EX_CONFIG, none)
    assert_refused(serve("--db", none, "--listen", "127.0.0.1:0"), os.EX_IOERR, none)
    assert_refused(serve(*db, "--init-token-file", none), os.EX_CONFIG, none)
    assert_refused(serve("--db", "", "--listen", "127.0.0.1:0"), os.EX_CONFIG, "db path is empty")
    assert_refused(serve(*db[:2], "--listen", "no.such.host.invalid:0"), os.EX_CONFIG, "no.such.host.invalid")


@pytest.mark.long
def test_a_ready_file_that_cannot_be_written_ends_it(tmp_path: Path) -> None:
    ran = serve("--db", str(tmp_path / "db"), "--listen", "127.0.0.1:0", "--ready-file", str(tmp_path / "no" / "x"))

    assert ran.returncode == os.EX_CONFIG
    assert str(tmp_path / "no") in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.long
def test_a_busy_port_and_a_busy_database_are_told_apart(tmp_path: Path) -> None:
    with plane(tmp_path) as running:
        address = running.url.removeprefix("http://")
        busy_port = serve("--db", str(tmp_path / "other.db"), "--listen", address)
        busy_database = serve("--db", str(tmp_path / "control.db"), "--listen", "127.0.0.1:0")

    assert_refused(busy_port, os.EX_CONFIG, "Address already in use")
    assert_refused(busy_database, os.EX_TEMPFAIL, "control.db")


def test_it_says_when_it_is_ready_and_ends_in_order(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with plane(tmp_path, "--ready-file", str(ready)) as running:
        assert ready.read_text() == running.url + "\n"
        running.running.process.send_signal(signal.SIGTERM)
        assert running.running.wait() == 0


def test_the_first_token_is_private_and_written_once(tmp_path: Path) -> None:
    file = tmp_path / "operator.token"
    with plane(tmp_path) as running:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        first = running.token
    with plane(tmp_path) as running:
        assert running.token == first


@pytest.mark.long
def test_the_kill_switch_can_be_on_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with plane(tmp_path, "--kill-switch") as running:
        assert "is on" in Control(monkeypatch, capsys, running.url, running.token)("kill-switch", "show").out


@pytest.mark.long
def test_a_wrong_token_is_77_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "lop_" + "x" * 43
    with plane(tmp_path) as running:
        ran = Control(monkeypatch, capsys, running.url, wrong)("node", "list")

    assert ran.code == os.EX_NOPERM
    assert "--token-file" in ran.err
    assert wrong not in ran.err


@pytest.mark.long
def test_tls_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    identity = authority.issue("control", alternatives="IP:127.0.0.1")
    certificate = ("--tls-cert", str(identity.certificate), "--tls-key", str(identity.key))
    with plane(tmp_path, *certificate, listen="0.0.0.0:0") as running:
        url = f"https://127.0.0.1:{running.url.rpartition(':')[2]}"
        control = Control(monkeypatch, capsys, url, running.token)
        token_file = tmp_path / "operator.token"
        trusted = control("node", "list", "--ca-file", str(authority.certificate), "--token-file", str(token_file))
        other_authority = control("node", "list", "--ca-file", str(stranger.certificate))
        system_only = control("node", "list")
        cleartext = control("node", "list", "--server", url.replace("https", "http"))

    assert (running.url.partition(":")[0], trusted.code) == ("https", 0)
    for ran in (other_authority, system_only):
        assert ran.code == os.EX_UNAVAILABLE
        assert "is not trusted" in ran.err
        assert "--ca-file" in ran.err
    assert cleartext.code == os.EX_UNAVAILABLE
    for ran in (other_authority, system_only, cleartext):
        assert (ran.out, ran.err.count("\n")) == ("", 1)

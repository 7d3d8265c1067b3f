"""Where a token may go, and where it may come from."""

import argparse
import os
from pathlib import Path

import pytest

from server_stub.cli.connection import Connection, connection_from, server_url
from server_stub.cli.errors import InputError, NotAllowedError
from server_stub.errors import ControlError, SettingsError
from server_stub.loopback import is_loopback
from tests.unit.server_stub_cli.rig import TOKEN


def options(**given: object) -> argparse.Namespace:
    return argparse.Namespace(
        **{"server": "http://127.0.0.1:1", "token_file": None, "ca_file": None, "allow_insecure_http": False} | given
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8088", "http://127.0.0.1:8088"),
        ("http://localhost:1/", "http://localhost:1"),
        ("http://[::1]:1", "http://[::1]:1"),
        ("HTTPS://Control.Example/lattice//", "https://control.example/lattice"),
    ],
)
def test_a_url_is_taken_and_made_regular(text: str, expected: str) -> None:
    assert server_url(text, insecure=False) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:1",
        "http://control.example",
        "http://localhost.example",
        "http://127.1",
        "http://0.0.0.0:1",
        "http://[::ffff:192.0.2.1]",
    ],
)
def test_cleartext_to_another_machine_needs_a_word(url: str) -> None:
    with pytest.raises(SettingsError, match="in the clear"):
        server_url(url, insecure=False)
    assert server_url(url, insecure=True) == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "no server given"),
        ("127.0.0.1:8088", "scheme"),
        ("ftp://x", "scheme"),
        ("https://", "host"),
        ("https://a b", "host"),
        ("https://localhost\\@evil.example", "user name|host"),
        ("https://bücher.example", "host"),
        ("https://[::1", "cannot be read"),
        ("https://x:port", "cannot be read"),
        ("https://x/?q=1", "query"),
        ("https://x/#f", "query or fragment"),
        ("https://x/a%2e%2e", "path"),
        ("https://x/\x1b[2J", "path"),
    ],
)
def test_other_urls_are_refused_by_what_is_wrong(url: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as refused:
        server_url(url, insecure=True)
    assert str(refused.value).isprintable()


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError) as refused:
        server_url("https://admin:hunter2@x", insecure=True)
    assert "hunter2" not in str(refused.value)


def test_loopback_is_only_what_is_so_for_certain() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST")))
    assert not any(map(is_loopback, ("", "127.1", "a.localhost", "localhost.", "10.0.0.1", "::", "0.0.0.0")))


def test_options_win_over_the_environment(tmp_path: Path) -> None:
    file = token_file(tmp_path, TOKEN.encode() + b"\n")
    environ = {"LATTICE_CONTROL_SERVER": "http://127.0.0.1:2", "LATTICE_CONTROL_TOKEN": "lop_other"}

    assert connection_from(options(token_file=file), environ) == Connection("http://127.0.0.1:1", TOKEN)
    assert connection_from(options(server=None), environ) == Connection("http://127.0.0.1:2", "lop_other")


def test_the_token_is_not_in_the_repr() -> None:
    assert TOKEN not in repr(connection_from(options(), {"LATTICE_CONTROL_TOKEN": TOKEN}))


def test_a_ca_file_without_tls_is_an_error() -> None:
    with pytest.raises(SettingsError, match="--ca-file"):
        connection_from(options(ca_file="ca.pem"), {"LATTICE_CONTROL_TOKEN": TOKEN})


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", NotAllowedError),
        (b"\n", NotAllowedError),
        (b"lop_a\nlop_b\n", SettingsError),
        (b"lop_\xc3\xa9", SettingsError),
        (b"x" * 5000, SettingsError),
    ],
)
def test_a_file_without_one_token_is_refused_and_not_repeated(
    tmp_path: Path, content: bytes, kind: type[ControlError]
) -> None:
    file = token_file(tmp_path, content)
    with pytest.raises(kind, match="token") as refused:
        connection_from(options(token_file=file), {})
    assert "lop_a" not in str(refused.value)
    assert "xxx" not in str(refused.value)


def test_a_token_file_that_all_can_read_is_refused(tmp_path: Path) -> None:
    file = token_file(tmp_path, TOKEN.encode(), mode=0o644)

    with pytest.raises(SettingsError, match=r"0644") as refused:
        connection_from(options(token_file=file), {})
    assert "chmod 600" in refused.value.hint()


def test_a_token_file_that_is_missing_or_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            connection_from(options(token_file=str(path)), {})


def test_without_any_token_the_error_says_where_it_goes() -> None:
    with pytest.raises(NotAllowedError) as refused:
        connection_from(options(), {"LATTICE_CONTROL_TOKEN": ""})
    assert "--token-file" in refused.value.hint()


def token_file(directory: Path, content: bytes, mode: int = 0o600) -> str:
    path = directory / "token"
    path.write_bytes(content)
    os.chmod(path, mode)
    return str(path)

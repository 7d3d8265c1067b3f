"""Where the server is and how a command proves who asks: options and environment to one checked value.

The token is never an argument: every user of the machine can read those. It comes from ``--token-file`` or from
LATTICE_CONTROL_TOKEN, and is not sent in the clear to another machine unless the operator says so.
"""

import argparse
import ipaddress
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from server_stub.cli.errors import InputError, NotAllowedError
from server_stub.errors import SettingsError
from server_stub.loopback import is_loopback

SERVER_VARIABLE: Final = "LATTICE_CONTROL_SERVER"
TOKEN_VARIABLE: Final = "LATTICE_CONTROL_TOKEN"  # noqa: S105 - the name of a variable

_URL_EXAMPLE: Final = "give one like https://control.example:8443"
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})")
_PATH: Final = re.compile(r"[A-Za-z0-9/_.~-]*")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,256}")  # anything a header can carry; what is a token the server knows
_TOKEN_FILE_LIMIT: Final = 4096


@dataclass(frozen=True)
class Connection:
    """A checked way to one server."""

    server: str
    """Base URL without a trailing slash; rebuilt from checked parts, never the text as it was given."""
    token: str = field(repr=False)
    ca_file: str | None = None
    """PEM file of the only authority to trust; None for the system's."""


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every command but ``serve`` has."""
    group = parser.add_argument_group("the server")
    group.add_argument("--server", metavar="URL", help=f"base URL of the server (or {SERVER_VARIABLE})")
    group.add_argument(
        "--token-file", metavar="PATH", help=f"file that holds the operator token (or the token in {TOKEN_VARIABLE})"
    )
    group.add_argument("--ca-file", metavar="PATH", help="trust only the certificate authorities in this PEM file")
    group.add_argument(
        "--allow-insecure-http",
        action="store_true",
        help="permit http:// to another machine: everybody on the way can read the token",
    )


def connection_from(args: argparse.Namespace, environ: Mapping[str, str]) -> Connection:
    """The connection that options and environment describe; an option wins over its variable.

    Raises ``SettingsError``, ``InputError`` (token file) or ``NotAllowedError`` (no token at all).
    """
    server = server_url(args.server or environ.get(SERVER_VARIABLE, ""), insecure=args.allow_insecure_http)
    if args.ca_file is not None and not server.startswith("https:"):
        raise SettingsError(f"--ca-file has no use with {server}", hint="use an https:// URL or leave --ca-file out")
    if args.token_file is not None:
        token = _token_of_file(Path(args.token_file))
    else:
        token = _checked_token(environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE)
    return Connection(server, token, args.ca_file)


def server_url(text: str, *, insecure: bool) -> str:
    """The base URL, checked; raises ``SettingsError``. ``insecure`` permits cleartext beyond this machine."""
    if not text:
        raise SettingsError("no server given", hint=f"set --server or {SERVER_VARIABLE}; {_URL_EXAMPLE}")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise SettingsError(f"server URL {text[:200]!a} cannot be read", hint=_URL_EXAMPLE) from None
    _check_shape(url)
    host = _bracketed(url.hostname or "")
    if url.scheme == "http" and not insecure and not is_loopback(url.hostname or ""):
        raise SettingsError(
            f"http://{host} would send the operator token in the clear",
            hint="use https://, or --allow-insecure-http if the network in between is trusted",
        )
    return f"{url.scheme}://{host}{'' if port is None else f':{port}'}{url.path.rstrip('/')}"


def _check_shape(url: SplitResult) -> None:
    if url.username is not None or url.password is not None:
        raise SettingsError(
            "server URL holds a user name or password", hint="leave it out: the operator token is enough"
        )
    problem = _problem(url)
    if problem is not None:
        raise SettingsError(f"server URL has {problem}", hint=_URL_EXAMPLE)


def _problem(url: SplitResult) -> str | None:
    if url.scheme not in {"http", "https"}:
        return f"scheme {url.scheme!a} instead of http or https"
    if not _is_host(url.hostname or ""):
        return f"host {url.hostname!a}"
    if url.query or url.fragment:
        return "a query or fragment"
    if not _PATH.fullmatch(url.path):
        return f"path {url.path!a}"
    return None


def _is_host(host: str) -> bool:
    if ":" in host:
        return _is_ipv6(host)
    return _HOST.fullmatch(host) is not None


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _token_of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            raw = file.read(_TOKEN_FILE_LIMIT + 1)
    except OSError as error:
        raise InputError(f"token file {str(path)!a}: {error.strerror}") from None
    if stat.S_ISREG(mode) and mode & stat.S_IRWXO:
        raise SettingsError(
            f"token file {str(path)!a} is open to every user of this machine (mode {stat.S_IMODE(mode):04o})",
            hint="chmod 600 it, and make a new token if others may have read it",
        )
    return _checked_token(raw.decode("ascii", "replace").strip(), f"token file {str(path)!a}")


def _checked_token(token: str, source: str) -> str:
    """The token, or an error that names where it came from and nothing of it."""
    if not token:
        raise NotAllowedError(f"no operator token: {source} is empty or not set")
    if not _TOKEN.fullmatch(token):
        raise SettingsError(
            f"{source} does not hold one token on one line", hint="copy the token again, without anything around it"
        )
    return token

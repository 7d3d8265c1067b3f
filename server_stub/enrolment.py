"""The lines that put a node's token on the node and start its agent, for the command line and the web page."""

import re
import shlex
from typing import Final
from urllib.parse import urlsplit

from server_stub.loopback import is_loopback
from server_stub.readable import visible

_NODE_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,256}")


def commands(server: str, node: str, token: str) -> list[str]:
    """What to type on the node. The token goes through a here-document: a shell keeps that out of every process's argv.

    Raises ``ValueError`` for a token that is not one, because this text is pasted into a shell.
    """
    if not _NODE_TOKEN.fullmatch(token):
        raise ValueError("no usable token")
    file = shlex.quote(f"{_file_name(node)}.token")
    return [
        f"(umask 077 && cat > {file}) <<'END'",
        token,
        "END",
        f"lattice-agent -server {shlex.quote(server)} -node-id {shlex.quote(visible(node))} --token-file {file}"
        + _insecure_option(server),
    ]


def notes(server: str) -> list[str]:
    """What to know before typing it."""
    return ["Add -allow-exec to let it run scripts.", *_note_on_loopback(server)]


def _file_name(node: str) -> str:
    """A file name without the characters that mean something in a path or to a program's option parser."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", node).lstrip(".-") or "node"


def _insecure_option(server: str) -> str:
    url = urlsplit(server)
    return " -allow-insecure-http" if url.scheme == "http" and not is_loopback(url.hostname or "") else ""


def _note_on_loopback(server: str) -> list[str]:
    if not is_loopback(urlsplit(server).hostname or ""):
        return []
    return ["On another machine, put the address by which it reaches this server in place of " + server + "."]

"""A tiny operator API on a real socket, and the command run in this process against it."""

import io
import json
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from server_stub.cli import main
from server_stub.cli.connection import Connection

PROGRAM = [sys.executable, "-c", "import sys; from server_stub.cli import main; sys.exit(main())"]
"""``lattice-control`` as a process of its own; works without its script being on PATH."""

TOKEN = "lop_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
NODE_TOKEN = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\x00\x9b1m\u202eevil\u2066\u200b\ue000\x7f"
"""Title change, clear, line break, NUL, C1 escape, bidirectional override, zero width, private use, delete."""


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """One answer as it goes out."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


def reply(document: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode())


def events(*told: tuple[str, object]) -> Reply:
    """A stream of events that ends after these."""
    body = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in told)
    return Reply(200, body.encode(), {"Content-Type": "text/event-stream; charset=utf-8"})


def piece(stream: str, offset: int, data: bytes, position: int | None = None) -> tuple[str, object]:
    """An ``output`` event; ``position`` is the offset if left out, as it is while only one stream is written to."""
    at = offset if position is None else position
    return "output", {"stream": stream, "offset": offset, "position": at, "data": b64encode(data).decode()}


def refusal(status: int, code: str, message: str) -> Reply:
    return reply({"error": {"code": code, "message": message, "request_id": "req_1"}}, status)


Script = Callable[[Asked], Reply]


class FakeApi:
    """Answers each request by ``answer`` and remembers it in ``asked``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.answer: Script = lambda _: reply({})

    def answers(self, *replies: Reply) -> None:
        """These, one after the other; the last one again and again."""
        rest = list(replies)
        self.answer = lambda _: rest.pop(0) if len(rest) > 1 else rest[0]

    @property
    def connection(self) -> Connection:
        return Connection(self.url, TOKEN)


@contextmanager
def fake_api() -> Iterator[FakeApi]:
    fake = FakeApi("")

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", "0")))
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            params = dict(parse_qsl(url.query))
            asked = Asked(self.command, url.path, params, headers, json.loads(raw) if raw else None)
            fake.asked.append(asked)
            answer = fake.answer(asked)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names http.server looks for

        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # a client that had enough; some tests are about that
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Control:
    """Runs ``lattice-control`` in this process with the environment of an operator of the server at ``url``."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, token: str
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setenv("LATTICE_CONTROL_SERVER", url)
        monkeypatch.setenv("LATTICE_CONTROL_TOKEN", token)

    def __call__(self, *argv: str, stdin: bytes = b"") -> Ran:
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capsys.readouterr()
        code = main(argv)
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)


def assert_harmless(text: str) -> None:
    """Nothing in it that a terminal acts on: line feeds and tabs are the only characters that cannot be printed."""
    assert all(char.isprintable() or char in "\n\t" for char in text), ascii(text)

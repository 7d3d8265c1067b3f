"""What ``lattice-control`` reads of a server that may be anybody's, and what it lets through to a terminal."""

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from typing import Any, Final
from unittest import mock

import httpcore
import httpx

from server_stub.cli import main
from server_stub.cli.errors import AnswerError
from server_stub.cli.event_stream import Event, EventParser
from server_stub.cli.follow_one import follow_output
from server_stub.cli.live_output import LiveOutput, LiveStream
from server_stub.cli.parser import build_parser
from server_stub.cli.report import items, section
from server_stub.cli.screen import Screen
from server_stub.cli.script_text import RESET, ScriptText
from server_stub.cli.text import Column, fields, table, visible, without_tokens
from server_stub.errors import ControlError
from tests.fuzz.form import chosen, headed, pieces, text
from tests.fuzz.target import Target

COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    " ".join(words): words
    for words in (
        ("node", "list"),
        ("node", "show", "n1"),
        ("node", "add", "n1"),
        ("node", "inventory", "n1"),
        ("node", "rotate", "n1"),
        ("node", "tag", "n1"),
        ("operator", "list"),
        ("operator", "add", "ada"),
        ("user", "list"),
        ("user", "show", "u1"),
        ("user", "set-quota", "u1", "5"),
        ("task", "list"),
        ("task", "show", "t1"),
        ("task", "show", "t1", "--json"),
        ("task", "cancel", "t1"),
        ("task", "rerun", "t1"),
        ("task", "preview", "-", "--node", "n1", "--interpreter", "sh"),
        ("task", "output", "t1", "--node", "n1"),
        ("usage", "show"),
        ("usage", "show", "--by", "day", "--format", "csv"),
        ("audit",),
        ("kill-switch", "on"),
    )
}
_TOKEN: Final = "lop_" + "a" * 43
_CODES: Final = frozenset({os.EX_OK, 1, os.EX_USAGE, os.EX_DATAERR, os.EX_UNAVAILABLE, os.EX_TEMPFAIL, os.EX_PROTOCOL,
                           os.EX_NOPERM})  # fmt: skip
"""Every code that the command's own errors have; EX_SOFTWARE would be a fault of ours."""
_build_parser: Final = cache(build_parser)
"""Five sixths of a command's time are its parser, which no server has a hand in."""
_SGR: Final = re.compile(r"\x1b\[[0-9;:]*m")


def _command(data: bytes) -> None:
    """A command against raw bytes of a server: it ends by one of its own codes, and no terminal obeys its output."""
    words, answer = chosen(COMMANDS, data)
    out, err = io.StringIO(), io.StringIO()
    with _server(answer), redirect_stdout(out), redirect_stderr(err), mock.patch("sys.stdin", _script()):
        code = main(words)
    shown = out.getvalue() + err.getvalue()
    assert code in _CODES, (code, err.getvalue()[-300:])
    assert _TOKEN not in shown
    _check_harmless(shown)


def _script() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(b"true\n"))


@contextmanager
def _server(answer: bytes) -> Iterator[None]:
    send = httpx.HTTPTransport.handle_request

    def over(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        transport._pool = httpcore.ConnectionPool(network_backend=httpcore.MockBackend([answer]))
        return send(transport, request)

    known = {"LATTICE_CONTROL_SERVER": "http://127.0.0.1:9", "LATTICE_CONTROL_TOKEN": _TOKEN}
    with (
        mock.patch.object(httpx.HTTPTransport, "handle_request", over),
        mock.patch.dict(os.environ, known),
        mock.patch("server_stub.cli.parser.build_parser", _build_parser),
    ):
        yield


def _check_harmless(shown: str) -> None:
    assert all(char.isprintable() or char in "\n\t" for char in shown), ascii(shown)


def _document(data: bytes) -> None:
    """The same with the JSON alone, so that the mutation can keep its form."""
    head, body = headed(data)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    _command(head.encode() + b"\n" + answer + body)


def _events(data: bytes) -> None:
    """Events are the same however the bytes come."""
    whole = _parsed([data])
    assert _parsed(pieces(data, 5)) == whole
    assert _parsed(pieces(data, 1)) == whole


def _parsed(incoming: list[bytes]) -> list[Event]:
    parser, found = EventParser(), list[Event]()
    try:
        for piece in incoming:
            found += parser.feed(piece)
    except AnswerError as refusal:
        found.append(Event("refused", str(refusal)))
    return found


class _Api:
    """A server that tells these events, and no more when it is asked again."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def listen(self, path: object, params: object, deadline: float) -> Iterator[Event]:
        yield from EventParser().feed(self._data)
        raise AnswerError("the stream is over")


def _follow(data: bytes) -> None:
    """Live output as it is followed: what reaches the screen hides nothing and moves nothing."""
    for colours in ("never", "always"):
        out, err = io.StringIO(), io.StringIO()
        live = LiveOutput(Screen(out, err), colours)
        try:
            follow_output(_Api(data), live, "task_1", "n1")  # type: ignore[arg-type]  # as far as following goes
        except ControlError as error:
            visible(str(error))
        for shown in (out.getvalue(), err.getvalue()):
            _check_harmless(_SGR.sub("", shown) if colours == "always" else shown)


def _live_stream(data: bytes) -> None:
    """Pieces of a stream in any cut, then its result: the screen ends with the same text."""
    result = text(data)
    expected = _shown_live([data], result)
    assert _shown_live(pieces(data, 3), result) == expected
    _check_harmless(_SGR.sub("", expected))


def _shown_live(incoming: list[bytes], result: str) -> str:
    stream, at, shown = LiveStream(colours=True), 0, ""
    for piece in incoming:
        shown += stream.take(at, piece)
        at += len(piece)
    rest, remark, again = stream.complete(result)
    assert not remark
    return shown + rest + again


def _script_text(data: bytes) -> None:
    given = text(data)
    whole = _through([given])
    assert _through([given[at : at + 3] for at in range(0, len(given), 3)]) == whole
    _check_harmless(_SGR.sub("", whole))
    plain = ScriptText(colours=False)
    _check_harmless(plain.feed(given) + plain.end())


def _through(incoming: list[str]) -> str:
    script = ScriptText(colours=True)
    shown = "".join(map(script.feed, incoming)) + script.end()
    assert script.reset() in ("", RESET)
    return shown


def _texts(data: bytes) -> None:
    lines = text(data).split("\n")
    _check_harmless(visible(text(data)))
    without_tokens(text(data))
    rows = [line.split("\t")[:2] for line in lines if line.count("\t")]
    shown = table((Column("A"), Column("B", right=True)), rows) + fields([(row[0], row[1]) for row in rows])
    for line in shown:
        _check_harmless(line)
        assert "\n" not in line


def _reported(data: bytes) -> None:
    document: Any = _json(data)
    for line in (*section(document), *items([document])):
        _check_harmless(line)
        assert "\n" not in line


def _json(data: bytes) -> Any:
    from server_stub.cli.api import _json_object

    return _json_object(data) or {}


TARGETS: Final = (
    Target("control.command", ("server_stub.cli.api", "server_stub.cli.refusal"), _command, (),
           "ends by one of its own codes; no terminal obeys its output; the token is not in it", words=tuple(COMMANDS)),
    Target("control.document", ("server_stub.cli.answers", "server_stub.cli.task_answers", "server_stub.readable"),
           _document, (), "the same", words=tuple(COMMANDS)),
    Target("control.events", ("server_stub.cli.event_stream",), _events, (), "the same events in any pieces",
           longest=8_192),
    Target("control.follow", ("server_stub.cli.live_output", "server_stub.cli.resume"), _follow, (),
           "no terminal obeys what is shown, colours aside"),
    Target("control.live_stream", ("server_stub.cli.live_output",), _live_stream, (), "the same text in any pieces",
           longest=16_384),
    Target("control.script_text", ("server_stub.cli.script_text",), _script_text, (),
           "the same text in any pieces; colours are all that gets through", longest=16_384),
    Target("control.texts", ("server_stub.cli.text", "server_stub.readable"), _texts, (), "one line, nothing but text",
           longest=16_384),
    Target("control.reported", ("server_stub.cli.report", "server_stub.reported"), _reported, (),
           "one line each, nothing but text"),
)  # fmt: skip

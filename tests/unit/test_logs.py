"""What leaves through the log: one form for machines, one for humans, and no registered secret in either."""

import io
import json
import logging
import pty
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent import logs
from lattice_agent.secret import Secret

log = logging.getLogger("tests.logs")

TOKEN = 'to"ken\\with-everything'


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(logs, "_registered", [])
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[io.StringIO, Terminal])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    made: io.StringIO = request.param()
    logs.configure(debug=False, stream=made)
    return made


def fail_with(text: str) -> None:
    raise ValueError(text)


def test_a_registered_secret_appears_nowhere(stream: io.StringIO) -> None:
    logs.hide(Secret(TOKEN))
    log.info("plain %s", TOKEN)
    log.info("in a list %s", [TOKEN.encode()])
    log.warning(f"formatted {TOKEN}")
    try:
        fail_with(f"in an error {TOKEN}")
    except ValueError:
        log.exception("failed")
    written = stream.getvalue()
    assert written.count("***") >= 3
    assert "with-everything" not in written


def test_of_two_secrets_where_one_holds_the_other_neither_is_left() -> None:
    logs.hide(Secret("abc"))
    logs.hide(Secret("abcdef"))
    assert logs.clean("x abcdef abc") == "x *** ***"


def test_an_empty_secret_hides_nothing() -> None:
    logs.hide(Secret(""))
    assert logs.clean("text") == "text"


@given(st.text(min_size=4), st.text(), st.text())
def test_no_text_around_a_secret_lets_it_through(secret: str, before: str, after: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "_registered", [])
        logs.hide(Secret(secret))
        cleaned = logs.clean(before + secret + after)
    # A secret can be put together again only from its neighbours and the mask.
    assert secret not in cleaned or secret in f"{before}{logs.MASK}{after}" or not secret.isprintable()


def test_control_characters_are_escaped_and_lines_kept() -> None:
    assert logs.clean("a\x1b[2J\r\nb\tc\x07\x7f") == "a\\x1b[2J\\x0d\nb\tc\\x07\\x7f"


def test_machines_get_one_json_object_a_line() -> None:
    stream = io.StringIO()
    logs.configure(debug=False, stream=stream)
    log.info("two\nlines and \u00fc")
    try:
        fail_with("because")
    except ValueError:
        log.exception("it %s", "failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["message"] == "two\nlines and \u00fc"
    assert (first["level"], first["logger"]) == ("info", "tests.logs")
    assert first["time"].endswith("Z")
    assert second["message"] == "it failed"
    assert "ValueError: because" in second["traceback"]


def test_humans_get_a_line_of_text() -> None:
    stream = Terminal()
    logs.configure(debug=False, stream=stream)
    log.warning("hello")
    assert stream.getvalue()[8:] == " WARNING hello\n"


def test_a_real_terminal_is_recognised() -> None:
    control, terminal = pty.openpty()
    with open(control, "rb", buffering=0) as reader, open(terminal, "w") as stream:
        logs.configure(debug=False, stream=stream)
        log.warning("hello")
        assert reader.read(100).endswith(b" WARNING hello\r\n")


def test_debug_lowers_the_level_and_keeps_the_http_libraries_quiet() -> None:
    stream = io.StringIO()
    logs.configure(debug=False, stream=stream)
    log.debug("hidden")
    logs.configure(debug=True, stream=stream)
    log.debug("shown")
    logging.getLogger("httpx").info("GET https://host/?node_id=n")
    logging.getLogger("httpcore.http11").debug("send_request_headers")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["shown"]


def test_a_message_that_cannot_be_formatted_does_not_show_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure(debug=False, stream=stream)  # in the test, to replace pytest's handler as well
    log.info("%d", TOKEN)
    assert "could not be written" in stream.getvalue()
    assert TOKEN not in stream.getvalue() + "".join(capsys.readouterr())


def test_a_closed_stream_is_no_error(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    stream.close()
    log.info("nobody listens")
    assert capsys.readouterr().err == ""

"""Script output for a terminal: nothing but printable text, line feeds, tabs and colours, however it is cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_stub.cli.script_text import RESET, ScriptText, ends_line, passes_colours
from server_stub.cli.text import visible
from tests.rigs.hostile_output import CORPUS, MARKER

SGR = re.compile(r"\x1b\[[0-9;:]*m")
PIECES = st.lists(st.one_of(st.text(alphabet="\x1b[0123;:mHK\nx\x9b", max_size=8), st.text(max_size=4)), max_size=12)


def shown(pieces: list[str], *, colours: bool) -> str:
    text = ScriptText(colours=colours)
    return "".join(map(text.feed, pieces)) + text.end()


def assert_only_text_and_colours(text: str) -> None:
    rest = SGR.sub("", text)
    assert all(char.isprintable() or char in "\n\t" for char in rest), ascii(rest)


@given(PIECES)
def test_cuts_change_nothing(pieces: list[str]) -> None:
    for colours in (True, False):
        assert shown(pieces, colours=colours) == shown(["".join(pieces)], colours=colours)


@given(PIECES)
def test_nothing_but_text_and_colours_comes_through(pieces: list[str]) -> None:
    assert_only_text_and_colours(shown(pieces, colours=True))
    assert shown(pieces, colours=False) == visible("".join(pieces), keep="\n\t")


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_is_harmless(name: str) -> None:
    text = CORPUS[name].decode("utf-8", "replace")

    assert_only_text_and_colours(shown([text], colours=True))
    assert "\x1b" not in shown([text], colours=False)
    assert MARKER in shown([text], colours=True)


def test_colours_pass_and_are_taken_back_once() -> None:
    text = ScriptText(colours=True)

    assert text.feed("\x1b[1;38;5;208morange\x1b[2K") == "\x1b[1;38;5;208morange\\x1b[2K"
    assert (text.reset(), text.reset()) == (RESET, "")


@pytest.mark.parametrize("hiding", ["8", "1;8", "31;08", "5", "38;5;1;6", "38:5:1;8", ";8", "48;2;1;2;3;8"])
def test_what_hides_text_is_shown(hiding: str) -> None:
    assert shown([f"\x1b[{hiding}mhere"], colours=True) == f"\\x1b[{hiding}mhere"


@pytest.mark.parametrize("harmless", ["", "38;5;8", "48;5;5", "38;2;5;6;8", "38:2::8:8:8", "58;5;8", "28", "38;5"])
def test_a_colour_with_such_a_number_hides_nothing(harmless: str) -> None:
    assert shown([f"\x1b[{harmless}mhere"], colours=True) == f"\x1b[{harmless}mhere"


def test_what_is_held_back_is_bounded() -> None:
    text = ScriptText(colours=True)

    assert text.feed("a\x1b[31") == "a"
    assert text.feed("m") == "\x1b[31m"
    assert text.feed("\x1b[" + "1;" * 100).startswith("\\x1b[1;1;")
    assert text.feed("\x1b") == ""
    assert text.end() == "\\x1b"


@pytest.mark.parametrize(
    ("choice", "is_terminal", "environ", "passes"),
    [
        ("auto", True, {"TERM": "xterm"}, True),
        ("auto", False, {"TERM": "xterm"}, False),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", True, {}, False),
        ("auto", True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {"TERM": "xterm"}, False),
    ],
)
def test_who_gets_colours(choice: str, is_terminal: bool, environ: dict[str, str], passes: bool) -> None:
    assert passes_colours(choice, is_terminal=is_terminal, environ=environ) is passes


def test_whether_a_line_has_ended_is_seen_through_colours() -> None:
    assert [ends_line(text) for text in ("", RESET, "a", "a\n", f"a\n{RESET}", f"a{RESET}")] == [
        *(None, None, False, True, True, False)
    ]

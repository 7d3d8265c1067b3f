"""What becomes of the output of a script in the page: the modules that know no page, run by node."""

import re
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rigs.extent import extent
from tests.rigs.node_module import NodeModule, node_module

pytestmark = pytest.mark.needs_node

PROGRAM = """
import { Lines } from "{static}/lines.js";
import { rules } from "{static}/palette.js";

function answer(pieces) {
  if (pieces === "rules") return rules(".log");
  const lines = new Lines();
  const found = [];
  for (const piece of pieces) {
    lines.write(piece);
    found.push(...lines.take());
  }
  lines.end();
  found.push(...lines.take());
  const open = lines.open();
  return open === null ? found : [...found, open];
}
"""
CLASSES = re.compile(r"[fb](?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])|black|white|bold|dim|italic|underline|strike|control")
HIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

TOKENS = st.sampled_from([
    "\x1b", "\x1b[", "\x1b]", "\x1b]8;;https://x.test\x1b\\", "\x1b]52;c;aGk=\x07", "\x1b[31m", "\x1b[1;4;7m",
    "\x1b[38;5;200m", "\x1b[48;2;1;2;3m", "\x1b[38:2::9:8:7m", "\x1b[m", "m", ";", "8", "\x1b[2K", "\x1b[1K", "\x1b(B",
    "\x1b[999999999999m", "\x1bP", "\x1b\\", "\x07", "\x9c", "\x9b", "\r", "\n", "\b", "\t", "\x00", "\u202e", "\u200b",
    "é", "漢", "👍", "</script>", "<img src=x onerror=alert(1)>", "plain ", "x" * 5_000, "\x1b]" + "y" * 5_000,
])  # fmt: skip
TEXTS = st.lists(TOKENS | st.text(max_size=5), max_size=12).map("".join)


@pytest.fixture(scope="module")
def node() -> Iterator[NodeModule]:
    with node_module(PROGRAM) as module:
        yield module


def utf16_cut(text: str, at: list[int]) -> list[str]:
    """Pieces as JavaScript may cut them: between any two code units, so also within a surrogate pair."""
    raw = text.encode("utf-16-le", "surrogatepass")
    edges = [0, *sorted(2 * cut for cut in at if 2 * cut < len(raw)), len(raw)]
    return [raw[start:end].decode("utf-16-le", "surrogatepass") for start, end in pairwise(edges)]


def plain(lines: list[dict[str, Any]]) -> list[str]:
    return ["".join(run["text"] for run in line["runs"]) for line in lines]


@given(TEXTS, st.lists(st.integers(0, 40), max_size=8))
@settings(deadline=None, max_examples=extent(60, 300))
def test_any_cut_gives_the_same_lines(node: NodeModule, text: str, cuts: list[int]) -> None:
    assert node.ask(utf16_cut(text, cuts)) == node.ask([text])


@given(TEXTS)
@settings(deadline=None, max_examples=extent(60, 300))
def test_nothing_hidden_and_no_class_of_its_own_gets_through(node: NodeModule, text: str) -> None:
    for line in node.ask([text]):
        for run in line["runs"]:
            assert not HIDDEN.search(run["text"]), run
            assert all(CLASSES.fullmatch(name) for name in run["look"].split())


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=200))
@settings(deadline=None)
def test_plain_text_is_shown_as_it_is(node: NodeModule, text: str) -> None:
    shown = "".join(plain(node.ask([text])))
    assert re.sub(r"\\(?:u[0-9a-f]{4}|U[0-9a-f]{8})", "", shown) == "".join(
        char for char in text if char in shown
    )  # characters of a later Unicode than node's are escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\ntwo", ["one", "two"]),
        ("one\n\n", ["one", ""]),
        ("dos\r\nends\r\n", ["dos", "ends"]),
        ("10%\r20%\r100%\n", ["100%"]),
        ("100%\r5\n", ["500%"]),
        ("100%\r\x1b[K5%\n", ["5%"]),
        ("wait\x1b[2K\rdone\n", ["done"]),
        ("abc\b\bX\n", ["aXc"]),
        ("\b\bX", ["X"]),
        ("a\x1b[5Ab\x1b[?25lc\x1b(Bd", ["abcd"]),
        ("a\x1b]0;title\x07b", ["a[OSC 0]b"]),
        ("a\x1b]8;;https://x.test\x1b\\link\x1b]8;;\x1b\\b", ["a[OSC 8]link[OSC 8]b"]),
        ("a\x1b]52;c;aGk=\x07b", ["a[OSC 52]b"]),
        ("a\x1bPq#0\x1b\\b", ["a[DCS]b"]),
        ("a\x1b]0;never ended\nb", ["a\\x1b]0;never ended", "b"]),
        ("a\x1b[12", ["a\\x1b[12"]),
        ("a\x1b[1\nb", ["a\\x1b[1", "b"]),
        ("a\x1b", ["a\\x1b"]),
        ("a\x1b[31|b \x1b|c", ["a\\x1b[31|b \\x1b|c"]),
        ("\x1b[31\x1b[mx", ["\\x1b[31x"]),
        (
            "nul\x00 bell\x07 c1\x9b bidi\u202e\u2066 wide\u3000",
            ["nul\\x00 bell\\x07 c1\\x9b bidi\\u202e\\u2066 wide\\u3000"],
        ),
        ("\U000e0041", ["\\U000e0041"]),
        ("</script><b>&amp;", ["</script><b>&amp;"]),
    ],
)
def test_controls(node: NodeModule, text: str, shown: list[str]) -> None:
    assert plain(node.ask([text])) == shown


@pytest.mark.parametrize(
    ("style", "look"),
    [
        ("1", "bold"),
        ("31", "f1"),
        ("97", "f15"),
        ("93;44", "b4 black"),
        ("31;40", "b0 f1"),
        ("38;5;208", "f208"),
        ("38:5:208", "f208"),
        ("38;2;255;0;0", "f196"),
        ("38:2::255:0:0", "f196"),
        ("38;2;119;119;119", "f243"),
        ("58;5;1;3", "italic"),
        ("2;9;4", "dim underline strike"),
        ("1;22;4;24", ""),
        ("31;0", ""),
        ("31;", ""),
        ("7", "b7 black"),
        ("8", ""),
        ("30;40", "b0 f0"),
        ("36;46", "b6 black"),
        ("97;107", "b15 black"),
        ("38;5", ""),
        ("38;5;256", ""),
        ("38;2;300;0;0", ""),
    ],
)
def test_styles(node: NodeModule, style: str, look: str) -> None:
    (line,) = node.ask([f"\x1b[{style}mx"])
    assert line["runs"] == [{"look": look, "text": "x"}]


def test_a_reset_ends_a_style(node: NodeModule) -> None:
    (line,) = node.ask(["\x1b[1;31mred\x1b[0m plain"])
    assert line["runs"] == [{"look": "f1 bold", "text": "red"}, {"look": "", "text": " plain"}]


def test_a_long_line_goes_on_in_lines_that_say_so(node: NodeModule) -> None:
    lines = node.ask(["x" * 10_000 + "\nnext"])
    assert [(len(text), line["continued"]) for text, line in zip(plain(lines), lines, strict=True)] == [
        (4096, False),
        (4096, True),
        (1808, True),
        (4, False),
    ]


def test_ten_mebibytes_without_a_line_feed_take_seconds_at_most(node: NodeModule) -> None:
    began = time.monotonic()
    lines = node.ask(["x" * 32_768] * 320)
    assert sum(map(len, plain(lines))) == 10 * 2**20
    assert time.monotonic() - began < 20


def test_erasing_a_long_line_over_and_over_takes_no_longer(node: NodeModule) -> None:
    began = time.monotonic()
    assert plain(node.ask(["x" * 4_000, *["\x1b[1K" * 8_192] * 160])) == [" " * 4_000]
    assert time.monotonic() - began < 10  # cell by cell it takes several times as long


EDITS = st.lists(st.sampled_from(["a", "bc", "\r", "\b", "\x1b[K", "\x1b[1K", "\x1b[2K"]), max_size=40)


@given(EDITS)
def test_a_line_that_is_edited_is_what_a_terminal_would_show(node: NodeModule, edits: list[str]) -> None:
    cells, at = list[str](), 0
    for edit in edits:
        if edit == "\r":
            at = 0
        elif edit == "\b":
            at = max(0, at - 1)
        elif edit.startswith("\x1b"):
            if edit != "\x1b[K":
                cells[: at + 1] = " " * len(cells[: at + 1])
            if edit != "\x1b[1K":
                del cells[at:]
        else:
            cells[at : at + len(edit)] = edit
            at += len(edit)
    assert "".join(plain(node.ask(["".join(edits)]))) == "".join(cells)


def test_there_is_a_rule_for_every_colour(node: NodeModule) -> None:
    rules = node.ask("rules").splitlines()
    assert len(rules) == 512
    assert all(re.fullmatch(r"\.log \.[fb]\d+\{(color|background):rgb\(\d+ \d+ \d+\)\}", rule) for rule in rules)

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.udev_data import parse_properties, read_properties, unescape
from tests.unit.facts.trees import write_tree

DATABASE = (
    "S:disk/by-id/x\nW:3\nI:1234\nE:ID_MODEL=a\nE:ID_MODEL=b\nE:EMPTY=\nE:SUM=1=1\nE:broken\n"
    "S:a=b\nID_MODEL=c\nG:systemd\nV:1\n"
)


def test_properties_are_the_lines_that_begin_with_e() -> None:
    assert parse_properties(DATABASE) == {"ID_MODEL": "b", "EMPTY": "", "SUM": "1=1"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (r"ACME\x20Disk\x20\x20", "ACME Disk  "),
        (r"caf\xc3\xa9", "café"),
        (r"\xff", "\ufffd"),
        (r"\x2", r"\x2"),
        ("plain_text", "plain_text"),
        ("\ud800", "?"),
    ],
)
def test_escaped_bytes(value: str, text: str) -> None:
    assert unescape(value) == text


def test_properties_are_found_by_number(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path, {"run/udev/data/b8:0": DATABASE, "run/udev/data/b8:1/": "", "run/udev/data/secret": "E:A=1"}
    )
    assert read_properties(root, "8:0")["ID_MODEL"] == "b"
    assert read_properties(root, "8:16") == {}
    assert read_properties(root, "8:1/../secret") == {}


@given(st.text())
def test_no_text_raises(text: str) -> None:
    parse_properties(text)
    parse_properties("E:" + text)
    unescape(text)
    unescape("\\x" + text)

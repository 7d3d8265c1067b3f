"""What a script asks for in its first lines."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.exec.local_policy import INTERPRETERS
from lattice_agent.exec.plan import Level
from lattice_agent.exec.script_header import HEADER_LINES, HeaderError, asked_level, header_for


@pytest.mark.parametrize("interpreter", INTERPRETERS)
@pytest.mark.parametrize("level", Level)
def test_every_level_can_be_asked_for_in_every_language(level: Level, interpreter: str) -> None:
    script = f"#!/usr/bin/env x\n\n{header_for(level, interpreter)}\nrest\n"
    assert asked_level(script, interpreter) is level


@pytest.mark.parametrize(
    "line",
    [
        "# lattice: level=network",
        "#lattice:level=network",
        "\t ##  Lattice:   level=network  ",
        "# LATTICE: level=network\r",
        "\ufeff# lattice: level=network",
    ],
)
def test_how_it_may_be_written(line: str) -> None:
    assert asked_level(f"{line}\necho", "sh") is Level.NETWORK
    assert asked_level(line, "python3") is Level.NETWORK


@pytest.mark.parametrize(
    ("line", "interpreter"),
    [
        ("", "sh"),
        ("#!/bin/sh", "sh"),
        ("# lattice level=network", "sh"),  # no colon: prose
        ("# about lattice: level=network", "sh"),
        ("echo x # lattice: level=network", "sh"),
        ("'# lattice: level=network'", "sh"),
        ("// lattice: level=network", "sh"),
        ("# lattice: level=network", "node"),
        ("/* lattice: level=network */", "node"),
        ("x // lattice: level=network", "node"),
    ],
)
def test_what_is_no_header(line: str, interpreter: str) -> None:
    assert asked_level(f"{line}\nx", interpreter) is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "is empty"),
        ("level", "'level' is not understood"),
        ("level=", "there is no level ''"),
        ("level=Network", "there is no level 'Network'; the nearest is network"),
        ("level=hots", "the nearest is host, all are strict, network, landlock, host"),
        ("level =network", "'level' is not understood"),
        ("Level=network", "'Level=network' is not understood"),
        ("level=network,", "there is no level 'network,'"),
        ("timeout=5", "'timeout=5' is not understood; the one key is level"),
        ("level=network timeout=5", "given twice"),
        ("level=network level=network", "level is given twice"),
        ("managed by hand", "'managed' is not understood"),
        ("x" * 1000, "xxx...'"),
    ],
)
def test_what_looks_like_a_header_and_is_not_understood_is_an_error(words: str, told: str) -> None:
    with pytest.raises(HeaderError) as error:
        asked_level(f"#!/bin/sh\n# lattice: {words}\n", "sh")
    assert told in str(error.value)
    assert "(line 2)" in str(error.value)
    assert len(str(error.value)) < 250


def test_two_headers_are_one_too_many() -> None:
    with pytest.raises(HeaderError, match=r"\(line 2\): level is given twice"):
        asked_level("# lattice: level=strict\n# lattice: level=host\n", "sh")


def test_only_the_first_ten_lines_are_looked_at() -> None:
    header = "# lattice: level=network"
    assert asked_level("\n" * (HEADER_LINES - 1) + header, "sh") is Level.NETWORK
    assert asked_level("\n" * HEADER_LINES + header, "sh") is None


@given(st.text(), st.sampled_from(INTERPRETERS))
def test_any_text_has_a_level_none_or_an_error(script: str, interpreter: str) -> None:
    for text in (script, f"# lattice:{script}", f"// lattice: level={script}"):
        with suppress(HeaderError):
            assert asked_level(text, interpreter) in (None, *Level)

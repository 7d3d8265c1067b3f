"""docs/control.md says what the commands say."""

import argparse
from pathlib import Path

import pytest

from server_stub.cli.command import Command
from server_stub.cli.commands import COMMANDS
from server_stub.cli.reference import BEGIN, with_reference

PAGE = Path(__file__).parents[3] / "docs" / "control.md"


def test_the_page_holds_the_help_text_of_every_command() -> None:
    page = PAGE.read_text()

    assert with_reference(page) == page, f"run: python -m server_stub.cli.reference {PAGE.name}"
    for command in COMMANDS:
        assert f"### `lattice-control {' '.join(command.words)}`" in page


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.words))
def test_every_argument_is_explained(command: Command) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)

    assert [action.dest for action in parser._actions if not action.help] == []


def test_a_page_without_the_markers_is_an_error() -> None:
    for page in ("", BEGIN):
        with pytest.raises(ValueError, match="the page has no"):
            with_reference(page)

"""The corpus itself: every script says what it does, and some test lets it loose."""

from pathlib import Path

import pytest

from tests.hostile.cell_rig import CORPUS
from tests.hostile.table import ATTACKS, TABLES
from tests.rigs.evidence import Table

SHARED = "attempts.py"
NO_ATTACKS = {
    "attempts",  # what others begin with
    "channel_receive",  # the other side of channel_send
    "protections", "agents_key",  # what is looked for where a step is missing (test_steps_removed)
}  # fmt: skip
SCRIPTS = sorted(path.name for path in CORPUS.iterdir() if path.is_file())
TESTS = "".join(
    path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path.name != Path(__file__).name
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_begins_with_what_it_does(name: str) -> None:
    first = (CORPUS / name).read_text().splitlines()[0]
    assert first.startswith({".py": '"""', ".sh": "# "}[Path(name).suffix])


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != SHARED])
def test_a_script_is_let_loose(name: str) -> None:
    stem = Path(name).stem
    assert f'"{name}"' in TESTS or f'"{stem}"' in TESTS


def test_every_attack_of_the_corpus_has_a_row_in_the_tables() -> None:
    rows = {row for rows in ATTACKS.values() for row in rows}
    in_words = set(ATTACKS["trees"])
    assert rows - in_words == {Path(name).stem for name in SCRIPTS} - NO_ATTACKS


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_of_the_document_is_complete(table: Table) -> None:
    """It was written by ``make tables``: a row for every attack, a word for every place."""
    lines = [line.strip("| ").split(" | ") for line in table.written().splitlines()]
    assert lines[0] == [table.heading, *table.columns]
    assert [line[0] for line in lines[2:]] == list(table.rows)
    assert all(len(line) == len(lines[0]) and all(line) for line in lines)

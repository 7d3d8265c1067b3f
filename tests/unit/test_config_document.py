"""docs/configuration.md is what the declarations say."""

from pathlib import Path

from lattice_agent.config.document import render
from lattice_agent.config.table import OPTIONS
from lattice_agent.config.unbuilt import UNBUILT

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render(), "run: python -m lattice_agent.config.document > docs/configuration.md"


def test_every_setting_is_on_the_page() -> None:
    rows = PAGE.read_text().splitlines()
    for key, option in OPTIONS.items():
        assert any(row.startswith(f"| `{key}` | `-{option.flag}` |") and option.doc in row for row in rows), key
    for unbuilt in UNBUILT:
        assert f"| `-{unbuilt.flag}` | `{unbuilt.env}` | {unbuilt.feature} |" in rows

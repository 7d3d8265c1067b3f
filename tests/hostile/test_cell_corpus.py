"""The corpus itself: every script says what it does, and some test lets it loose."""

from pathlib import Path

import pytest

from tests.hostile.cell_rig import CORPUS

SHARED = "attempts.py"
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

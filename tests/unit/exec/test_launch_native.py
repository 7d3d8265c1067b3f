"""The native program as it is built: of this source, alone, small, and found by whoever makes cells."""

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lattice_agent.exec import cell
from lattice_agent.exec.step import StepError
from tests.hostile.rig import REPOSITORY

PLACE = REPOSITORY / "lattice_agent/exec/native"
SOURCES = [PLACE / "cell.c", PLACE / "maker.c"]
PROGRAM = PLACE / "cell"
MOST_BYTES = 16 << 10


def flags() -> list[str]:
    """Those of setup.py, which cannot be imported without being run."""
    text = (REPOSITORY / "setup.py").read_text()
    names: dict[str, Any] = {}
    exec(text[text.index("FLAGS = ") : text.index("]\n", text.index("FLAGS = ")) + 2], names)  # a list of words
    return list(names["FLAGS"])


def test_the_built_program_is_that_of_this_source(tmp_path: Path) -> None:
    again = tmp_path / "cell"
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, *flags(), "-o", os.fspath(again), *map(os.fspath, SOURCES)], check=True)
    assert again.read_bytes() == PROGRAM.read_bytes(), "native/cell is older than its source: run make setup"


def test_it_is_static_small_and_has_no_executable_stack() -> None:
    image = PROGRAM.read_bytes()
    assert len(image) < MOST_BYTES
    assert image[:5] == b"\x7fELF\2"
    kind, _machine, _version, _entry, at = struct.unpack_from("=HHIQQ", image, 16)
    size, count = struct.unpack_from("=HH", image, 54)
    assert kind == 2  # ET_EXEC: nothing to be relocated
    headers = [struct.unpack_from("=II", image, at + number * size) for number in range(count)]
    kinds = dict(headers)
    assert not {2, 3} & kinds.keys()  # neither PT_DYNAMIC nor PT_INTERP: no loader, no library
    assert not kinds[0x6474_E551] & 1  # PT_GNU_STACK is not executable
    assert not any(
        flags & 3 == 3 for header, flags in headers if header == 1
    )  # nothing loaded is writable and executable


def test_everybody_may_execute_it_and_only_its_owner_change_it() -> None:
    assert PROGRAM.stat().st_mode & 0o777 == 0o755


def test_whoever_makes_cells_finds_it() -> None:
    fd = cell.open_program()
    assert os.path.samestat(os.fstat(fd), os.stat(PROGRAM))
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_where_it_is_missing_that_is_said_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "__file__", os.fspath(tmp_path / "cell.py"))
    with pytest.raises(StepError, match=f"{tmp_path}/native/cell is missing: it is built when"):
        cell.open_program()


def test_a_build_without_a_compiler_fails_instead_of_leaving_it_out(tmp_path: Path) -> None:
    (tmp_path / "lattice_agent").symlink_to(REPOSITORY / "lattice_agent")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "--build-lib", os.fspath(tmp_path / "built")],
        cwd=tmp_path,
        env={**os.environ, "CC": "/nowhere/cc"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "/nowhere/cc" in done.stderr

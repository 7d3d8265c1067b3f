"""The state directory: one holder, a file that survives, errors that name it."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lattice_agent.errors import StateError, StateLockedError
from lattice_agent.state.db import StateDirectory


def test_is_private_synced_and_in_wal_mode(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "state.db").stat().st_mode & 0o777 == 0o600
    assert state.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert state.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    state.close()


def test_second_agent_is_refused_with_exit_code_75(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    with pytest.raises(StateLockedError, match=str(tmp_path)) as caught:
        StateDirectory(tmp_path)
    assert caught.value.exit_code == os.EX_TEMPFAIL == 75
    state.close()
    StateDirectory(tmp_path).close()


def test_a_killed_agent_leaves_no_lock(tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib, lattice_agent.state.db as db\n"
        "held = db.StateDirectory(pathlib.Path(sys.argv[1]))\n"
        "os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=20, check=False)
    assert ended.returncode == -9
    StateDirectory(tmp_path).close()


def test_newer_schema_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    StateDirectory(tmp_path).close()
    with sqlite3.connect(tmp_path / "state.db") as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(StateError, match="schema 99"):
        StateDirectory(tmp_path)


def test_damaged_file_names_itself(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StateError, match=r"state\.db") as caught:
        StateDirectory(tmp_path)
    assert "move the file aside" in caught.value.hint()


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="file/state"):
        StateDirectory(tmp_path / "file" / "state")

"""``state.db``: one SQLite file (WAL, synchronous=FULL) in a directory that one agent holds.

A commit that returned survives the loss of the process and of power (the WAL is synced). The lock is a flock on a
file of its own: the kernel drops it with the process, so a killed agent never leaves a stale one.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lattice_agent.errors import StateError, StateLockedError

SCHEMA_VERSION: Final = 2
_BUSY_MS: Final = 2000
_DAMAGED: Final = "move the file aside and start again (unsent results in it are lost)"
_PRIMARY: Final = 0xFF
"""Of a result code of SQLite; above are details."""
_SCHEMA: Final = """
CREATE TABLE task (
    control_plane   TEXT NOT NULL,
    node_id         TEXT NOT NULL,
    task_id         TEXT NOT NULL,
    phase           TEXT NOT NULL,
    lease_id        TEXT NOT NULL,           -- the newest lease: the one a result goes out under
    interpreter     TEXT NOT NULL,
    timeout_sec     INTEGER NOT NULL,
    output_limit    INTEGER NOT NULL,
    boot_id         TEXT NOT NULL,           -- when the newest lease came, or, once settled, when that was
    boot_seconds    REAL NOT NULL,
    order_no        INTEGER NOT NULL,        -- age: of the lease while waiting, of the result once finished
    result_bytes    INTEGER NOT NULL,
    shrunk          INTEGER NOT NULL,        -- how often the result was cut after a 400
    script          TEXT CHECK (script IS NULL OR phase = 'waiting'),
    result          TEXT,                    -- wire form of the result; NULL before the end. Long texts stand last
    PRIMARY KEY (control_plane, node_id, task_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_by_phase ON task (control_plane, node_id, phase, order_no);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

_USAGE: Final = """
CREATE TABLE usage_document (
    control_plane TEXT NOT NULL, node_id TEXT NOT NULL, name TEXT NOT NULL, document BLOB NOT NULL,
    PRIMARY KEY (control_plane, node_id, name)
) STRICT;
"""

_STEPS: Final = {0: _SCHEMA + _USAGE, 1: _USAGE}
"""By the version that is found, what makes ``SCHEMA_VERSION`` of it."""


class StateDirectory:
    """An exclusively held directory with the open database; close it to let another agent in."""

    def __init__(self, path: Path) -> None:
        """Create the directory (0700) if needed, lock it and open the database. ``is_new``: it held nothing.

        Raises StateLockedError if another process holds it and StateError for everything else: also for a database
        whose pages do not fit together, because a row that is not found might be a task that is started again.
        """
        self.path = path / "state.db"
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"state directory {path}: {error.strerror}") from None
        try:
            self._take_lock()
            self.connection, self.is_new = _open_database(self.path)
        except BaseException:
            os.close(self._lock)
            raise

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateLockedError(f"state directory {self.path.parent} is in use by another lattice-agent") from None
        except OSError as error:
            raise StateError(f"state directory {self.path.parent}: cannot lock: {error.strerror}") from None

    def close(self) -> None:
        """Close the database, then let go of the lock."""
        self.connection.close()
        os.close(self._lock)


def _open_database(path: Path) -> tuple[sqlite3.Connection, bool]:
    with storage_errors(path):
        # Calls come from whichever thread the runner uses, one at a time (state.commit).
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            path.chmod(0o600)
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            version = _bring_schema_up_to_date(connection, path)
            _check(connection)
        except BaseException:
            connection.close()
            raise
        return connection, version == 0


def _check(connection: sqlite3.Connection) -> None:
    """Reads every page once, which takes about 3 ms for each MiB."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"database disk image is malformed: {found}")


def _bring_schema_up_to_date(connection: sqlite3.Connection, path: Path) -> int:
    """Returns the version that was found."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return SCHEMA_VERSION
    if version not in _STEPS:
        raise StateError(
            f"{path} has schema {version}, this agent knows {SCHEMA_VERSION}",
            hint="start the agent version that wrote it, or move the file aside (unsent results in it are lost)",
        )
    connection.executescript(f"BEGIN IMMEDIATE; {_STEPS[version]} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    return int(version)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Map what SQLite and the file system raise to StateError; the message names the file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StateError(f"{path}: {_short(error)}", hint=_DAMAGED if _means_damage(error) else None) from None
    except UnicodeDecodeError:
        # SQLite quotes what it does not understand, and the module cannot decode that.
        raise StateError(f"{path}: the database schema is malformed", hint=_DAMAGED) from None
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None


def _short(error: sqlite3.DatabaseError) -> str:
    """One line without the text of a column, which may be what a script has printed."""
    return " ".join(str(error).partition(" with text ")[0].split())


def _means_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file holds what we would not have written; errors that the module makes itself have no code."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & _PRIMARY in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

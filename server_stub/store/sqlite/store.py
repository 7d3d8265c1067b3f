"""``Store`` on one SQLite file.

Theory of operation. One connection in WAL mode with ``synchronous=FULL``: a commit has reached the disk when it
returns. Calls come from one thread at a time (see ``store.base``), so SQLite never waits for a lock; a second process
is kept out by an exclusive lock on ``<file>.lock``, which the kernel drops when this one dies, however it dies.

Credentials are held in two dictionaries that are rebuilt after the commit of a transaction that changed any, and
replaced whole: a reader in another thread sees the old or the new one.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from server_stub.config import Limits
from server_stub.errors import StoreError, StoreLockedError
from server_stub.store.base import Tables
from server_stub.store.records import Credential
from server_stub.store.sqlite.audit import SqliteAudit
from server_stub.store.sqlite.bookings import SqliteBookings
from server_stub.store.sqlite.ledgers import SqliteLedgers
from server_stub.store.sqlite.metrics import SqliteMetrics
from server_stub.store.sqlite.nodes import SqliteNodes, SqliteOperators, SqliteSwitches
from server_stub.store.sqlite.schema import migrate
from server_stub.store.sqlite.sessions import SqliteSessions
from server_stub.store.sqlite.tasks import SqliteTasks
from server_stub.store.sqlite.usage import SqliteUsage

T = TypeVar("T")
MEMORY: Final = ":memory:"
_DAMAGED: Final = "put a copy of the database in its place, or move it aside and begin with an empty one"
_WAL_KEPT_BYTES: Final = 64 * 2**20
"""The log file is cut back to this after a checkpoint that followed a burst."""


class SqliteStore:
    """``path`` is created when it does not exist (mode 0600, as it holds scripts and outputs)."""

    def __init__(self, path: str, limits: Limits | None = None) -> None:
        """Raises StoreError: also for a database whose pages do not fit together, where the last life was killed."""
        self._lock = None if path == MEMORY else _locked(path)
        self._connection = self._open(path)
        self._nodes = SqliteNodes(self._connection)
        self._operators = SqliteOperators(self._connection)
        limits = limits or Limits()
        self._tables = Tables(
            self._nodes,
            self._operators,
            SqliteTasks(self._connection, limits.ended_targets),
            SqliteUsage(self._connection),
            SqliteLedgers(self._connection),
            SqliteBookings(self._connection),
            SqliteAudit(self._connection, limits.audit_events),
            SqliteSwitches(self._connection),
            SqliteSessions(self._connection),
            SqliteMetrics(self._connection),
        )
        self._node_by_token: dict[bytes, Credential] = {}
        self._operator_by_token: dict[bytes, str] = {}
        try:
            self._load_credentials()
        except sqlite3.Error as error:
            raise _unusable(path, error) from error

    def write(self, work: Callable[[Tables], T]) -> T:
        """One durable transaction; ``StoreError`` when the database fails, and then nothing has changed."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                outcome = work(self._tables)
                self._commit()
            except BaseException:
                self._roll_back()
                raise
        except sqlite3.Error as error:
            raise StoreError(f"database: {error}") from error
        if self._nodes.credentials_changed or self._operators.credentials_changed:
            self._load_credentials()
        return outcome

    def read(self, work: Callable[[Tables], T]) -> T:
        """One consistent view; nothing is kept of what ``work`` might change."""
        try:
            self._connection.execute("BEGIN DEFERRED")
            try:
                return work(self._tables)
            finally:
                self._roll_back()
        except sqlite3.Error as error:
            raise StoreError(f"database: {error}") from error

    def node_of(self, token_sha256: bytes) -> Credential | None:
        """From memory, from any thread."""
        return self._node_by_token.get(token_sha256)

    def operator_of(self, token_sha256: bytes) -> str | None:
        """From memory, from any thread."""
        return self._operator_by_token.get(token_sha256)

    def close(self) -> None:
        """Writes the log back into the file and lets go of the lock."""
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open(self, path: str) -> sqlite3.Connection:
        was_killed = Path(f"{path}-wal").exists()  # it goes with the last connection that is closed
        try:
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
            migrate(connection)
            if was_killed:
                _check(connection)
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: of a schema that SQLite quotes
            raise _unusable(path, error) from error
        return connection

    def _commit(self) -> None:
        self._connection.execute("COMMIT")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # SQLite itself has rolled back after some errors (disk full)
            self._connection.execute("ROLLBACK")
        # A rolled-back change of credentials would only cost a needless reload.

    def _load_credentials(self) -> None:
        self._node_by_token = {credential.token_sha256: credential for credential in self._nodes.credentials()}
        self._operator_by_token = self._operators.credentials()
        self._nodes.credentials_changed = self._operators.credentials_changed = False


def _check(connection: sqlite3.Connection) -> None:
    """Reads every page once, which takes about 3 ms for each MiB."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"database disk image is malformed: {found}")


def _unusable(path: str, error: Exception) -> StoreError:
    """With the way out that fits; errors of damage are all those that are not of the file system."""
    damaged = type(error) in (sqlite3.DatabaseError, UnicodeDecodeError)
    what = "the schema is malformed" if isinstance(error, UnicodeDecodeError) else " ".join(str(error).split())
    return StoreError(f"database {path}: {what}", hint=_DAMAGED if damaged else None)


def _locked(path: str) -> int:
    """A descriptor that holds the exclusive lock beside the database."""
    lock_path = Path(f"{path}.lock")
    try:
        Path(path).touch(mode=0o600, exist_ok=True)
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"database {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreLockedError(f"database {path} is served by another process") from None
    return descriptor

"""Documents of the usage ledger in ``state.db``, each node at each control plane with its own."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from lattice_agent.errors import StateError
from lattice_agent.state.commit import GroupCommit
from lattice_agent.state.db import storage_errors

_LOAD: Final = "SELECT name, document FROM usage_document WHERE control_plane = ? AND node_id = ?"
_KEY: Final = "control_plane = ? AND node_id = ?"


class UsageDocuments:
    """Durable documents by name. Raises StateError."""

    def __init__(self, connection: sqlite3.Connection, commit: GroupCommit, control_plane: str, node_id: str) -> None:
        self._db = connection
        self._commit = commit
        self._key = control_plane, node_id

    async def load(self) -> Mapping[str, bytes]:
        """All of them."""
        return await self._commit.do(self._load)

    async def put(self, documents: Mapping[str, bytes | None]) -> None:
        """Writes all, or none; ``None`` deletes one. When this returns they survive the loss of power."""
        await self._commit.do(lambda: self._put(documents))

    def _load(self) -> dict[str, bytes]:
        return _by_name(self._db.execute(_LOAD, self._key))

    def _put(self, documents: Mapping[str, bytes | None]) -> None:
        for name, document in documents.items():
            if document is None:
                delete = f"DELETE FROM usage_document WHERE {_KEY} AND name = ?"  # noqa: S608
                self._db.execute(delete, (*self._key, name))
            else:
                self._db.execute(
                    "INSERT INTO usage_document (control_plane, node_id, name, document) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (control_plane, node_id, name) DO UPDATE SET document = excluded.document",
                    (*self._key, name, document),
                )


def read_usage_documents(path: Path, control_plane: str, node_id: str) -> dict[str, bytes]:
    """The documents in a ``state.db`` that an agent may be using. Raises StateError when it cannot be looked at."""
    if not path.exists():
        raise StateError(f"{path} does not exist", hint="name the agent's -state-dir")
    with storage_errors(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return _by_name(database.execute(_LOAD, (control_plane, node_id)))


def _by_name(rows: Iterable[tuple[object, bytes]]) -> dict[str, bytes]:
    return {str(name): bytes(document) for name, document in rows}

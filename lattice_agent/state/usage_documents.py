"""Documents of the usage ledger in ``state.db``, each node at each control plane with its own."""

import sqlite3
from collections.abc import Mapping
from typing import Final

from lattice_agent.state.commit import GroupCommit

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
        rows = self._db.execute(f"SELECT name, document FROM usage_document WHERE {_KEY}", self._key)  # noqa: S608
        return {str(name): bytes(document) for name, document in rows}

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

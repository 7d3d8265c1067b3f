"""The store on SQLite: one file per table group, ``store`` puts them together."""

from server_stub.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]

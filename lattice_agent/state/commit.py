"""Group commit: callers that come at the same time share one transaction and one sync to disk.

The first caller becomes the leader: it takes everything that is pending, runs it in one transaction through the
injected runner (a thread in production, a direct call in simulation) and hands each caller its own answer. Whoever
comes meanwhile is pending for the next leader. Each operation has a savepoint: one that fails does not undo its
neighbours; a commit that fails fails them all.

Bound: one pending entry per calling task, and callers are the task slots, the sender and the intake.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import trio

from lattice_agent.errors import StateError
from lattice_agent.state.db import storage_errors

T = TypeVar("T")


class RunSync(Protocol):
    """Calls a synchronous function, in a thread or directly."""

    def __call__(self, fn: Callable[..., T], *args: Any) -> Awaitable[T]: ...


async def call_directly(fn: Callable[..., T], *args: Any) -> T:
    """The runner for simulations under a mock clock: a real thread would let virtual minutes pass."""
    await trio.lowlevel.checkpoint()
    return fn(*args)


@dataclass(eq=False)
class _Entry(Generic[T]):
    operation: Callable[[], T]
    done: bool = False
    value: T | None = None
    error: Exception | None = None

    def answer(self) -> T:
        if self.error is not None:
            raise self.error
        assert self.done, "an entry is answered only after its leader has carried it out"
        return self.value  # type: ignore[return-value]  # set together with done


class GroupCommit:
    """``await do(fn)`` returns once the effect of ``fn`` is on disk, or raises StateError."""

    def __init__(self, connection: sqlite3.Connection, path: Path, run_sync: RunSync) -> None:
        self._connection = connection
        self._path = path
        self._run_sync = run_sync
        self._pending: list[_Entry[Any]] = []
        self._leading = trio.Lock()

    async def do(self, operation: Callable[[], T]) -> T:
        """Run ``operation`` inside a transaction; shielded, because a caller must learn whether it took effect."""
        entry: _Entry[T] = _Entry(operation)
        self._pending.append(entry)
        with trio.CancelScope(shield=True):
            async with self._leading:
                if not entry.done:
                    batch, self._pending = self._pending, []
                    await self._lead(batch)
        return entry.answer()

    async def _lead(self, batch: list[_Entry[Any]]) -> None:
        try:
            await self._run_sync(self._carry_out, batch)
        except Exception as error:  # noqa: BLE001  # no thread to be had, say: all who wait must hear of it
            for entry in batch:
                entry.error = StateError(f"{self._path}: the transaction could not be run: {error}")
                entry.done = True

    def _carry_out(self, batch: list[_Entry[Any]]) -> None:
        try:
            with storage_errors(self._path):
                self._transaction(batch)
        except StateError as error:
            for entry in batch:
                entry.error = entry.error or error
        for entry in batch:
            entry.done = True

    def _transaction(self, batch: list[_Entry[Any]]) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")  # an earlier one could not be rolled back when it failed
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for entry in batch:
                self._one(entry)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _one(self, entry: _Entry[Any]) -> None:
        self._connection.execute("SAVEPOINT entry")
        try:
            entry.value = entry.operation()
        except Exception as error:  # it is handed to the caller who brought the operation
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError):
                raise  # the disk or the file: it concerns the whole transaction
            entry.error = error
            self._connection.execute("ROLLBACK TO entry")
        self._connection.execute("RELEASE entry")

"""The journal as the lease loop uses it: every step is one durable transaction, decided by ``tasks.decide``.

Read-modify-write happens inside the transaction, because the intake may adopt a new lease at any moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from lattice_agent.state.clock import BootTime
from lattice_agent.state.commit import GroupCommit
from lattice_agent.state.journal import ACCEPTED_TEXT_BOUND, DEAD_TEXT_BOUND, Journal, Phase, TaskRow
from lattice_agent.tasks.decide import (
    Answer,
    Event,
    Lease,
    Next,
    finish,
    give_up,
    lease_expired,
    settle,
    start,
    take_lease,
)

TEXT_DROPPED: Final = "lost"
"""Stands for a result whose text was dropped to keep the journal within its bounds."""
ALL: Final = -1
TRIM_EVERY_BYTES: Final = 8 * 1024 * 1024
"""Accepted texts are trimmed to their bound whenever so many bytes were added."""


@dataclass(frozen=True)
class Settlement:
    """What the server answered to one result, and under which lease it was sent."""

    task_id: str
    sent_lease: str
    answer: Answer


class Spool:
    """Durable steps; each returns only when its effect is on disk, or raises StateError."""

    def __init__(self, journal: Journal, commit: GroupCommit) -> None:
        self._journal = journal
        self._commit = commit
        self._accepted_bytes = 0

    async def take(self, leases: Sequence[Lease]) -> list[tuple[TaskRow, Next]]:
        """Write what a poll handed out; all of it in one transaction."""

        def step() -> list[tuple[TaskRow, Next]]:
            taken = []
            for lease in leases:
                row, then = take_lease(self._journal.get(lease.task_id), lease)
                taken.append((self._journal.put(row), then))
            return taken

        return await self._commit.do(step)

    async def get(self, task_id: str) -> TaskRow | None:
        """The row as it is now."""
        return await self._commit.do(lambda: self._journal.get(task_id))

    async def get_all(self, task_ids: Sequence[str]) -> list[TaskRow]:
        """The rows as they are now, in that order; what is not there is left out."""

        def step() -> list[TaskRow]:
            rows = (self._journal.get(task_id) for task_id in task_ids)
            return [row for row in rows if row is not None]

        return await self._commit.do(step)

    async def waiting(self, task_id: str, now: BootTime) -> TaskRow | None:
        """The row of a task that may start now, or None. One whose lease is too old is given up in the same step."""

        def step() -> TaskRow | None:
            row = self._journal.get(task_id)
            if row is None or row.phase is not Phase.WAITING:
                return None
            return self._journal.put(give_up(row, now)) if lease_expired(row, now) else row

        return await self._commit.do(step)

    async def start(self, task_id: str) -> TaskRow:
        """Mark as started; the caller may start the script when this returned."""
        return await self._commit.do(lambda: self._journal.put(start(self._known(task_id))))

    async def finish(self, task_id: str, event: Event, result: str) -> None:
        """Store a result; it survives everything from here."""
        await self._commit.do(lambda: self._journal.put(finish(self._known(task_id), event, result)))

    async def settle(self, settlements: Sequence[Settlement], now: BootTime) -> None:
        """Record the server's answers, all in one transaction."""

        def step() -> None:
            for settlement in settlements:
                self._settle(settlement, now)

        await self._commit.do(step)

    def _settle(self, settlement: Settlement, now: BootTime) -> None:
        row = settle(self._known(settlement.task_id), settlement.sent_lease, settlement.answer, now)
        if row is None:
            return
        self._journal.put(row)
        if row.phase is not Phase.ACCEPTED:
            self._journal.drop_text_beyond((Phase.REFUSED, Phase.REJECTED), DEAD_TEXT_BOUND, TEXT_DROPPED)
            return
        self._accepted_bytes += len(row.result or "")
        if self._accepted_bytes > TRIM_EVERY_BYTES:
            self._trim_accepted()

    async def replace_result(self, task_id: str, sent_lease: str, result: str) -> None:
        """Store the smaller form of a result that the server did not take under ``sent_lease``."""

        def step() -> None:
            row = self._known(task_id)
            if row.phase is Phase.FINISHED and row.lease_id == sent_lease:
                self._journal.put(replace(row, result=result, shrunk=row.shrunk + 1))

        await self._commit.do(step)

    async def to_send(self, limit: int) -> list[tuple[str, int]]:
        """(task id, bytes) of results that wait for an answer, oldest first."""
        return await self._commit.do(lambda: self._journal.finished_heads(limit))

    async def unsent(self) -> tuple[int, int]:
        """(number, bytes) of results that wait to be sent."""
        return await self._commit.do(self._journal.unsent)

    async def found_at_start(self) -> tuple[list[TaskRow], list[TaskRow]]:
        """What an earlier process left: (waiting, running), oldest first."""
        return await self._commit.do(
            lambda: (
                self._journal.in_phase(Phase.WAITING, limit=ALL),
                self._journal.in_phase(Phase.RUNNING, limit=ALL),
            )
        )

    async def tidy(self, now: BootTime) -> int:
        """Forget rows that are old enough and keep accepted texts within their bound; returns the forgotten rows."""

        def step() -> int:
            self._trim_accepted()
            return self._journal.prune(now)

        return await self._commit.do(step)

    def _trim_accepted(self) -> None:
        self._journal.drop_text_beyond((Phase.ACCEPTED,), ACCEPTED_TEXT_BOUND, TEXT_DROPPED)
        self._accepted_bytes = 0

    def _known(self, task_id: str) -> TaskRow:
        row = self._journal.get(task_id)
        if row is None:
            raise LookupError(f"task {task_id} is not in the journal")
        return row

"""The journal as the lease loop uses it: every step is one durable transaction, decided by ``tasks.decide``.

Read-modify-write happens inside the transaction, because the intake may adopt a new lease at any moment.
"""

from collections.abc import Sequence
from typing import Final

from lattice_agent.state.clock import BootTime
from lattice_agent.state.commit import GroupCommit
from lattice_agent.state.journal import ACCEPTED_TEXT_BOUND, DEAD_TEXT_BOUND, Journal, Phase, TaskRow
from lattice_agent.tasks.decide import Answer, Event, Lease, Next, finish, give_up, settle, start, take_lease

LOST_MARK: Final = "lost"
"""Stands for a result whose text was dropped."""
EVERYTHING: Final = 1_000_000
"""More rows than the journal can hold in a waiting or running phase."""


class Spool:
    """Durable steps; each returns only when its effect is on disk, or raises StateError."""

    def __init__(self, journal: Journal, commit: GroupCommit) -> None:
        self._journal = journal
        self._commit = commit

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

    async def start(self, task_id: str) -> TaskRow:
        """Mark as started; the caller may start the script when this returned."""
        return await self._commit.do(lambda: self._journal.put(start(self._known(task_id))))

    async def give_up(self, task_id: str, now: BootTime) -> None:
        """Mark a lease that died before the start."""
        await self._commit.do(lambda: self._journal.put(give_up(self._known(task_id), now)))

    async def finish(self, task_id: str, event: Event, result: str) -> None:
        """Store a result; it survives everything from here."""
        await self._commit.do(lambda: self._journal.put(finish(self._known(task_id), event, result)))

    async def settle(self, task_id: str, sent_lease: str, answer: Answer, now: BootTime) -> TaskRow | None:
        """Record the server's answer; returns the row, or None if the answer no longer matters."""

        def step() -> TaskRow | None:
            row = settle(self._known(task_id), sent_lease, answer, now)
            if row is None:
                return None
            self._journal.put(row)
            if row.phase in (Phase.REFUSED, Phase.REJECTED):
                self._journal.drop_text_beyond((Phase.REFUSED, Phase.REJECTED), DEAD_TEXT_BOUND, LOST_MARK)
            return row

        return await self._commit.do(step)

    async def replace_result(self, task_id: str, sent_lease: str, result: str) -> None:
        """Store the smaller form of a result that the server did not take under ``sent_lease``."""

        def step() -> None:
            row = self._known(task_id)
            if row.phase is Phase.FINISHED and row.lease_id == sent_lease:
                self._journal.put(TaskRow(**{**row.__dict__, "result": result, "shrunk": row.shrunk + 1}))

        await self._commit.do(step)

    async def to_send(self, limit: int) -> list[TaskRow]:
        """Results that wait for an answer, oldest first."""
        return await self._commit.do(lambda: self._journal.in_phase(Phase.FINISHED, limit=limit))

    async def unsent(self) -> tuple[int, int]:
        """(number, bytes) of results that wait to be sent."""
        return await self._commit.do(self._journal.unsent)

    async def found_at_start(self) -> tuple[list[TaskRow], list[TaskRow]]:
        """What an earlier process left: (waiting, running), oldest first."""
        return await self._commit.do(
            lambda: (
                self._journal.in_phase(Phase.WAITING, limit=EVERYTHING),
                self._journal.in_phase(Phase.RUNNING, limit=EVERYTHING),
            )
        )

    async def tidy(self, now: BootTime) -> int:
        """Forget rows that are old enough and keep accepted texts within their bound; returns the forgotten rows."""

        def step() -> int:
            self._journal.drop_text_beyond((Phase.ACCEPTED,), ACCEPTED_TEXT_BOUND, LOST_MARK)
            return self._journal.prune(now)

        return await self._commit.do(step)

    def _known(self, task_id: str) -> TaskRow:
        row = self._journal.get(task_id)
        if row is None:
            raise LookupError(f"task {task_id} is not in the journal")
        return row

"""One run in a cell, trio side: gives the cell its task and keeps the clock.

Each wait has a bound, which leads one step further down:

    running    until empty, the wall clock, or cancelled   -> TerminateCell
    grace      until empty, or ``grace_s``                 -> KillCell
    killing    until empty, or KILL_S                      -> the spawner is replaced, the outcome is "uncertain"
"""

import trio

from lattice_agent.errors import SandboxError, SpawnerGoneError
from lattice_agent.exec.cell_ends import use_request
from lattice_agent.exec.cell_pool import CellPool
from lattice_agent.exec.cell_task import GONE_S, KILL_S, CellTask
from lattice_agent.exec.outcome import NO_GRACE, Cause, Grace, Outcome, failed_to_start
from lattice_agent.exec.requests import KillCell, TerminateCell
from lattice_agent.exec.spawner_link import SpawnerLink


class CellRun:
    """One run: ``conduct`` gives its outcome, ``close`` has to follow."""

    def __init__(self, task: CellTask, pool: CellPool, link: SpawnerLink) -> None:
        self._task = task
        self._number = task.cell.number
        self._pool = pool
        self._link = link
        self._end = pool.end_of(task.cell)
        self._grace = NO_GRACE

    async def conduct(self) -> Outcome:
        """Run the task to its outcome. Cancelling it ends the script within bounds and gives an outcome too."""
        plan = self._task.plan
        started = trio.current_time()
        try:
            self._task.dispatch()
        except (SandboxError, OSError) as error:
            with trio.CancelScope(shield=True):
                await self._kill()
            return failed_to_start(plan.level, str(error))
        self._task.attend()
        await self._put_limits_in_force()
        cause = await self._until_end()
        wall_s = trio.current_time() - started
        if self._task.needs_word(wall_s):
            with trio.CancelScope(shield=True, deadline=trio.current_time() + GONE_S):
                await self._end.gone.wait()
        return self._task.outcome(
            wall_s,
            cause,
            memory_peak=self._end.memory_peak,
            memory_hit=self._end.memory_hit,
            killed=self._end.killed,
            grace=self._grace,
            spawner_died=self._end.spawner_died,
        )

    def close(self) -> None:
        """Close the ends; a cell that is not empty yet is killed."""
        if not self._task.empty:
            self._link.post(KillCell(self._number))
        self._pool.over(self._task.cell)
        self._task.close()

    async def _put_limits_in_force(self) -> None:
        """After the dispatch, to wake the launcher first, and before anything is waited for: nothing holds the agent up
        between the two but the scheduler, and if it dies so does the cell. Without a spawner to tell the cell is ended.
        """
        plan = self._task.plan
        successor = self._pool.successor(plan.profile) if plan.profile is not None else 0
        with trio.CancelScope(shield=True):
            try:
                await self._link.send(use_request(self._number, plan.limits, successor), [])
            except SpawnerGoneError:
                await self._kill()

    async def _until_end(self) -> Cause | None:
        """Until the cell is empty; why we ended it, if it did not end by itself."""
        try:
            await self._wait(self._task.plan.limits.wall_s)
            cause = Cause.TIMEOUT
        except trio.Cancelled:
            cause = Cause.CANCELLED  # not raised again: what it leads to is an outcome, which the caller must get
        if self._task.empty:
            return None
        with trio.CancelScope(shield=True):
            asked_at = trio.current_time()
            self._link.post(TerminateCell(self._number))
            await self._wait(self._task.plan.limits.grace_s)
            expired = not self._task.empty
            await self._kill()
            self._grace = Grace(trio.current_time() - asked_at, expired)
        return cause

    async def _kill(self) -> None:
        if not self._task.empty:
            self._link.post(KillCell(self._number))
            await self._wait(KILL_S)
        if not self._task.empty:
            self._link.replace()

    async def _wait(self, seconds: float) -> None:
        """Take in output until the cell is empty, for so many seconds at most."""
        with trio.move_on_after(seconds):
            while not self._task.empty:
                await trio.lowlevel.wait_readable(self._task.events)
                self._task.turn()

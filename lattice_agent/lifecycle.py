"""In which order the services start and stop.

The tree of tasks, outermost first; it is torn down from the inside out, each ring with a deadline of its own:

    connection, state.db, audit, spawner       held by ``app``
    +- control stream, heartbeat, config,      until the very end: the node stays online while it drains, and
    |  addresses, usage, result sender,        can be told to cancel; the stream closes with a proper last frame
    |  journal tidying
    |  +- task runs                            drain: may finish for ``drain_s``, then end as interrupted
    |  |  +- task intake                       ends first, at the signal

After the runs have ended the sender gets DELIVER_S to bring out what it can; the rest is in the journal.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from lattice_agent.errors import StateError
from lattice_agent.supervisor import Service, supervise
from lattice_agent.tasks.intake import Intake
from lattice_agent.tasks.run import Runs
from lattice_agent.tasks.sender import Sender

log = logging.getLogger(__name__)

DELIVER_S: Final = 5.0
"""For results at shutdown; what is not delivered stays in the journal."""


@dataclass(frozen=True)
class Agent:
    """The composed services; ``live`` runs them until the stop comes."""

    reports: tuple[Service, ...]
    sender: Sender
    runs: Runs
    intake: Intake
    drain_s: float

    async def live(self, stop: Callable[[], Awaitable[object]]) -> None:
        """Run everything; when ``stop()`` returns, wind down from the inside out; when it returns again, hurry.

        Raises StateError if results could not be stored before the end.
        """
        stopping = trio.Event()
        hurry = trio.CancelScope()

        async def watch() -> None:
            await stop()
            stopping.set()
            await stop()
            log.warning("stopping now")
            hurry.cancel()

        async with trio.open_nursery() as root:
            root.start_soon(watch)
            with hurry:
                await self._serve(stopping)
            root.cancel_scope.cancel()
        if self.runs.unsaved:
            raise StateError(
                f"the results of {', '.join(self.runs.unsaved)} could not be stored",
                hint="they are reported as interrupted at the next start; free the disk before it",
            )

    async def _serve(self, stopping: trio.Event) -> None:
        async with trio.open_nursery() as outer:
            for service in (*self.reports, self.sender):
                await outer.start(partial(supervise, service))
            await self._recover(stopping)
            async with trio.open_nursery() as inner:
                intake_scope = trio.CancelScope()
                runs_ended = trio.Event()
                inner.start_soon(self._run_tasks, runs_ended)
                inner.start_soon(self._take_tasks, intake_scope)
                log.info("ready")
                await stopping.wait()
                log.info("stopping: no new tasks, running ones have %.0f s", self.drain_s)
                intake_scope.cancel()
                await self._drain(runs_ended)
            with trio.move_on_after(DELIVER_S):
                await self.sender.caught_up()
            outer.cancel_scope.cancel()

    async def _recover(self, stopping: trio.Event) -> None:
        """Bring in what an earlier process left; a stop need not wait for a disk that refuses it."""
        async with trio.open_nursery() as nursery:

            async def give_way() -> None:
                await stopping.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(give_way)
            await self.runs.recover()
            nursery.cancel_scope.cancel()

    async def _run_tasks(self, ended: trio.Event) -> None:
        await supervise(self.runs)
        ended.set()

    async def _take_tasks(self, scope: trio.CancelScope) -> None:
        with scope:
            await supervise(self.intake)

    async def _drain(self, ended: trio.Event) -> None:
        self.runs.drain()
        with trio.move_on_after(self.drain_s):
            await ended.wait()
        if not ended.is_set():
            self.runs.interrupt()
        await ended.wait()

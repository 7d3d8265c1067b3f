"""Keeps the journal small: forgets what is old enough, now and then."""

import logging
from collections.abc import Callable
from typing import Final

import trio

from lattice_agent.complaints import Complaints
from lattice_agent.errors import StateError
from lattice_agent.state.clock import BootTime
from lattice_agent.tasks.spool import Spool

log = logging.getLogger(__name__)

PERIOD_S: Final = 600.0


class Tidying:
    """The service that prunes the journal."""

    name = "journal tidying"

    def __init__(self, spool: Spool, now: Callable[[], BootTime]) -> None:
        self._spool = spool
        self._now = now
        self._complaints = Complaints(log)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tidy at start and every ten minutes."""
        task_status.started()
        while True:
            try:
                forgotten = await self._spool.tidy(self._now())
                log.debug("journal: %d old tasks forgotten", forgotten)
                self._complaints.over(self.name, "journal tidied again")
            except StateError as error:
                self._complaints.say(self.name, f"journal not tidied: {error}; {error.hint()}")
            await trio.sleep(PERIOD_S)

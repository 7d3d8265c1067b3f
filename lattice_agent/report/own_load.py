"""How far behind the agent is: what its detailed metrics say of itself. Measured only while somebody wants them."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from lattice_agent.errors import StateError
from lattice_agent.facts.detail.own_cost import OwnLoad
from lattice_agent.link.features import Features
from lattice_agent.wire.ext import METRICS_DETAIL

TICK_S: Final = 1.0
"""The loop is asked to wake this often; how much later it does is the lag."""
UNANNOUNCED_S: Final = 5.0
COUNT_EVERY_TICKS: Final = 10


class OwnLoadService:
    """The service that measures."""

    name = "own load"

    def __init__(
        self,
        features: Features,
        *,
        tasks_running: Callable[[], int],
        results_waiting: Callable[[], Awaitable[tuple[int, int]]],
    ) -> None:
        self._features = features
        self._tasks_running = tasks_running
        self._results_waiting = results_waiting
        self._worst_lag_s: float | None = None
        self._waiting: int | None = None

    def take(self) -> OwnLoad:
        """The load now, with the greatest lag since this was asked last. For one consumer, in the loop's thread."""
        lag_s, self._worst_lag_s = self._worst_lag_s, None
        return OwnLoad(lag_s, self._tasks_running(), self._waiting)

    async def _count_waiting(self) -> int | None:
        """None while the journal cannot be read, which others complain about."""
        try:
            return (await self._results_waiting())[0]
        except StateError:
            return None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Measure for ever."""
        task_status.started()
        ticks = 0
        while True:
            if not self._features.has(METRICS_DETAIL):
                await trio.sleep(UNANNOUNCED_S)
                continue
            if ticks % COUNT_EVERY_TICKS == 0:
                self._waiting = await self._count_waiting()
            ticks += 1
            due = trio.current_time() + TICK_S
            await trio.sleep_until(due)
            self._worst_lag_s = max(self._worst_lag_s or 0.0, trio.current_time() - due)

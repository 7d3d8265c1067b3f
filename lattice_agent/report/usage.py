"""Reports proxy usage: one collection, one report, in order, never an older one after a newer (protocol 5.5).

A report whose fate is unknown (no answer) is not repeated: the next one carries newer totals of the same counters,
and the server bills the difference to what it last stored. A 400 is said once until something changes.
"""

import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import trio

from lattice_agent.link.line import Line
from lattice_agent.link.patience import Patience
from lattice_agent.wire.base import encode
from lattice_agent.wire.usage import UsageReport, UsageSnapshot

log = logging.getLogger(__name__)

RETRY_BASE_S, RETRY_CAP_S = 2.0, 60.0
JITTER: Final = 0.05


class Collector(Protocol):
    """Where snapshots come from (``usage.collector``)."""

    async def collect(self, now_wall: datetime) -> UsageSnapshot: ...

    async def aclose(self) -> None: ...


class UsageService:
    """The service that reports."""

    name = "proxy usage"

    def __init__(
        self,
        line: Line,
        collector: Collector,
        *,
        node_id: str,
        interval_s: float,
        wall_now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self._line = line
        self._collector = collector
        self._node_id = node_id
        self._interval_s = interval_s
        self._wall_now = wall_now
        self._rng = rng
        self._problem = ""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Collect and report for ever."""
        patience = Patience(RETRY_BASE_S, RETRY_CAP_S)
        task_status.started()
        while True:
            snapshot = await self._collector.collect(self._wall_now())
            self._note_source(snapshot)
            report = UsageReport(node_id=self._node_id, snapshot=snapshot)
            reply = await self._line.post("/api/agent/proxy-usage", encode(report))
            delay = patience.after(reply.verdict, self._rng)
            await trio.sleep(max(delay, self._interval_s * (1 + JITTER * (2 * self._rng.random() - 1))))

    def _note_source(self, snapshot: UsageSnapshot) -> None:
        if snapshot.collector_error != self._problem:
            self._problem = snapshot.collector_error
            if self._problem:
                log.warning("proxy usage cannot be collected: %s", self._problem)
            else:
                log.info("proxy usage is collected again")

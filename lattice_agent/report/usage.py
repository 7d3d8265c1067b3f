"""Reports proxy usage: one collection, one report, in order, never an older one after a newer (protocol 5.5).

A report whose fate is unknown (no answer, 5xx, 401, 429) is sent again, the same bytes, before a newer one is made:
if the core restarts meanwhile, the newer one could not bill what the lost one held. Only then comes the next reading.
"""

import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import trio

from lattice_agent.link.line import Line
from lattice_agent.link.patience import Patience, spread
from lattice_agent.link.verdict import Kind
from lattice_agent.wire.base import encode
from lattice_agent.wire.usage import UsageReport, UsageSnapshot

log = logging.getLogger(__name__)

RETRY_BASE_S, RETRY_CAP_S = 2.0, 60.0
JITTER: Final = 0.05


class Collector(Protocol):
    """Where snapshots come from (``usage.collector``)."""

    async def collect(self, now_wall: datetime) -> UsageSnapshot: ...


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
            await self._deliver(encode(UsageReport(node_id=self._node_id, snapshot=snapshot)), patience)
            await trio.sleep(spread(self._interval_s, JITTER, self._rng))

    async def _deliver(self, body: bytes, patience: Patience) -> None:
        """Send until the server has said what becomes of it."""
        while True:
            reply = await self._line.post("/api/agent/proxy-usage", body)
            delay = patience.after(reply.verdict, self._rng)
            if reply.verdict.kind in (Kind.OK, Kind.REFUSED):
                return
            await trio.sleep(delay)

    def _note_source(self, snapshot: UsageSnapshot) -> None:
        if snapshot.collector_error != self._problem:
            self._problem = snapshot.collector_error
            if self._problem:
                log.warning("proxy usage cannot be collected: %s", self._problem)
            else:
                log.info("proxy usage is collected again")

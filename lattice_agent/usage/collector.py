"""Joins a source with what is remembered of it: every call gives a snapshot that can be sent as it is."""

import logging
from datetime import datetime
from typing import Final

import trio

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.memory import UsageMemory, advance
from lattice_agent.usage.normalise import normalise
from lattice_agent.usage.snapshot import error_snapshot, ok_snapshot
from lattice_agent.usage.source import UsageSource
from lattice_agent.wire.usage import UsageSnapshot

logger = logging.getLogger(__name__)

NAMED_LIMIT: Final = 1024
"""Ids remembered as logged; beyond it further illegal ids are left out silently, so that nothing grows."""


class UsageCollector:
    """One source of one node.

    A snapshot must be sent once and not again after a later one: the server bills late snapshots (protocol
    reference 5.5). Health-only snapshots come out for every kind of failure, so ``collect`` raises nothing.
    """

    def __init__(self, source: UsageSource, node_id: str) -> None:
        self._source = source
        self._node_id = node_id
        self._memory = UsageMemory()
        self._named: set[str] = set()

    async def collect(self, now_wall: datetime) -> UsageSnapshot:
        """Reads the source, within its deadline. ``now_wall`` (aware) is the stamp of the report."""
        try:
            counters = normalise(await self._source.read())
            self._name_left_out(counters.left_out)
            memory = advance(self._memory, counters, trio.current_time())
            snapshot = ok_snapshot(
                memory,
                node_id=self._node_id,
                collector_source=self._source.collector_source,
                at=counters.at or now_wall,
                checked_at=now_wall,
            )
        except UsageSourceError as error:
            return error_snapshot(
                str(error), node_id=self._node_id, collector_source=self._source.collector_source, checked_at=now_wall
            )
        self._memory = memory
        return snapshot

    async def aclose(self) -> None:
        """Closes the source."""
        await self._source.aclose()

    def _name_left_out(self, ids: tuple[str, ...]) -> None:
        new = [user for user in ids if user not in self._named][: NAMED_LIMIT - len(self._named)]
        self._named.update(new)
        for user in new:
            logger.warning(
                "%s: user id %.64r is not reported: the control plane accepts A-Z a-z 0-9 _ . : - only",
                self._source,
                user,
            )

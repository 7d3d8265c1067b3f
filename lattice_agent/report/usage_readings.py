"""Reads usage sources in their own rhythm and enters what they say; how each fares is known at any time."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import trio

from lattice_agent.errors import StateError, UsageSourceError
from lattice_agent.link.patience import spread
from lattice_agent.usage.books import UsageBooks
from lattice_agent.usage.ledger import Moment
from lattice_agent.usage.normalise import NAMED_LIMIT, normalise
from lattice_agent.usage.source import UsageSource

log = logging.getLogger(__name__)

JITTER: Final = 0.05
_NOT_READ_YET: Final = "not read yet"


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source fares. ``problem`` "" is well; ``read_at`` (aware) is when it was read well last."""

    problem: str = _NOT_READ_YET
    read_at: datetime | None = None


class UsageReadings:
    """One task for each source; a source that is slow or broken does not hold up the others."""

    def __init__(
        self,
        sources: Sequence[UsageSource],
        books: UsageBooks,
        *,
        interval_s: float,
        names: Mapping[str, str],
        moment: Callable[[], Moment],
        wall_now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self._sources = {identity(source): source for source in sources}
        self._books = books
        self._interval_s = interval_s
        self._names = names
        self._moment = moment
        self._wall_now = wall_now
        self._rng = rng
        self._health = {name: SourceHealth() for name in self._sources}
        self._named: set[str] = set()
        self._first_round = trio.Event()

    @property
    def health(self) -> Mapping[str, SourceHealth]:
        """By the identity of each source."""
        return self._health

    def collector_source(self) -> str:
        """The name on the wire: the source's own, or ``multi``."""
        kinds = [source.collector_source for source in self._sources.values()]
        return kinds[0] if len(kinds) == 1 else "multi"

    async def wait_first(self) -> None:
        """Until every source was read once, or failed to be."""
        await self._first_round.wait()

    async def run(self) -> None:
        """Read for ever."""
        async with trio.open_nursery() as nursery:
            for name, source in self._sources.items():
                nursery.start_soon(self._read_for_ever, name, source)

    async def _read_for_ever(self, name: str, source: UsageSource) -> None:
        while True:
            await self._read_once(name, source)
            if all(health.problem != _NOT_READ_YET for health in self._health.values()):
                self._first_round.set()
            await trio.sleep(spread(self._interval_s, JITTER, self._rng))

    async def _read_once(self, name: str, source: UsageSource) -> None:
        problem, read_at = "", self._health[name].read_at
        try:
            began = self._moment()
            counters = normalise(await source.read(), self._names)
            await self._books.take(name, counters, began, self._moment())
            self._name_left_out(name, counters.left_out)
            read_at = self._wall_now()
        except (UsageSourceError, StateError) as error:
            problem = f"{error}; {error.hint()}"
        self._note(name, SourceHealth(problem, read_at))

    def _note(self, name: str, health: SourceHealth) -> None:
        before = self._health[name].problem
        self._health[name] = health
        if health.problem and health.problem != before:
            log.warning("proxy usage cannot be collected: %s", health.problem)
        elif before not in ("", _NOT_READ_YET) and not health.problem:
            log.info("proxy usage is collected again from %s", name)

    def _name_left_out(self, name: str, ids: tuple[str, ...]) -> None:
        new = [user for user in ids if user not in self._named][: NAMED_LIMIT - len(self._named)]
        self._named.update(new)
        for user in new:
            log.warning(
                "%s: user id %.64r is not reported: the control plane accepts A-Z a-z 0-9 _ . : - only; "
                "[usage.ids] can give it a legal name",
                name,
                user,
            )


def identity(source: UsageSource) -> str:
    """What the books of a source are kept under: its kind and its place, without secrets."""
    return str(source)

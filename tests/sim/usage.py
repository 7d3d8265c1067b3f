"""Proxy cores of a node, and what may be missing of what they have counted.

The declared bounds (docs/usage.md) as they are met here: what was moved before a core was first read is nobody's; a
core that dies takes along what no reading has shown that is on disk. Everything else is to be billed, once.
"""

from collections import Counter
from pathlib import Path

import trio
from pydantic import TypeAdapter

from lattice_agent.state.usage_documents import read_usage_documents
from lattice_agent.usage.ledger import SourceBook
from tests.sim.scenario import NodePlan, Traffic
from tests.sim.trace import Trace
from tests.unit.report.usage_world import CoreSource
from tests.unit.usage.world import Core

USERS = ("ann", "bob")
CORES = 2
YOUNG_S = 4.0
"""Two runs of a core that are both younger cannot be told apart by whole seconds: one that is does not die here."""
_BOOK = TypeAdapter(SourceBook)


class Cores:
    """Of one node, through all lives of its agent."""

    def __init__(self, node: str, plan: NodePlan, place: Path, url: str, trace: Trace) -> None:
        self._node = node
        self._plan = plan
        self._state = place / "state.db"
        self._url = url
        self._trace = trace
        self.cores = [Core() for _ in range(CORES)]
        self.missing: Counter[str] = Counter()
        """What the bounds allow to be missing."""
        self.is_down = False
        """The machine is, and all of them with it."""
        self._before: list[SourceBook | None] = [None] * CORES
        """The book of each as it was when the core began its present run."""

    def sources(self) -> list[CoreSource]:
        """For a life of the agent."""
        return [CoreSource(core, f"core-{number}") for number, core in enumerate(self.cores)]

    @property
    def truth(self) -> Counter[str]:
        """Everything that was moved."""
        return sum((core.truth for core in self.cores), Counter())

    async def work(self) -> None:
        """Carries out what the scenario says of them."""
        for event in self._plan.traffic:
            await trio.sleep_until(event.at_s)
            self._act(event)

    def _act(self, event: Traffic) -> None:
        core = self.cores[event.core]
        if self.is_down:
            return
        if event.user:
            if self._book(event.core) is None:
                self.missing[event.user] += event.count
            core.move(event.user, event.count)
        elif trio.current_time() - core.started_s > YOUNG_S:
            self._trace.note(self._node, f"core-{event.core} starts anew")
            self._die(event.core)

    def machine_down(self) -> None:
        """It takes all of them along."""
        self.is_down = True

    def machine_up(self) -> None:
        """They begin anew."""
        self.is_down = False
        for number in range(CORES):
            self._die(number)

    def _die(self, number: int) -> None:
        core, book = self.cores[number], self._book(number)
        if book is not None:
            read = {} if book == self._before[number] else book.raw  # or nothing of this run was read
            for user, count in core.counters.items():
                self.missing[user] += max(0, count - read.get(user, 0))
        self._before[number] = book
        core.restart(trio.current_time())

    def _book(self, number: int) -> SourceBook | None:
        """As it is on disk; None before the core was read first."""
        if not self._state.exists():
            return None
        document = read_usage_documents(self._state, self._url, self._node).get(f"source:core-{number}")
        return None if document is None else _BOOK.validate_json(document)

    def check(self, billed: Counter[str]) -> None:
        """Never more than the truth."""
        for user in USERS:
            if billed[user] > self.truth[user]:
                self._trace.violated(
                    "usage", f"{self._node}: {user} is billed {billed[user]} of {self.truth[user]} bytes"
                )

    def is_billed(self, billed: Counter[str]) -> bool:
        """Whether no more is missing than may be."""
        return all(billed[user] >= self.truth[user] - self.missing[user] for user in USERS)

    def check_end(self, billed: Counter[str]) -> None:
        """When there was time to report everything."""
        self.check(billed)
        if not self.is_billed(billed):
            told = f"billed {dict(billed)} of {dict(self.truth)}, of which {dict(self.missing)} may be missing"
            self._trace.violated("usage", f"{self._node}: {told}")

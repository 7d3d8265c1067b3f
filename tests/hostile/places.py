"""Where an attack is let loose: every level, under an agent of every kind, with an observer before and after it."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.hostile.cell_rig import Agent, Seen, eventually
from tests.hostile.inventory import Inventory, memory_kib, settled_inventory, take_inventory
from tests.hostile.table import LEVELS, note
from tests.hostile.world import AGENTS, World

FRESH_S = 120
"""An agent that is older gets a new world: none may be older than ``world.WORLD_S``."""
GROWTH_KIB = 4096
"""Of agent or spawner, for one attack. What thousands of them lead to is in ``test_nothing_left``."""
PLACES = [(who, level) for level in LEVELS for who in AGENTS]


class Agents:
    """One of each kind, made when it is wanted, and made anew when it has been spoiled. ``options``: of ``World``."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._living: dict[str, tuple[float, Agent, ExitStack]] = {}

    def get(self, who: str) -> Agent:
        born, agent, _ = self._living.get(who, (0.0, None, None))
        if agent is not None and time.monotonic() - born < FRESH_S:
            return agent
        self.spoil(who)
        with ExitStack() as undo:
            agent = self.make(who, undo)
            self._living[who] = (time.monotonic(), agent, undo.pop_all())
        return agent

    def make(self, who: str, undo: ExitStack) -> Agent:
        world = undo.enter_context(World(**self._options))
        return undo.enter_context(Agent(world, AGENTS[who]))

    def spoil(self, who: str) -> None:
        """The world of this one is not to be used again."""
        if who in self._living:
            self._living.pop(who)[2].close()

    def close(self) -> None:
        for who in list(self._living):
            self.spoil(who)


@dataclass
class Place:
    """A level under an agent of a kind. One for each attack: ``run`` it, then say what was seen (``verdict``)."""

    level: str
    who: str
    agents: Agents
    judged: bool = False
    _before: Inventory | None = None
    _memory: dict[int, dict[str, int]] = field(default_factory=dict)

    @cached_property
    def agent(self) -> Agent:
        """The same from the beginning of the attack to its end."""
        return self.agents.get(self.who)

    @property
    def is_host(self) -> bool:
        return self.level == "host"

    def begin(self, name: str, **options: Any) -> int:
        """``Agent.begin`` at this level. Before the first, an innocent script brings about whatever the first does."""
        if self._before is None:
            self._look(**{key: options[key] for key in ("paths", "work_disk") if key in options})
        return self.agent.begin(name, level=self.level, **options)

    def run(self, name: str, **options: Any) -> Seen:
        return self.agent.outcome(self.begin(name, **options))

    def outcome(self, number: int) -> Seen:
        return self.agent.outcome(number)

    def _look(self, **options: Any) -> None:
        self._assert_works(**options)
        self._before = settled_inventory(self.agent)
        self._memory = {pid: memory_kib(pid) for pid in self._watched()}

    def _watched(self) -> list[int]:
        return [self.agent.outer_pid, self.agent.world.outer_pid(self.agent.spawner)]

    def _assert_works(self, **options: Any) -> None:
        seen = self.agent.run("sh", text="echo fine", level=self.level, **options)
        assert (seen.kind, seen.exit_code, seen.stdout) == ("exited", 0, "fine\n"), seen

    # --- afterwards ---

    def verdict(self, name: str, seen: str, *, declared: frozenset[str] = frozenset()) -> None:
        """What is to be said of an attack, once the observer has looked: that it left nothing but what is declared
        (fields of Inventory), that agent and spawner are the same, have not grown, and run the next script."""
        assert self._before is not None
        before = self._before
        looks: list[Inventory] = []

        def left() -> list[str]:
            looks.append(take_inventory(self.agent))
            return before.differences(looks[-1])

        eventually(lambda: set(left()) <= declared, True, lambda: before.describe(looks[-1]))
        for pid in self._watched():
            for kind, kib in memory_kib(pid).items():
                assert kib - self._memory[pid][kind] <= GROWTH_KIB, (pid, kind)
        self._assert_works()
        stays = before.differences(looks[-1])
        self.note(name, f"{seen}; left: {', '.join(stays)}" if stays else f"{seen}; 0 left")

    def verdict_on_a_spoiled_world(self, name: str, seen: str) -> None:
        """The same of an attack that has its world, as is declared. It goes, and the next attack gets another."""
        self.note(name, seen)
        self.agents.spoil(self.who)

    def not_here(self, name: str, reason: str) -> None:
        """Why the attack is not let loose at this place."""
        self.note(name, f"—: {reason}")

    def note(self, name: str, seen: str) -> None:
        self.judged = True
        note(name, self.level, self.who, seen)


@contextmanager
def agents_of(options: dict[str, Any]) -> Iterator[Agents]:
    """Every one of them gone in the end."""
    agents = Agents(**options)
    try:
        yield agents
    finally:
        agents.close()

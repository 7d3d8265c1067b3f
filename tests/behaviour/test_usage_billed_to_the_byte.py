"""What the control plane bills is what the core has counted, whatever is killed: a real core, real traffic, real ends.

The truth is the sum over the core's runs of what v2ray's own program reads right before each of them is killed, which
here is only done after all agents have read what it counted last. (``test_usage_lost_with_a_core``: at any moment.)
Agents and server die at random moments. One of two agents at the core has a legal name for ``alice@t``.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.rigs import steered_server
from tests.rigs.real_processes import wait_until
from tests.rigs.steady_traffic import SteadyTraffic, steady_traffic
from tests.rigs.usage_billing import BilledNodes, Killable, UsageNode, billed_nodes

pytestmark = [pytest.mark.needs_v2ray, pytest.mark.long]

SEED: Final = 12
ROUNDS: Final = 50
ROUNDS_PER_CORE: Final = 5
LIMIT_S: Final = 480.0
"""Outer limit of the rounds of one test; each step in them has its own."""
CORE_AGE_S: Final = 4.0
"""Two runs of a core that were both younger than two seconds cannot be told apart: a declared bound."""
READ_LONG_AGO_S: Final = 2.5
"""A core that starts so long after a reading proves it by its uptime alone, however long the agent is away."""
NAMES: Final = {"plain": (), "named": ("alice@t=alice",)}


@dataclass
class Rounds:
    """What happens, and the truth about it."""

    world: BilledNodes
    rng: random.Random
    began_s: float = field(default_factory=time.monotonic)
    core_began_s: float = field(default_factory=time.monotonic)
    truth: Counter[str] = field(default_factory=Counter)
    """Of the core's earlier runs, by label."""
    kills: int = 0
    """Of agents and the server."""

    @property
    def nodes(self) -> Sequence[UsageNode]:
        return tuple(self.world.nodes.values())

    def run_one(self) -> None:
        """In the middle of traffic some are killed, and come back."""
        assert time.monotonic() - self.began_s < LIMIT_S, "the rounds take too long"
        with steady_traffic(self.world.core, self.rng) as traffic:
            victims = self._victims()
            for victim in victims:
                self._wait_moment(traffic)
                victim.kill()
                self.kills += 1
            self.rng.shuffle(victims)
            for victim in victims:
                traffic.wait(self.rng.randrange(10))
                victim.start()

    def _victims(self) -> list[Killable[Any]]:
        everybody: list[Killable[Any]] = [self.world.server, *(node.agent for node in self.nodes)]
        return self.rng.sample(everybody, self.rng.choice((1, 1, 2, 3)))

    def _wait_moment(self, traffic: SteadyTraffic) -> None:
        """Some downloads long; or until somebody has just read; or until a report is on its way."""
        until = traffic.passed + self.rng.randrange(5, 40)
        node = self.rng.choice(self.nodes)
        before = node.book()
        events: tuple[Callable[[], bool], ...] = (bool, lambda: node.book() != before, node.has_on_its_way)
        happened = self.rng.choice(events)
        wait_until(lambda: traffic.passed >= until or happened(), "a moment")

    # --- the core ---

    def kill_core_at_rest(self) -> None:
        """Once everybody has read what it counted; the agents live on, or are away while the next run begins."""
        wait_until(lambda: time.monotonic() - self.core_began_s > CORE_AGE_S, "the core to be old enough")
        seen = self.world.wait_read()
        if self.rng.random() < 0.5:
            killed_s = time.monotonic()
            self._next_core(seen)
            wait_until(lambda: all(node.has_read_since(killed_s) for node in self.nodes), "the new run to be read")
            return
        for node in self.nodes:
            node.agent.kill()
        away = max(book.taken_s for node in self.nodes if (book := node.book())) + READ_LONG_AGO_S
        wait_until(lambda: time.monotonic() > away, "the readings to age")
        self._next_core(seen)
        with steady_traffic(self.world.core, self.rng) as traffic:
            traffic.wait(3)
        for node in self.nodes:
            node.agent.start()

    def _next_core(self, seen: Counter[str]) -> None:
        truth = self.world.core.truth()
        assert truth == seen, "somebody is still moving bytes"
        self.truth.update(truth)
        self.world.core.restart()
        self.core_began_s = time.monotonic()


@pytest.mark.parametrize("wire", [steered_server.EXTENDED, steered_server.BASE])
def test_billed_is_what_the_core_counted_to_the_byte(tmp_path: Path, wire: str) -> None:
    with billed_nodes(tmp_path, wire, NAMES) as world:
        rounds = Rounds(world, random.Random(SEED))
        for number in range(1, ROUNDS + 1):
            rounds.run_one()
            if number % ROUNDS_PER_CORE == 0:
                rounds.kill_core_at_rest()
        rounds.truth.update(world.wait_read())
        plain, named = (world.nodes[name] for name in NAMES)
        truth = {node.id: node.reported(rounds.truth) for node in rounds.nodes}
        assert "alice" not in truth[plain.id]
        assert truth[named.id].keys() == {"ann", "bob", "alice"}
        for node in rounds.nodes:
            wait_billed(world, node, truth[node.id])
        for node in rounds.nodes:
            world.wait_reports(node, 3)
            assert world.billed(node) == truth[node.id]
        print(f"\n{wire}: {truth} billed to the byte after {rounds.kills} kills")


def wait_billed(world: BilledNodes, node: UsageNode, truth: dict[str, int]) -> None:
    """Until it is, or is more, or stays less."""
    with suppress(TimeoutError):
        wait_until(lambda: sum(world.billed(node).values()) >= sum(truth.values()), "all of it to be billed")
    assert world.billed(node) == truth

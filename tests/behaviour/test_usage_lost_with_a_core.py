"""A core that dies under traffic, or whose counters somebody else resets: what is lost, and that nothing is too much.

Both cost the traffic of one reading interval at most (docs/usage.md). The busiest interval of the test is measured.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.rigs import steered_server
from tests.rigs.real_processes import wait_until
from tests.rigs.steady_traffic import steady_traffic
from tests.rigs.usage_billing import billed_nodes

pytestmark = [pytest.mark.needs_v2ray, pytest.mark.long]

SEED: Final = 12
LOSSES: Final = 20
"""Half of them kills of the core, half resets of its counters by another reader."""
CORE_AGE_S: Final = 4.0
"""So old is a core at least that is killed; docs/usage.md says what is lost with younger ones."""
READ_INTERVAL_S: Final = 0.5
READING_S: Final = 0.25
"""What a reading may take on a busy machine, on top of the interval and its jitter of 5 %."""
HEADS: Final = 1_000
"""Bytes, at most, of the heads of a request and its answer."""


def most_moved(moved: Sequence[tuple[float, int]], within_s: float) -> int:
    """Bytes of the busiest stretch of so many seconds, with what heads of requests and answers can add."""
    most = inside = first = 0
    for at_s, count in moved:
        inside += count + HEADS
        while moved[first][0] < at_s - within_s:
            inside -= moved[first][1] + HEADS
            first += 1
        most = max(most, inside)
    return most


def wait_age(began_s: float, age_s: float) -> None:
    wait_until(lambda: time.monotonic() - began_s > age_s, f"an age of {age_s:.1f} s")


@pytest.mark.parametrize("wire", [steered_server.EXTENDED, steered_server.BASE])
def test_a_core_that_dies_under_traffic_or_is_reset_costs_one_reading_interval(
    tmp_path: Path, wire: str, record_property: Callable[[str, object], None]
) -> None:
    """Downloads stand still, half done, for the moment that the independent reading takes before a kill; a reset
    says itself what it has taken away. So the truth is exact, and the agent is left as much behind as it happens."""
    rng, truth = random.Random(SEED), Counter[str]()
    names = {"named": ("alice@t=alice",)}
    with billed_nodes(tmp_path, wire, names, read_interval=f"{READ_INTERVAL_S}s") as world:
        core, (node,) = world.core, world.nodes.values()
        with steady_traffic(core, rng) as traffic:
            for _ in range(LOSSES // 2):
                began_s = time.monotonic()
                wait_age(began_s, rng.uniform(1.0, CORE_AGE_S - 0.5))
                truth.update(core.reset_by_another())
                wait_age(began_s, CORE_AGE_S + rng.uniform(0, 1))
                with core.payload.held():
                    truth.update(core.settled_truth())
                    core.restart()
            traffic.wait(10)
        truth.update(world.wait_read())
        wait_until(
            lambda: (book := node.book()) and world.billed(node) == book.totals, "all that was read to be billed"
        )
        world.wait_reports(node, 3)
        billed, counted = world.billed(node), node.reported(truth)
        bound = LOSSES * most_moved(core.payload.moved, 1.05 * READ_INTERVAL_S + READING_S)
    lost = {user: counted[user] - billed.get(user, 0) for user in counted}
    record_property("billed", billed)
    record_property("counted", counted)
    record_property("lost", lost)
    print(f"\n{wire}: counted {sum(counted.values())}, lost {sum(lost.values())} in {LOSSES} losses, bound {bound}")
    assert billed.keys() == {"ann", "bob", "alice"}
    assert min(lost.values()) >= 0, "billed what was not counted"
    assert sum(lost.values()) <= bound

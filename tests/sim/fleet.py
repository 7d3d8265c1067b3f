"""A fleet whose agents begin at the same moment, or lose their control plane together: do they come in step?

The agents are those of ``node``, with all of their services; the control plane answers at once and knows no task. What
counts is how many of them arrive within the same second.
"""

import json
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import trio
from trio.testing import MockClock

from tests.sim.drawn import drawn_from
from tests.sim.node import Node
from tests.sim.scenario import NodePlan
from tests.sim.trace import Trace
from tests.sim.watch import Watch
from tests.sim.wire import Back, Letter, Wire
from tests.sim.world import SHM

INTERVAL_S, POLL_S = 10.0, 5.0
"""As an agent has them when nobody sets them."""


@dataclass(frozen=True)
class Arrival:
    """A request that has reached the control plane."""

    at_s: float
    node: str
    path: str


class _Plane:
    """Answers everybody, except while it is down."""

    def __init__(self, down_from_s: float, down_until_s: float) -> None:
        self._down = down_from_s, down_until_s
        self.arrivals: list[Arrival] = []

    async def take(self, letter: Letter) -> Back | None:
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        if self._down[0] <= now < self._down[1]:
            raise ConnectionRefusedError
        self.arrivals.append(Arrival(now, letter.node, letter.path))
        return Back(200, {}, json.dumps([] if letter.path.endswith("/tasks") else {}).encode())


def run_fleet(agents: int, lasts_s: float, seed: int, down: tuple[float, float] = (0.0, 0.0)) -> list[Arrival]:
    """All of them begin at 0; what arrives at the control plane until the end."""
    plane = _Plane(*down)
    plan = NodePlan(2, INTERVAL_S, POLL_S, wall_moves=(), deaths=(), troubles=(), drains=())
    place = Path(tempfile.mkdtemp(prefix="lattice-fleet-", dir=SHM if SHM.is_dir() else None))
    names = [f"node-{number}" for number in range(agents)]
    trace = Trace()
    watch = Watch(trace, dict.fromkeys(names, 2))

    async def live() -> None:
        with trio.move_on_after(lasts_s):
            async with trio.open_nursery() as nursery:
                for number, name in enumerate(names):
                    wire = Wire(name, plan, plane, nursery, trace, watch, seed)
                    node = Node(name, plan, {}, wire, "token", place / name, trace, watch, seed + number)
                    nursery.start_soon(node.live_for_ever)

    try:
        with drawn_from(seed):
            trio.run(live, clock=MockClock(autojump_threshold=0))
    finally:
        shutil.rmtree(place)
    assert not trace.violations, trace.violations
    return plane.arrivals


def most_at_once(arrivals: Iterable[Arrival], path: str, since_s: float, until_s: float) -> int:
    """The most different nodes that ask for ``path`` within any second of that time."""
    window: deque[Arrival] = deque()
    most = 0
    for arrival in arrivals:
        if arrival.path != path or not since_s <= arrival.at_s < until_s:
            continue
        window.append(arrival)
        while window[0].at_s <= arrival.at_s - 1.0:
            window.popleft()
        most = max(most, len({one.node for one in window}))
    return most

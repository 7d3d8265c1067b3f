"""Carries a scenario out, and says what was found."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
import trio.testing
from trio.testing import MockClock

from tests.sim.control import Control
from tests.sim.drawn import drawn_from
from tests.sim.ends import check_ends, settled
from tests.sim.node import Node
from tests.sim.operator import Operator
from tests.sim.party import PARTY, Party, Steps, WallClock
from tests.sim.scenario import Death, Scenario, draw
from tests.sim.trace import Trace
from tests.sim.watch import Watch
from tests.sim.wire import Wire

SETTLE_LIMIT_S = 5_000.0
"""From the end of trouble until all must have come to its end: a wish of the server's of 150 s, back-off of 10 minutes,
a lease of 15 minutes that dies, and a run of 15."""
SETTLE_LOOK_S = 20.0
CALM_S = 90.0
"""Then nothing more may happen to any task."""
SHM = Path("/dev/shm")


@dataclass(frozen=True)
class Found:
    """Of one seed."""

    seed: int
    violations: tuple[str, ...]
    lines: tuple[str, ...]
    summary: str

    @property
    def text(self) -> str:
        """The scenario and everything that happened, with what is wrong at the end."""
        return "\n".join((*draw(self.seed).lines(), *self.lines, *self.violations)) + "\n"


def run_seed(seed: int) -> Found:
    """One seed in a directory of its own, in memory where there is such a file system: both sides sync every commit."""
    place = Path(tempfile.mkdtemp(prefix="lattice-sim-", dir=SHM if SHM.is_dir() else None))
    world = World(draw(seed), place)
    try:
        with drawn_from(seed), _logs_in(world.trace):
            trio.run(world.run, clock=MockClock(autojump_threshold=0), instruments=[Steps()])
    finally:
        shutil.rmtree(place)
    return Found(seed, tuple(world.trace.violations), tuple(world.trace.lines), world.summary())


class World:
    """Agents, a control plane, an operator, and the network between them."""

    def __init__(self, scenario: Scenario, place: Path) -> None:
        self.scenario = scenario
        self.place = place
        self.trace = Trace()
        names = {f"node-{number}": plan for number, plan in enumerate(scenario.nodes, 1)}
        self.watch = Watch(self.trace, {name: plan.slots for name, plan in names.items()})
        self.plans = names
        self.nodes: list[Node] = []
        self.requests = 0
        self.ended_s = 0.0

    async def run(self) -> None:
        """All of it."""
        scenario = self.scenario
        control = Control(self.place / "control.db", WallClock(self._server_moves()), self.trace)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(control.live_for_ever)
            await trio.testing.wait_all_tasks_blocked()
            await self._begin(control, nursery)
            operator = Operator(scenario, control, self.trace)
            nursery.start_soon(operator.work)
            self._send_deaths(nursery, control)
            await trio.sleep_until(scenario.quiet_from_s)
            await operator.done.wait()
            await self._settle(control)
            await check_ends(control, self.nodes, self.trace, self.watch)
            self.ended_s = trio.current_time()
            nursery.cancel_scope.cancel()

    def _server_moves(self) -> tuple[tuple[float, float], ...]:
        """At the end of trouble somebody sets the clock, to after every time at which it has let a lease die."""
        moves = self.scenario.server_wall_moves
        offsets, total = [0.0], 0.0
        for _, by_s in moves:
            total += by_s
            offsets.append(total)
        return (*moves, (self.scenario.quiet_from_s, max(offsets) - total))

    async def _begin(self, control: Control, nursery: trio.Nursery) -> None:
        seed = self.scenario.seed
        jobs = {job.number: job for job in self.scenario.jobs}
        for name, plan in self.plans.items():
            token = (await control.operate("POST", "/api/v1/nodes", {"id": name}))["token"]
            wire = Wire(name, plan, control, nursery, self.trace, self.watch, seed)
            node = Node(name, plan, jobs, wire, token, self.place / name, self.trace, self.watch, seed)
            self.nodes.append(node)
            nursery.start_soon(node.live_for_ever)

    def _send_deaths(self, nursery: trio.Nursery, control: Control) -> None:
        for death in self.scenario.server_deaths:
            nursery.start_soon(self._bring, death, lambda: control.party, partial_set(control))
        for node in self.nodes:
            for death in node.plan.deaths:
                nursery.start_soon(self._bring, death, lambda node=node: node.party, partial_set(node))

    async def _bring(self, death: Death, party_of: Callable[[], Party | None], down: Callable[[float], None]) -> None:
        await trio.sleep_until(death.at_s)
        party = party_of()
        if party is not None and party.alive and party.armed is None:
            down(min(death.down_s, max(1.0, self.scenario.quiet_from_s - death.at_s)))
            party.arm(death)

    async def _settle(self, control: Control) -> None:
        self.trace.note("world", "QUIET from here on")
        for party in (control.party, *(node.party for node in self.nodes)):
            if party is not None and party.alive:
                party.disarm()
        limit_s = trio.current_time() + SETTLE_LIMIT_S
        # It has no event: it is a state of all of them together, and virtual time makes asking free.
        while not await settled(control, self.nodes) and trio.current_time() < limit_s:  # noqa: ASYNC110
            await trio.sleep(SETTLE_LOOK_S)
        self.trace.note("world", "SETTLED")
        await trio.sleep(CALM_S)

    def summary(self) -> str:
        """Of a run: how much there was of it."""
        runs = self.watch.runs.values()
        started = sum(run.started_in is not None for run in runs)
        deaths = sum("back in" in line for line in self.trace.lines)
        return f"{len(runs)} tasks, {started} started, {deaths} deaths, {self.ended_s:.0f} s"


def partial_set(party: Control | Node) -> Callable[[float], None]:
    """Sets how long it stays away when it dies."""

    def down(seconds: float) -> None:
        party.down_s = seconds

    return down


class _Into(logging.Handler):
    """Warnings of the programs become lines; a traceback is a fault of theirs, unless they have just been killed."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(logging.WARNING)
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        party = PARTY.get()
        if not party.alive:
            return
        self._trace.note(party.name, f"{record.levelname.lower()}: {record.getMessage()}"[:300])
        if record.exc_info and record.exc_info[1] is not None:
            self._trace.violated("no fault", f"{record.getMessage()}: {record.exc_info[1]!r}")


@contextmanager
def _logs_in(trace: Trace) -> Iterator[None]:
    handler = _Into(trace)
    loggers = [logging.getLogger(name) for name in ("lattice_agent", "lattice_control")]
    before = [(logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, (propagate, level) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate, logger.level = propagate, level

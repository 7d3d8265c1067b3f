"""Carries a scenario out, and says what was found."""

import logging
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
import trio.testing
from trio.testing import MockClock

from tests.sim.drawn import drawn_from
from tests.sim.node import Node
from tests.sim.operator import Operated
from tests.sim.party import PARTY, Steps
from tests.sim.scenario import Death, NodePlan, Plane, Scenario, draw
from tests.sim.stream import Streams
from tests.sim.trace import Trace
from tests.sim.unmodified import Unmodified
from tests.sim.watch import Watch
from tests.sim.wire import Wire

SETTLE_LIMIT_S = 5_000.0
"""From the end of trouble until all must have come to its end: a wish of the server's of 150 s, back-off of 10 minutes,
a lease of 15 minutes that dies, and a run of 15."""
SETTLE_LOOK_S = 20.0
CALM_S = 90.0
"""Then nothing more may happen to any task."""
STEPS_LIMIT = 2_000_000
"""A run makes some 20,000."""
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
            trio.run(world.run, clock=MockClock(autojump_threshold=0), instruments=[Steps(STEPS_LIMIT, world.give_up)])
    except Exception as error:
        world.trace.violations.append(f"simulator: {error!r}: {''.join(traceback.format_exception(error)[-6:])}")
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
        self.ended_s = 0.0
        self._all = trio.CancelScope()

    def give_up(self) -> None:
        """More steps than any run needs."""
        self.trace.violated("progress", f"{STEPS_LIMIT} steps, and no end")
        self._all.cancel()

    async def run(self) -> None:
        """All of it."""
        scenario = self.scenario
        far: Operated | Unmodified
        if scenario.plane is Plane.SERVER_STUB:
            far = Operated(self.place, scenario, self.trace, self.watch)
        else:
            far = Unmodified(scenario, self.trace, self.watch)
        async with trio.open_nursery() as nursery:
            self._all = nursery.cancel_scope
            nursery.start_soon(far.live_for_ever)
            await trio.testing.wait_all_tasks_blocked()
            await far.prepare()
            for name, plan in self.plans.items():
                self.nodes.append(await self._node(name, plan, far, nursery))
            for node in self.nodes:
                nursery.start_soon(node.live_for_ever)
                nursery.start_soon(node.cores.work)
            nursery.start_soon(far.work)
            self._send_deaths(nursery, far)
            await trio.sleep_until(scenario.quiet_from_s)
            await self._settle(far)
            await far.check_ends(self.nodes)
            self.ended_s = trio.current_time()
            self.watch.check_history(self.plans)
            nursery.cancel_scope.cancel()

    async def _node(self, name: str, plan: NodePlan, far: Operated | Unmodified, nursery: trio.Nursery) -> Node:
        seed = self.scenario.seed
        jobs = {job.number: job for job in self.scenario.jobs}
        token = await far.register(name)
        wire = Wire(name, plan, far, nursery, self.trace, self.watch, seed)
        node = Node(name, plan, jobs, wire, token, self.place / name, self.trace, self.watch, seed)
        if plan.has_streams and isinstance(far, Operated):
            node.streams = Streams(name, token, plan, far.connect, nursery, seed)
        wire.on_usage = lambda: node.cores.check(far.billed(name)) if far.is_up else None
        return node

    def _send_deaths(self, nursery: trio.Nursery, far: Operated | Unmodified) -> None:
        if isinstance(far, Operated):
            for death in self.scenario.server_deaths:
                nursery.start_soon(self._bring, death, far)
        for node in self.nodes:
            for death in node.plan.deaths:
                nursery.start_soon(self._bring, death, node)

    async def _bring(self, death: Death, whom: Operated | Node) -> None:
        await trio.sleep_until(death.at_s)
        party = whom.party
        if party is not None and party.alive and party.armed is None:
            whom.down_s = min(death.down_s, max(1.0, self.scenario.quiet_from_s - death.at_s))
            party.arm(death)

    async def _settle(self, far: Operated | Unmodified) -> None:
        self.trace.note("world", "QUIET from here on")
        for party in (far.party, *(node.party for node in self.nodes)):
            if party is not None and party.alive:
                party.disarm()
        await far.done.wait()
        limit_s = trio.current_time() + SETTLE_LIMIT_S
        # It has no event: it is a state of all of them together, and virtual time makes asking free.
        while not await far.is_settled(self.nodes) and trio.current_time() < limit_s:  # noqa: ASYNC110
            await trio.sleep(SETTLE_LOOK_S)
        self.trace.note("world", "SETTLED")
        await trio.sleep(CALM_S)

    def summary(self) -> str:
        """Of a run: how much there was of it."""
        runs = self.watch.runs.values()
        started = sum(run.started_in is not None for run in runs)
        deaths = sum("back in" in line for line in self.trace.lines)
        return f"{len(runs)} tasks, {started} started, {deaths} deaths, {self.ended_s:.0f} s"


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

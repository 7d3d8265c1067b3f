"""The faults of a soak: which, when and for how long follows from the seed; and how they are done.

A process that is killed begins anew, with everything that has piled up in it gone. So who is killed depends on the
time: the control plane and the first node's spawner in the first third only, the second node's agent and spawner to
the end. The first node's agent lives through all of it. Trouble on the wires never pauses for long.
"""

import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import trio

from tests.soak.endings import Deaths
from tests.soak.plant import Plant
from tests.soak.wire import Wire

EVERY_S: Final = 20.0
"""From one fault to the next, in the mean."""
DYING_SHARE: Final = 1 / 3
SLOW_BYTES_PER_S: Final = 20_000.0
RECOVERY_S: Final = 5.0
"""A task that comes so soon after a spawner's death may meet the dead one."""


class Fault(StrEnum):
    """``docs/soak.md`` explains them by these words."""

    CUT = "connections cut"
    HOLE = "black hole"
    SLOW = "slow wire"
    WRONG = "wrong answers"
    SERVER_STOPPED = "control plane restarted"
    SERVER_KILLED = "control plane killed"
    AGENT_KILLED = "agent killed"
    SPAWNER_KILLED = "spawner killed"


@dataclass(frozen=True)
class Planned:
    """``node``: 0 or 1, or None where it is about the control plane."""

    at_s: float
    fault: Fault
    node: int | None
    lasts_s: float = 0.0


_ON_THE_WIRE: Final = tuple(
    (fault, node) for fault in (Fault.CUT, Fault.HOLE, Fault.SLOW, Fault.WRONG) for node in (0, 1)
)
_ALWAYS: Final = (*_ON_THE_WIRE, (Fault.AGENT_KILLED, 1), (Fault.SPAWNER_KILLED, 1))
_AT_FIRST: Final = (
    *((Fault.SERVER_STOPPED, None), (Fault.SERVER_KILLED, None), (Fault.SPAWNER_KILLED, 0), (Fault.AGENT_KILLED, 1)),
    *((fault, node) for node, fault in enumerate((Fault.CUT, Fault.HOLE))),
)
_LASTS: Final[Mapping[Fault, tuple[float, float]]] = {
    Fault.HOLE: (3.0, 15.0),
    Fault.SLOW: (5.0, 15.0),
    Fault.WRONG: (4.0, 12.0),
}


def plan_faults(chance: random.Random, seconds: float) -> list[Planned]:
    """Every one of a bag before any comes again. Nothing in the last tenth."""
    every = min(EVERY_S, seconds / 12)
    longest = every * 0.75
    plan, bag, at = [], list[tuple[Fault, int | None]](), every
    dying = True
    while at < seconds * 0.9:
        if dying and at > seconds * DYING_SHARE:
            dying, bag = False, []
        if not bag:
            bag = list(_AT_FIRST if dying else _ALWAYS)
            chance.shuffle(bag)
        fault, node = bag.pop()
        lasts = min(longest, chance.uniform(*_LASTS[fault])) if fault in _LASTS else 0.0
        plan.append(Planned(round(at, 1), fault, node, round(lasts, 1)))
        at += every * chance.uniform(0.8, 1.2)
    return plan


@dataclass
class Saboteur:
    """Carries a plan out. ``note`` is told of each fault when it begins and when it is over."""

    plant: Plant
    wires: list[Wire]
    nodes: list[str]
    wrong_port: int
    deaths: Deaths
    note: Callable[[Planned, bool], None]
    now: Callable[[], float]

    async def run(self, plan: list[Planned]) -> None:
        """One after another."""
        for planned in plan:
            await trio.sleep(planned.at_s - self.now() if planned.at_s > self.now() else 0)
            self.note(planned, True)
            await (
                self._on_wire(planned) if planned.fault in (fault for fault, _ in _ON_THE_WIRE) else self._kill(planned)
            )
            self.note(planned, False)

    async def _on_wire(self, planned: Planned) -> None:
        assert planned.node is not None
        wire = self.wires[planned.node]
        match planned.fault:
            case Fault.CUT:
                wire.cut()
            case Fault.HOLE:
                wire.hold()
            case Fault.SLOW:
                wire.slow(SLOW_BYTES_PER_S)
            case Fault.WRONG:
                wire.divert(self.wrong_port)
        await trio.sleep(planned.lasts_s)
        wire.release()

    async def _kill(self, planned: Planned) -> None:
        server = self.plant.server
        if planned.node is None:
            number = signal.SIGTERM if planned.fault is Fault.SERVER_STOPPED else signal.SIGKILL
            await trio.to_thread.run_sync(server.restart, number)
            return
        node = self.nodes[planned.node]
        agent, since = self.plant.agents[node], time.monotonic()
        die = agent.restart if planned.fault is Fault.AGENT_KILLED else agent.kill_spawner
        await trio.to_thread.run_sync(die)
        self.deaths.note(node, since, time.monotonic() + RECOVERY_S)

"""Whose code runs: one process holds agents, a control plane and the network between them, and each can die alone.

A party is one life of one of them. Its tasks carry it in their context, so that a step of the scheduler, a look at the
wall clock or an effect on the outside can be told to be its own. A party that has died has no effects any more: its
tasks are cancelled, and whatever they still do on their way out (``finally``, shielded blocks) meets ``CrashedError``
at its first effect, as code does that a killed process would have run next.
"""

from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

import trio

from tests.rigs.lease_loop import CrashedError
from tests.rigs.server_app import START
from tests.sim.scenario import Death, How, Trigger


class WallClock:
    """What a machine believes the time of day to be; ``moves`` are (from when on, by how much), in seconds."""

    def __init__(self, moves: tuple[tuple[float, float], ...] = ()) -> None:
        self.moves = moves

    def offset_s(self) -> float:
        now = trio.current_time()
        return sum(by_s for at_s, by_s in self.moves if at_s <= now)

    def now(self) -> datetime:
        return START + timedelta(seconds=trio.current_time() + self.offset_s())

    def monotonic(self) -> float:
        return trio.current_time()


class Party:
    """One life."""

    def __init__(self, name: str, wall: WallClock) -> None:
        self.name = name
        self.wall = wall
        self.alive = True
        self.scope = trio.CancelScope()
        self.stopping = trio.Event()
        """It is asked to end in order."""
        self.armed: Death | None = None
        self.steps_left: int | None = None
        """Steps of its tasks until it dies; None: it is not about to."""

    def arm(self, death: Death) -> None:
        """It will die by this, as soon as the trigger has happened."""
        self.armed = death
        self.happened(Trigger.TIME)

    def disarm(self) -> None:
        """It lives on."""
        self.armed = self.steps_left = None

    def happened(self, trigger: Trigger) -> None:
        """To be told of everything that a death may wait for."""
        if self.armed is None or self.armed.trigger is not trigger or not self.alive:
            return
        if self.armed.how is How.STOPPED:
            self.stopping.set()
        elif self.steps_left is None:
            self.steps_left = self.armed.steps

    def die(self) -> None:
        """Now, without a word."""
        self.alive = False
        self.steps_left = None
        self.scope.cancel()

    def stop_if_dead(self) -> None:
        """Before every effect on the outside."""
        if not self.alive:
            raise CrashedError

    async def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """A synchronous call of its store. It may die before it and, with everything written, after it."""
        await trio.lowlevel.checkpoint()
        self.stop_if_dead()
        value = fn(*args)
        with trio.CancelScope(shield=True):  # as with a thread: what was called is heard of, unless one dies
            await trio.lowlevel.checkpoint()
        self.stop_if_dead()
        return value


NETWORK: Final = Party("network", WallClock())
PARTY: Final[ContextVar[Party]] = ContextVar("party", default=NETWORK)


class Steps(trio.abc.Instrument):
    """Lets a party die at a step of its own that was drawn beforehand, which is any await of any of its tasks.

    ``too_many`` is called when so many steps were made that somebody must be running in circles.
    """

    def __init__(self, limit: int, too_many: Callable[[], None]) -> None:
        self._left = limit
        self._too_many = too_many

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._too_many()
        party = task.context.get(PARTY)
        if party is None or party.steps_left is None:
            return
        party.steps_left -= 1
        if party.steps_left < 0:
            party.die()


class PartyDatetime:
    """Stands for the class ``datetime`` in modules that ask it for the time: each party has its own wall clock."""

    @staticmethod
    def now(tz: tzinfo | None = None) -> datetime:
        return PARTY.get().wall.now().astimezone(tz)

"""Cells for runs, kept ready: the trio side. Decides nothing itself (``pool``); talks to the spawner through its link.

A run takes a ready cell, or waits for one that is built for it. Whatever was not asked for by a run is built in the
background. When the spawner dies, every cell dies with it: waiting runs wait for cells of its successor.
"""

import logging
from collections import OrderedDict, deque
from typing import Final, Protocol

import trio

from lattice_agent.errors import SandboxError
from lattice_agent.exec.cell_ends import CellEnds, prepare_request
from lattice_agent.exec.plan import Profile
from lattice_agent.exec.pool import KEPT, PoolPolicy
from lattice_agent.exec.requests import CellFailed, CellGone, CellReady, KillCell, Message

log = logging.getLogger(__name__)

BUILD_S: Final = 15.0
"""How long a run waits for a cell: the first one of a profile needs a template, on a machine that may be swapping."""
REVIEW_S: Final = 5.0
"""How often pools are looked at for cells that are too many, or that could not be built."""
PROFILES_MOST: Final = 16
"""Profiles with a pool; the one not used for longest loses its cells."""


class Line(Protocol):
    """What the pool needs of the spawner's link."""

    def number(self) -> int: ...

    def post(self, message: Message) -> bool: ...

    async def send(self, message: Message, descriptors: list[int]) -> None: ...


class CellEnd:
    """What the spawner says about the end of a cell: set once."""

    def __init__(self) -> None:
        self.gone = trio.Event()
        self.memory_peak = 0
        self.memory_hit = False
        self.killed = 0
        self.spawner_died = False


class Waiter:
    """A run that waits for its cell."""

    def __init__(self) -> None:
        self.woken = trio.Event()
        self.cell: CellEnds | None = None
        self.failure = ""


class ProfilePool:
    """The cells of one profile."""

    def __init__(self, kept: int) -> None:
        self.policy = PoolPolicy(kept, trio.current_time())
        self.ready: deque[CellEnds] = deque()  # bounded by the policy's target
        self.building: set[int] = set()
        self.waiters: deque[Waiter] = deque()  # bounded by the caller's slots


class CellPool:
    """One per runner."""

    def __init__(self, line: Line, default: Profile | None) -> None:
        """``default``: the profile whose cells are kept ready from the start."""
        self._line = line
        self._default = default
        self._pools: OrderedDict[Profile, ProfilePool] = OrderedDict()
        self._of_cell: dict[int, Profile] = {}
        self._single: dict[int, Waiter] = {}
        self._ends: dict[int, CellEnd] = {}
        self._complaint = ""
        """Why cells cannot be built, as it was told: once for each reason, not for each attempt."""

    def keep(self, profile: Profile | None) -> None:
        """Keep cells of this profile ready from now on instead of those of the last; None: of no profile."""
        if profile == self._default:
            return
        self._default = profile
        for known, pool in self._pools.items():
            pool.policy.keep(KEPT if known == profile else 0)
        if profile is not None:
            self._refill(profile, self._pool(profile))

    # --- for runs ---

    async def take(self, profile: Profile, directory: str = "") -> CellEnds:
        """A cell of the profile; ready, or built now. Raises SandboxError when none can be built.

        ``directory``: the cell's own work directory on the host; such a cell is never built in advance.
        """
        if directory:
            return await self._take_single(profile, directory)
        pool = self._pool(profile)
        if pool.ready:
            # Its successor is built when this run is over: before, it would take its processor from it.
            return pool.ready.popleft()
        pool.policy.had_to_wait(trio.current_time())
        waiter = Waiter()
        pool.waiters.append(waiter)
        try:
            if len(pool.building) < len(pool.waiters):
                self._build(profile, pool)
            return await self._wait(waiter)
        finally:
            if waiter in pool.waiters:
                pool.waiters.remove(waiter)
            self._refill(profile, pool)

    def end_of(self, cell: CellEnds) -> CellEnd:
        """What the spawner has said about the end of a taken cell, or will; call ``over`` in the end."""
        return self._ends.setdefault(cell.number, CellEnd())

    def successor(self, profile: Profile) -> int:
        """Number of the cell that takes the place of one in use, told with the task; 0 if there are enough."""
        pool = self._pools.get(profile)
        if pool is None or not pool.policy.missing(trio.current_time(), len(pool.ready), self._on_the_way(pool)):
            return 0
        number = self._line.number()
        pool.building.add(number)
        self._of_cell[number] = profile
        return number

    def over(self, cell: CellEnds) -> None:
        """The run of this cell is over."""
        self._ends.pop(cell.number, None)

    async def _take_single(self, profile: Profile, directory: str) -> CellEnds:
        waiter = Waiter()
        number = self._line.number()
        self._single[number] = waiter
        try:
            await self._line.send(prepare_request(number, profile, directory), [])
            return await self._wait(waiter)
        finally:
            if self._single.pop(number, None) is waiter and waiter.cell is None:
                self._line.post(KillCell(number))

    async def _wait(self, waiter: Waiter) -> CellEnds:
        try:
            with trio.move_on_after(BUILD_S):
                await waiter.woken.wait()
        except trio.Cancelled:
            if waiter.cell is not None:
                self.discard(waiter.cell)
            raise
        if waiter.cell is not None:
            return waiter.cell
        raise SandboxError(waiter.failure or f"no cell was ready within {BUILD_S:.0f} s")

    # --- for the link ---

    def hear(self, message: Message, descriptors: list[int]) -> None:
        """Take in what the spawner says about cells."""
        match message:
            case CellReady():
                self._ready(CellEnds(message.cell, message.controllers, descriptors))
            case CellFailed():
                self.failed(message.cell, message.reason.decode("utf-8", "replace"))
            case CellGone():
                self._gone(message)

    def spawner_died(self) -> None:
        """Every cell is gone. Runs that wait go on waiting for the next spawner's."""
        for pool in self._pools.values():
            while pool.ready:
                pool.ready.popleft().close()
            pool.building.clear()
        self._of_cell.clear()
        for waiter in self._single.values():
            waiter.failure = "the spawner died"
            waiter.woken.set()
        for end in self._ends.values():
            if not end.gone.is_set():
                end.spawner_died = True
                end.gone.set()

    def spawner_started(self) -> None:
        """Build what is waited for, and what is to be kept."""
        if self._default is not None:
            self._pool(self._default)
        for profile, pool in self._pools.items():
            for _ in range(len(pool.waiters)):
                self._build(profile, pool)
            self._refill(profile, pool)

    async def serve(self) -> None:
        """Look after the pools' sizes; never returns."""
        while True:
            await trio.sleep(REVIEW_S)
            for profile, pool in list(self._pools.items()):
                for _ in range(pool.policy.surplus(trio.current_time(), len(pool.ready))):
                    self.discard(pool.ready.pop())
                self._refill(profile, pool)
                if pool.policy.idle and not (pool.ready or pool.building or pool.waiters):
                    del self._pools[profile]

    def close(self) -> None:
        """Give back the ends of all cells that wait."""
        for pool in self._pools.values():
            while pool.ready:
                pool.ready.popleft().close()

    # --- building ---

    def _pool(self, profile: Profile) -> ProfilePool:
        pool = self._pools.get(profile)
        if pool is None:
            if len(self._pools) >= PROFILES_MOST:
                self._drop_one()
            pool = self._pools[profile] = ProfilePool(KEPT if profile == self._default else 0)
        self._pools.move_to_end(profile)
        return pool

    def _drop_one(self) -> None:
        """Forget the profile that was not used for longest, if none of its runs waits."""
        for profile, pool in self._pools.items():
            if not pool.waiters and profile != self._default:
                while pool.ready:
                    self.discard(pool.ready.pop())
                del self._pools[profile]
                return

    def _refill(self, profile: Profile, pool: ProfilePool) -> None:
        for _ in range(pool.policy.missing(trio.current_time(), len(pool.ready), self._on_the_way(pool))):
            self._build(profile, pool)

    @staticmethod
    def _on_the_way(pool: ProfilePool) -> int:
        return max(len(pool.building) - len(pool.waiters), 0)

    def _build(self, profile: Profile, pool: ProfilePool) -> None:
        number = self._line.number()
        if self._line.post(prepare_request(number, profile)):
            pool.building.add(number)
            self._of_cell[number] = profile

    def _ready(self, cell: CellEnds) -> None:
        if (single := self._single.get(cell.number)) is not None:
            single.cell = cell
            single.woken.set()
            return
        profile = self._of_cell.pop(cell.number, None)
        pool = self._pools.get(profile) if profile is not None else None
        if profile is None or pool is None:
            self.discard(cell)
            return
        pool.building.discard(cell.number)
        pool.policy.built()
        self._complaint = ""
        if pool.waiters:
            waiter = pool.waiters.popleft()
            waiter.cell = cell
            waiter.woken.set()
        else:
            pool.ready.append(cell)

    def failed(self, number: int, reason: str) -> None:
        """There will be no such cell: it could not be built, was refused, or has not come through."""
        if (single := self._single.get(number)) is not None:
            single.failure = single.failure or reason
            single.woken.set()
            return
        profile = self._of_cell.pop(number, None)
        pool = self._pools.get(profile) if profile is not None else None
        if pool is None:
            return
        if reason != self._complaint:
            log.error("cannot build a cell: %s; it is tried again", reason)
        self._complaint = reason
        pool.building.discard(number)
        pool.policy.failed(trio.current_time())
        if pool.waiters:
            waiter = pool.waiters.popleft()
            waiter.failure = reason
            waiter.woken.set()

    def _gone(self, message: CellGone) -> None:
        end = self._ends.get(message.cell)
        if end is not None:
            end.memory_peak = message.memory_peak
            end.memory_hit = bool(message.memory_hit)
            end.killed = message.killed
            end.gone.set()
            return
        self.failed(message.cell, "it ended before it was ready")
        for pool in self._pools.values():
            for cell in pool.ready:
                if cell.number == message.cell:  # killed by somebody while it waited
                    pool.ready.remove(cell)
                    cell.close()
                    return

    def discard(self, cell: CellEnds) -> None:
        """End a cell that nobody will use."""
        self._line.post(KillCell(cell.number))
        cell.close()

"""The pools of cells, with a test in the spawner's place: who gets a cell, who is told what, and what is given back.

The clock is trio's mock clock: minutes pass at once.
"""

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from lattice_agent.errors import SandboxError, SpawnerGoneError
from lattice_agent.exec.cell_ends import CellEnds
from lattice_agent.exec.cell_pool import BUILD_S, PROFILES_MOST, REVIEW_S, CellPool
from lattice_agent.exec.plan import Level, Profile
from lattice_agent.exec.pool import KEPT, MOST, SHRINK_S
from lattice_agent.exec.requests import (
    CellFailed,
    CellGone,
    CellReady,
    KillCell,
    Message,
    PrepareCell,
)
from tests.rigs.cells import StagedCell

STRICT = Profile(Level.STRICT)
OTHER = Profile(Level.STRICT, work_bytes=1 << 20)


class Desk:
    """The spawner's place: takes requests, and answers when the test says so."""

    def __init__(self) -> None:
        self.pool: CellPool
        self.posted: list[Message] = []
        self.up = True
        self._number = 0
        self._staged: list[StagedCell] = []

    def number(self) -> int:
        self._number += 1
        return self._number

    def post(self, message: Message) -> bool:
        if self.up:
            self.posted.append(message)
        return self.up

    async def send(self, message: Message, descriptors: list[int]) -> None:
        assert descriptors == []
        if not self.post(message):
            raise SpawnerGoneError("no spawner took the request")

    @property
    def asked(self) -> list[int]:
        """Numbers of the cells that were asked for."""
        return [message.cell for message in self.posted if isinstance(message, PrepareCell)]

    @property
    def killed(self) -> list[int]:
        """Numbers of the cells that were given up."""
        return [message.cell for message in self.posted if isinstance(message, KillCell)]

    def build(self, *numbers: int) -> None:
        """Hand cells over."""
        for number in numbers:
            self._staged.append(StagedCell(number))
            self.pool.hear(CellReady(number, []), self._staged[-1].passed)

    def build_all(self) -> None:
        """Hand over what was asked for and not answered yet."""
        done = {staged.number for staged in self._staged} | set(self.killed)
        self.build(*(number for number in self.asked if number not in done))

    def fail(self, number: int, reason: bytes = b"root: no") -> None:
        self.pool.hear(CellFailed(number, reason), [])

    def given_back(self, number: int) -> bool:
        """Whether the pool's side has closed what it got for a cell."""
        [staged] = [staged for staged in self._staged if staged.number == number]
        return staged.abandoned()

    def close(self) -> None:
        for staged in self._staged:
            staged.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    before = os.listdir("/proc/self/fd")
    desk = Desk()
    yield desk
    desk.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)


@asynccontextmanager
async def a_pool(desk: Desk, default: Profile | None = None) -> AsyncGenerator[CellPool, None]:
    """A pool that is looked after, with the spawner up."""
    pool = desk.pool = CellPool(desk, default)
    pool.spawner_started()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.serve)
        yield pool
        nursery.cancel_scope.cancel()
    pool.close()


class Taking:
    """A run that wants a cell."""

    def __init__(self, pool: CellPool, profile: Profile = STRICT, directory: str = "") -> None:
        self._take = partial(pool.take, profile, directory)
        self.cell: CellEnds | None = None
        self.failure = ""
        self.scope = trio.CancelScope()

    async def __call__(self) -> None:
        with self.scope:
            try:
                self.cell = await self._take()
            except SandboxError as error:
                self.failure = f"{type(error).__name__}: {error}"

    def close(self) -> None:
        assert self.cell is not None
        self.cell.close()


async def quiet() -> None:
    """Until nothing can happen without the test."""
    await trio.testing.wait_all_tasks_blocked()


async def test_the_default_profile_is_kept_ready_from_the_start(desk: Desk) -> None:
    async with a_pool(desk, STRICT) as pool:
        assert desk.asked == [1, 2]
        desk.build_all()
        desk.posted.clear()
        cell = await pool.take(STRICT)
        assert cell.number == 1
        assert desk.posted == []  # the next one is built when this run is over
        cell.close()


async def test_without_a_default_nothing_is_built_in_advance(desk: Desk) -> None:
    async with a_pool(desk):
        await quiet()
        assert desk.posted == []


async def test_each_taken_cell_has_one_successor(desk: Desk) -> None:
    async with a_pool(desk, STRICT) as pool:
        desk.build_all()
        cells = [await pool.take(STRICT) for _ in range(KEPT)]
        assert [cell.number for cell in cells] == [1, 2]
        assert [pool.successor(STRICT) for _ in range(3)] == [3, 4, 0]  # what is on its way is counted
        desk.build(4, 3)
        cells.append(await pool.take(STRICT))
        assert cells[-1].number == 4
        for cell in cells:
            cell.close()


async def test_a_successor_serves_whoever_waits(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk, STRICT) as pool:
        desk.build_all()
        cells = [await pool.take(STRICT) for _ in range(KEPT)]
        taking = Taking(pool)
        assert pool.successor(STRICT) == 3
        nursery.start_soon(taking)
        await quiet()
        desk.build(3)
        await quiet()
        assert taking.cell is not None
        assert taking.cell.number == 3
        for cell in (*cells, taking.cell):
            cell.close()


async def test_a_successor_that_fails_is_no_longer_waited_for(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk, STRICT) as pool:
        desk.build_all()
        cells = [await pool.take(STRICT) for _ in range(KEPT)]
        assert pool.successor(STRICT) == 3
        taking = Taking(pool)
        nursery.start_soon(taking)
        await quiet()
        desk.fail(3, b"64 cells now")
        await quiet()
        assert taking.failure == "SandboxError: 64 cells now"
        for cell in cells:
            cell.close()


async def test_a_profile_that_keeps_nothing_ready_has_no_successors(desk: Desk) -> None:
    async with a_pool(desk) as pool:
        assert pool.successor(STRICT) == 0
        pool.keep(STRICT)
        desk.build_all()
        cell = await pool.take(STRICT)
        pool.keep(None)
        assert pool.successor(STRICT) == 0
        cell.close()


async def test_a_cell_that_is_gone_before_it_was_heard_of_is_not_waited_for(desk: Desk) -> None:
    """As when no descriptor was left to receive it with: it ends, and must not count as on its way for ever."""
    async with a_pool(desk, STRICT) as pool:
        pool.hear(CellGone(1, 0, 0), [])
        pool.hear(CellGone(2, 0, 0), [])
        pool.spawner_started()
        assert not pool._pools[STRICT].building & {1, 2}


async def test_a_run_waits_for_its_cell(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk) as pool:
        taking = Taking(pool)
        nursery.start_soon(taking)
        await quiet()
        assert desk.asked == [1]
        assert taking.cell is None
        desk.build(1)
        await quiet()
        assert taking.cell is not None
        assert taking.cell.number == 1
        taking.close()


async def test_those_who_wait_are_served_in_their_order(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk) as pool:
        takings = [Taking(pool) for _ in range(3)]
        for taking in takings:
            nursery.start_soon(taking)
            await quiet()
        assert desk.asked[:3] == [1, 2, 3]
        desk.build(3, 1, 2)
        await quiet()
        assert [taking.cell and taking.cell.number for taking in takings] == [3, 1, 2]
        for taking in takings:
            taking.close()


async def test_a_failure_reaches_the_one_who_waits_with_its_reason(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk) as pool:
        first, second = Taking(pool), Taking(pool)
        nursery.start_soon(first)
        await quiet()
        nursery.start_soon(second)
        await quiet()
        desk.fail(1, b"sources: No such file or directory (/nowhere)")
        await quiet()
        assert first.failure == "SandboxError: sources: No such file or directory (/nowhere)"
        assert (second.cell, second.failure) == (None, "")
        desk.build(2)
        await quiet()
        assert second.cell is not None
        second.close()


async def test_a_refusal_is_a_failure_too(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk) as pool:
        taking = Taking(pool)
        nursery.start_soon(taking)
        await quiet()
        pool.failed(1, "PrepareCell: 64 cells now")
        await quiet()
        assert taking.failure == "SandboxError: PrepareCell: 64 cells now"


async def test_reasons_that_are_no_text_are_told_all_the_same(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk) as pool:
        taking = Taking(pool)
        nursery.start_soon(taking)
        await quiet()
        desk.fail(1, b"root: \xff")
        await quiet()
        assert taking.failure == "SandboxError: root: \ufffd"


async def test_no_answer_at_all_ends_the_wait(desk: Desk, autojump_clock: trio.testing.MockClock) -> None:
    async with a_pool(desk) as pool:
        started = trio.current_time()
        with pytest.raises(SandboxError, match=f"no cell was ready within {BUILD_S:.0f} s"):
            await pool.take(STRICT)
        assert trio.current_time() - started == pytest.approx(BUILD_S)


async def test_building_in_advance_fails_and_is_tried_again_ever_more_rarely(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    async with a_pool(desk, STRICT):
        times = []
        answered = 0
        while trio.current_time() < 400:
            for number in desk.asked[answered:]:
                times.append(trio.current_time())
                desk.fail(number)
            answered = len(times)
            await trio.sleep(0.5)
        pauses = [later - earlier for earlier, later in zip(times[:-1:2], times[2::2], strict=False)]
    assert 12 < len(times) < 60
    assert max(pauses[-3:]) > 20
    assert max(pauses) < 40


async def test_cancelling_who_waits_leaves_the_cell_to_the_next(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk) as pool:
        taking = Taking(pool)
        nursery.start_soon(taking)
        await quiet()
        taking.scope.cancel()
        await quiet()
        assert taking.scope.cancelled_caught
        desk.build(1)
        cell = await pool.take(STRICT)
        assert cell.number == 1
        cell.close()


@pytest.mark.parametrize("cancel_first", [True, False])
@pytest.mark.parametrize("directory", ["", "/srv/work"])
async def test_a_cell_that_comes_in_the_moment_of_cancelling_is_used_or_given_back(
    desk: Desk, nursery: trio.Nursery, cancel_first: bool, directory: str
) -> None:
    async with a_pool(desk) as pool:
        taking = Taking(pool, directory=directory)
        nursery.start_soon(taking)
        await quiet()
        if cancel_first:
            taking.scope.cancel()
            desk.build(1)
        else:
            desk.build(1)
            taking.scope.cancel()
        await quiet()
        if taking.cell is not None:
            assert not desk.killed
            taking.close()
        else:
            assert taking.scope.cancelled_caught
            assert desk.killed == [1]
        assert desk.given_back(1)


async def test_a_waiting_run_is_served_by_the_next_spawner(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk, STRICT) as pool:
        desk.build(1)
        ready = await pool.take(STRICT)
        takings = [Taking(pool), Taking(pool)]
        for taking in takings:
            nursery.start_soon(taking)
        await quiet()
        desk.up = False
        pool.spawner_died()
        await quiet()
        assert not any(taking.failure for taking in takings)
        desk.posted.clear()
        desk.up = True
        pool.spawner_started()
        assert len(desk.asked) >= 2
        assert min(desk.asked) > 2  # numbers are never used twice
        desk.build_all()
        await quiet()
        for taking in takings:
            taking.close()
        ready.close()


async def test_ready_cells_of_a_dead_spawner_are_given_back(desk: Desk) -> None:
    async with a_pool(desk, STRICT) as pool:
        desk.build(1, 2)
        pool.spawner_died()
        assert desk.given_back(1)
        assert desk.given_back(2)
        pool.spawner_started()
        assert desk.asked == [1, 2, 3, 4]


async def test_what_a_dead_spawner_was_building_is_not_waited_for(desk: Desk) -> None:
    async with a_pool(desk, STRICT) as pool:
        pool.spawner_died()
        pool.spawner_started()
        desk.build(3, 4)
        cell = await pool.take(STRICT)
        assert cell.number == 3
        cell.close()


async def test_a_taken_cell_of_a_dead_spawner_is_over(desk: Desk) -> None:
    async with a_pool(desk, STRICT) as pool:
        desk.build(1, 2)
        cell = await pool.take(STRICT)
        end = pool.end_of(cell)
        pool.spawner_died()
        assert end.gone.is_set()
        assert (end.memory_peak, end.memory_hit) == (0, False)
        cell.close()


async def test_what_the_spawner_says_of_a_cells_end_is_kept_until_the_run_is_over(desk: Desk) -> None:
    async with a_pool(desk, STRICT) as pool:
        desk.build(1, 2)
        cell = await pool.take(STRICT)
        end = pool.end_of(cell)
        assert not end.gone.is_set()
        pool.hear(CellGone(1, 7 << 20, 1), [])
        assert end.gone.is_set()
        assert (end.memory_peak, end.memory_hit) == (7 << 20, True)
        assert pool.end_of(cell) is end
        pool.over(cell)
        pool.hear(CellGone(1, 0, 0), [])
        assert pool.end_of(cell) is not end
        cell.close()


async def test_a_ready_cell_that_dies_is_not_given_to_anybody(desk: Desk) -> None:
    async with a_pool(desk, STRICT) as pool:
        desk.build(1, 2)
        pool.hear(CellGone(1, 0, 0), [])
        assert desk.given_back(1)
        cell = await pool.take(STRICT)
        assert cell.number == 2
        cell.close()


async def test_a_cell_nobody_asked_for_is_given_up(desk: Desk) -> None:
    async with a_pool(desk, STRICT):
        desk.build(99)
        assert desk.killed == [99]
        assert desk.given_back(99)
        desk.fail(98)
        desk.pool.hear(CellGone(97, 0, 0), [])


async def test_cells_nobody_waited_for_go_after_their_minutes(
    desk: Desk, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    async with a_pool(desk, STRICT) as pool:
        desk.build_all()
        takings = [Taking(pool) for _ in range(KEPT + 3)]
        for taking in takings:
            nursery.start_soon(taking)
            await quiet()
        desk.build_all()
        await quiet()
        for taking in takings:
            assert taking.cell is not None
            pool.over(taking.cell)
            taking.close()
        await trio.sleep(1)
        desk.build_all()
        target = KEPT + 3
        assert not desk.killed
        for minute in range(1, 6):
            await trio.sleep(SHRINK_S)
            assert len(desk.killed) <= min(minute, target - KEPT)
        await trio.sleep(SHRINK_S)
        assert len(desk.killed) == target - KEPT
        assert all(desk.given_back(number) for number in desk.killed)
        assert len(desk.asked) == len(takings) + target  # nothing is built to be thrown away


@pytest.mark.long
async def test_demand_does_not_raise_it_beyond_the_bound(
    desk: Desk, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    async with a_pool(desk, STRICT) as pool:
        takings = [Taking(pool) for _ in range(30)]
        for taking in takings:
            nursery.start_soon(taking)
        await quiet()
        assert len(takings) <= len(desk.asked) <= len(takings) + MOST
        desk.build_all()
        await quiet()
        for taking in takings:
            assert taking.cell is not None
            pool.over(taking.cell)
            taking.close()
        await trio.sleep(1)
        desk.build_all()
        await trio.sleep(1)
        desk.build_all()
        assert len(desk.asked) == len(takings) + MOST


async def test_a_profile_nobody_uses_is_forgotten(
    desk: Desk, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    async with a_pool(desk) as pool:
        taking = Taking(pool, OTHER)
        nursery.start_soon(taking)
        await quiet()
        desk.build_all()
        await quiet()
        assert taking.cell is not None
        pool.over(taking.cell)
        taking.close()
        await trio.sleep(1)
        desk.build_all()
        await trio.sleep(2 * SHRINK_S)
        assert sorted(desk.asked) == [1, 2]
        assert desk.killed == [2]
        desk.posted.clear()
        await trio.sleep(10 * SHRINK_S)
        assert desk.posted == []
        assert pool._pools == {}


@pytest.mark.long
async def test_the_profile_not_used_for_longest_gives_way(desk: Desk, nursery: trio.Nursery) -> None:
    profiles = [Profile(Level.STRICT, work_bytes=number << 20) for number in range(1, PROFILES_MOST + 2)]
    async with a_pool(desk, STRICT) as pool:
        desk.build_all()
        for profile in profiles[: PROFILES_MOST - 1]:
            taking = Taking(pool, profile)
            nursery.start_soon(taking)
            await quiet()
            desk.build_all()
            await quiet()
            desk.build_all()  # the one that is kept ready of it
            taking.close()
        assert desk.killed == []
        again = await pool.take(profiles[0])  # used, so the second is the oldest now
        again.close()
        taking = Taking(pool, profiles[PROFILES_MOST - 1])
        nursery.start_soon(taking)
        await quiet()
        given_up = [
            message for message in desk.posted if isinstance(message, PrepareCell) and message.cell in desk.killed
        ]
        assert {message.work_bytes for message in given_up} == {profiles[1].work_bytes}
        assert all(desk.given_back(number) for number in desk.killed)
        desk.build_all()
        await quiet()
        taking.close()
        assert len(pool._pools) == PROFILES_MOST
        assert STRICT in pool._pools


async def test_a_cell_that_comes_after_its_profile_was_forgotten_is_given_up(desk: Desk) -> None:
    async with a_pool(desk, STRICT) as pool:
        pool._pools.clear()
        desk.build(1)
        assert desk.killed == [1]
        assert desk.given_back(1)
        desk.fail(2)


async def test_another_profile_can_be_kept_ready(desk: Desk, autojump_clock: trio.testing.MockClock) -> None:
    async with a_pool(desk, STRICT) as pool:
        desk.build_all()
        pool.keep(OTHER)
        assert len(desk.asked) == 2 * KEPT
        desk.build_all()
        await trio.sleep(REVIEW_S + 1)
        assert sorted(desk.killed) == [1, 2]
        pool.keep(OTHER)
        pool.keep(None)
        await trio.sleep(REVIEW_S + 1)
        assert sorted(desk.killed) == [1, 2, 3, 4]
        assert len(desk.asked) == 2 * KEPT
        pool.spawner_died()
        pool.spawner_started()
        assert len(desk.asked) == 2 * KEPT


async def test_a_cell_with_a_directory_is_built_for_its_run_alone(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk) as pool:
        taking = Taking(pool, directory="/srv/work")
        nursery.start_soon(taking)
        await quiet()
        [request] = desk.posted
        assert isinstance(request, PrepareCell)
        assert request.directory == b"/srv/work"
        desk.build(1)
        await quiet()
        assert taking.cell is not None
        taking.close()
        await quiet()
        assert desk.asked == [1]


async def test_a_cell_with_a_directory_that_fails_says_why(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk) as pool:
        taking = Taking(pool, directory="/srv/work")
        nursery.start_soon(taking)
        await quiet()
        desk.fail(1, b"work-directory: no")
        await quiet()
        assert taking.failure == "SandboxError: work-directory: no"


async def test_cancelling_who_waits_for_a_cell_with_a_directory_gives_it_up(desk: Desk, nursery: trio.Nursery) -> None:
    async with a_pool(desk) as pool:
        taking = Taking(pool, directory="/srv/work")
        nursery.start_soon(taking)
        await quiet()
        taking.scope.cancel()
        await quiet()
        assert desk.killed == [1]
        desk.build(1)  # it was on its way
        assert desk.given_back(1)


async def test_the_death_of_the_spawner_ends_the_wait_for_a_cell_with_a_directory(
    desk: Desk, nursery: trio.Nursery
) -> None:
    async with a_pool(desk) as pool:
        taking = Taking(pool, directory="/srv/work")
        nursery.start_soon(taking)
        await quiet()
        pool.spawner_died()
        await quiet()
        assert taking.failure == "SandboxError: the spawner died"


async def test_closing_gives_every_ready_cell_back(desk: Desk) -> None:
    async with a_pool(desk, STRICT):
        desk.build_all()
    assert desk.given_back(1)
    assert desk.given_back(2)

"""Ledger reports over lives of the agent: the way a new life goes before the control plane has said what it speaks."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from lattice_agent.link.answer import Answer
from lattice_agent.link.features import Features
from lattice_agent.wire.ext import USAGE_LEDGER
from tests.unit.report.test_usage import World
from tests.unit.report.usage_world import BASE, LEDGER, Plane


class LedgerPlane(Plane):
    """A server that keeps one ledger beside its snapshot."""

    seq = -1
    taken: Mapping[str, int] = {}
    speaks_ledger = True

    def serve(self, path: str, request: Mapping[str, Any]) -> Answer:
        if path != LEDGER or not self.speaks_ledger:
            return super().serve(path, request)
        ledger = request.get("ledger")
        if ledger and ledger["seq"] > self.seq:
            self.server.billed.update(
                {user: total - self.taken.get(user, 0) for user, total in ledger["totals"].items()}
            )
            self.seq, self.taken = ledger["seq"], {**self.taken, **ledger["totals"]}
        return Answer(200, {}, b'{"users_ignored": 0}')


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.plane = world.agent.plane = LedgerPlane(world.server, world.faults)
    world.agent.features.announced({USAGE_LEDGER})
    return world


async def die_with_a_report_on_its_way(world: World) -> None:
    """100 bytes are billed; a report of 50 more has found no server when the agent dies."""
    move = world.cores[0].move
    down = (30.0, lambda: setattr(world.plane, "status", 503))
    await world.run(60, (5, lambda: move("ann", 100)), down, (35, lambda: move("ann", 50)))
    assert world.billed()["ann"] == 100
    assert world.agent.books is not None
    assert world.agent.books.standing.account.told == {"ann": 150}
    world.agent.features = Features()
    world.plane.status = None


async def test_what_was_told_in_vain_is_told_by_the_next_life(autojump_clock: MockClock, world: World) -> None:
    await die_with_a_report_on_its_way(world)
    await world.run(60, (30, partial(world.agent.features.announced, {USAGE_LEDGER})))
    assert world.billed()["ann"] == 150


async def test_the_way_is_kept_until_another_answer_is_heard(autojump_clock: MockClock, world: World) -> None:
    await die_with_a_report_on_its_way(world)
    before = len(world.plane.seen)
    await world.run(60)
    assert [path for _, path, _ in world.plane.seen[before:] if path == BASE] == []


async def test_a_server_that_has_unlearnt_it_bills_less_rather_than_twice(
    autojump_clock: MockClock, world: World
) -> None:
    await die_with_a_report_on_its_way(world)
    world.plane.speaks_ledger = False
    move = (40.0, partial(world.cores[0].move, "ann", 7))
    await world.run(80, (20, partial(world.agent.features.announced, frozenset())), move)
    assert world.billed()["ann"] == 107

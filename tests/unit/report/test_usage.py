"""Usage reports in virtual time: what is sent when, and that nothing which goes wrong bills too much or too little."""

import json
import logging
import random
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.link.answer import Answer
from lattice_agent.link.errors import Reason, UnreachableError
from lattice_agent.wire.ext import USAGE_LEDGER
from tests.rigs.extent import extent
from tests.unit.report.usage_world import BASE, LEDGER, NOW, Agent, CoreSource, Faults, Killed, Plane
from tests.unit.usage.ledger_world import StubServer
from tests.unit.usage.world import Core, Server

USERS = ("ann", "bob")


class World:
    """One agent, one or two cores, one server."""

    def __init__(self, place: Path, seed: int = 1, cores: int = 1, server: Server | StubServer | None = None) -> None:
        self.faults = Faults(random.Random(seed))
        self.cores = [Core() for _ in range(cores)]
        self.server = server or Server(set(USERS))
        self.plane = Plane(self.server, self.faults)
        sources = [CoreSource(core, f"core-{number}") for number, core in enumerate(self.cores)]
        self.agent = Agent(place, self.plane, sources, self.faults)

    async def run(self, seconds: float, *events: tuple[float, Callable[[], object]]) -> None:
        """So long, with what happens after so many seconds."""
        begun = trio.current_time()

        async def act(at: float, event: Callable[[], object]) -> None:
            await trio.sleep_until(begun + at)
            event()

        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for at, event in events:
                    nursery.start_soon(act, at, event)
                await self.agent.live_for_ever()

    def announce(self, *features: str) -> None:
        self.agent.features.announced(features)

    def totals_sent(self) -> list[dict[str, Any]]:
        return [request["ledger"] for _, path, request in self.plane.seen if path == LEDGER and "ledger" in request]

    def sent(self) -> list[dict[str, Any]]:
        return [request["snapshot"] for _, path, request in self.plane.seen if path == BASE]

    def is_all_on_disk(self) -> bool:
        """Whether the books of the living agent have everything that was moved."""
        totals = self.agent.books.totals() if self.agent.books else {}
        return all(totals.get(user, 0) == count for user, count in self.truth().items())

    def truth(self) -> dict[str, int]:
        return {user: sum(core.truth[user] for core in self.cores) for user in USERS}

    def billed(self) -> dict[str, int]:
        return {user: self.server.billed[user] for user in USERS}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_it_begins_with_a_zero_report_and_then_tells_values(autojump_clock: MockClock, world: World) -> None:
    world.cores[0].counters["ann"] = 5000  # before the ledger began
    await world.run(35, (5, lambda: world.cores[0].move("ann", 100)), (15, lambda: world.cores[0].move("ann", 20)))
    sent = [one["user_bytes"] for one in world.sent()]
    assert sent[:2] == [{}, {}]
    assert sent[-1] == {"ann": 120}
    assert all(one["core_uptime_sec"] == 0 for one in world.sent())
    assert world.billed() == {"ann": 120, "bob": 0}


async def test_readings_and_reports_have_their_own_rhythm(autojump_clock: MockClock, world: World) -> None:
    readings = 0
    source = world.agent.sources[0]
    read = source._read

    async def counted() -> Any:
        nonlocal readings
        readings += 1
        return await read()

    source._read = counted  # type: ignore[method-assign]
    await world.run(100)
    assert 45 <= readings <= 55
    assert 9 <= len(world.sent()) <= 13


async def test_weak_point_10_a_report_of_unknown_fate_is_repeated_byte_for_byte(
    autojump_clock: MockClock, world: World
) -> None:
    moved = [(float(at), lambda: world.cores[0].move("ann", 10)) for at in range(1, 200)]
    lose = (50.0, lambda: setattr(world.plane, "status", 500))
    back = (130.0, lambda: setattr(world.plane, "status", None))
    await world.run(200, *moved, lose, back)
    during = {json.dumps(request) for at, _, request in world.plane.seen if 55 < at < 130}
    assert len(during) == 1
    assert world.billed()["ann"] == pytest.approx(world.truth()["ann"], abs=120)
    assert world.billed()["ann"] <= world.truth()["ann"]


class DeadlyPlane(Plane):
    """The agent dies as soon as the server has taken the first values report, which is then refused for a while."""

    died = False

    async def post(self, path: str, body: bytes, *, urgent: bool = False) -> Answer:
        answer = await super().post(path, body, urgent=urgent)
        if self.server.billed["ann"] and not self.died:
            self.died = self.server.refuses = True
            raise Killed
        return answer


async def test_a_refused_report_of_an_earlier_life_counts_as_billed(autojump_clock: MockClock, world: World) -> None:
    world.plane = world.agent.plane = DeadlyPlane(world.server, world.faults)
    accept = (90.0, lambda: setattr(world.server, "refuses", False))
    await world.run(200, (5, lambda: world.cores[0].move("ann", 100)), accept)
    assert world.agent.lives == 2
    assert world.billed()["ann"] == 100


async def test_without_a_profile_nothing_is_owed(autojump_clock: MockClock, world: World) -> None:
    world.server.has_profile = False
    move = [(float(at), lambda: world.cores[0].move("ann", 10)) for at in range(1, 300)]
    await world.run(300, *move, (200.5, lambda: setattr(world.server, "has_profile", True)))
    assert 950 <= world.billed()["ann"] <= 1000 + 10 * 61  # what came after, and one report interval (with back-off)


async def test_users_that_are_none_yet_are_not_billed_their_past(autojump_clock: MockClock, world: World) -> None:
    world.server.users = {"bob"}
    move = [(float(at), lambda: world.cores[0].move("ann", 10)) for at in range(1, 200)]
    await world.run(200, *move, (100.5, lambda: world.server.users.add("ann")))
    assert 900 <= world.billed()["ann"] <= 1000 + 2 * 120


async def test_one_source_of_two_failing_is_named_and_its_users_stay(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, cores=2)
    await world.run(
        60,
        (1, lambda: world.cores[0].move("ann", 7)),
        (1, lambda: world.cores[1].move("bob", 9)),
        (30, lambda: setattr(world.agent.sources[1], "problem", "down")),
        (31, lambda: world.cores[0].move("ann", 1)),
    )
    assert world.billed() == {"ann": 8, "bob": 9}
    last_values, last_health = world.sent()[-2:]
    assert last_values["user_bytes"] == {"ann": 8, "bob": 9}
    assert (last_values["collector_source"], last_values["collector_status"]) == ("multi", "ok")
    assert last_health["collector_status"] == "error"
    assert "core-1 failed: OSError: down" in last_health["collector_error"]
    assert last_health["user_bytes"] is None
    assert caplog.text.count("core-1 failed") == 1


async def test_all_sources_failing_is_health_only(autojump_clock: MockClock, world: World) -> None:
    world.agent.sources[0].problem = "down"
    await world.run(60)
    assert world.sent()
    assert all(one["user_bytes"] is None and one["collector_status"] == "error" for one in world.sent())


async def test_an_id_that_the_server_would_refuse_is_named_once_and_a_name_helps(
    autojump_clock: MockClock, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    world.agent.names = {"bob@example": "bob"}
    await world.run(
        60,
        (1, lambda: world.cores[0].move("ann@example", 7)),
        (1, lambda: world.cores[0].move("bob@example", 9)),
    )
    assert world.billed() == {"ann": 0, "bob": 9}
    assert caplog.text.count("ann@example") == 1


async def test_a_core_that_restarts_while_it_is_read_is_billed_once(autojump_clock: MockClock, world: World) -> None:
    core, source = world.cores[0], world.agent.sources[0]
    read = source._read

    async def slow() -> Any:
        source._read = read  # type: ignore[method-assign]
        await trio.sleep(1.2)
        core.restart(trio.current_time())
        core.move("ann", 30)
        await trio.sleep(1.3)
        return await read()

    await world.run(60, (5, lambda: core.move("ann", 100)), (20, lambda: setattr(source, "_read", slow)))
    assert world.billed()["ann"] == 130


@pytest.mark.parametrize("wire", ["base", "ledger"])
async def test_what_was_never_sent_is_billed_after_a_refusal(
    autojump_clock: MockClock, tmp_path: Path, wire: str
) -> None:
    world = World(tmp_path, server=StubServer(set(USERS)))
    world.announce(*([USAGE_LEDGER] if wire == "ledger" else []))
    await world.run(
        600,
        (5, lambda: world.cores[0].move("ann", 100)),
        (28, lambda: setattr(world.plane, "is_down", True)),
        (30, lambda: world.cores[0].move("ann", 7)),
        (60, lambda: setattr(world.plane, "status", 400)),
        (60, lambda: setattr(world.plane, "is_down", False)),
        (300, lambda: setattr(world.plane, "status", None)),
    )
    assert world.billed()["ann"] == 107


def dies() -> None:
    raise Killed


def is_not_heard() -> None:
    raise UnreachableError("no answer", reason=Reason.TIMEOUT)


@pytest.mark.parametrize("wire", ["base", "ledger"])
@pytest.mark.parametrize("misfortune", ["death", "full disk", "no answer"])
async def test_a_refusal_of_what_was_taken_unnoticed_does_not_bill_it_again(
    autojump_clock: MockClock, tmp_path: Path, misfortune: str, wire: str
) -> None:
    world = World(tmp_path, server=StubServer(set(USERS)))
    world.announce(*([USAGE_LEDGER] if wire == "ledger" else []))

    def taken_unnoticed() -> None:
        world.plane.status = 400
        if misfortune == "death":
            dies()
        if misfortune == "no answer":
            is_not_heard()
        world.faults.disk_is_full = True

    await world.run(
        600,
        (5, lambda: world.cores[0].move("ann", 100)),
        (30, lambda: world.cores[0].move("ann", 7)),
        (30, lambda: setattr(world.plane, "after_billing", taken_unnoticed)),
        (60, lambda: setattr(world.faults, "disk_is_full", False)),
        (300, lambda: setattr(world.plane, "status", None)),
        (400, lambda: world.cores[0].move("ann", 1)),
    )
    assert world.billed()["ann"] == 108


def lose_state(place: Path) -> None:
    for file in place.glob("state.db*"):
        file.unlink()


async def test_a_lost_state_never_bills_twice(autojump_clock: MockClock, world: World, tmp_path: Path) -> None:
    await world.run(60, (1, lambda: world.cores[0].move("ann", 100)))
    assert world.billed()["ann"] == 100
    lose_state(tmp_path)
    await world.run(60, (30, lambda: world.cores[0].move("ann", 5)))
    assert world.billed()["ann"] == 105


async def test_a_damaged_document_begins_a_new_ledger(
    autojump_clock: MockClock, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await world.run(60, (1, lambda: world.cores[0].move("ann", 100)))
    with sqlite3.connect(tmp_path / "state.db") as database:
        database.execute("UPDATE usage_document SET document = x'00' WHERE name LIKE 'source:%'")
    database.close()
    await world.run(60, (30, lambda: world.cores[0].move("ann", 5)))
    assert world.billed()["ann"] == 105
    assert "a new one is begun" in caplog.text


async def test_with_the_extension_totals_are_told_and_only_of_who_has_moved(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    world = World(tmp_path, server=StubServer(set(USERS)))
    world.announce(USAGE_LEDGER)
    await world.run(45, (5, lambda: world.cores[0].move("ann", 100)), (25, lambda: world.cores[0].move("bob", 20)))
    sent = world.totals_sent()
    assert [one["totals"] for one in sent] == [{"ann": 100}, {"bob": 20}]
    assert [one["seq"] for one in sent] == [1, 2]
    assert len({one["id"] for one in sent}) == 1
    assert world.sent() == []
    assert world.billed() == {"ann": 100, "bob": 20}


async def test_an_extension_that_is_announced_and_missing_costs_nothing(
    autojump_clock: MockClock, world: World
) -> None:
    announce = (21, lambda: world.announce(USAGE_LEDGER))
    await world.run(
        60, (5, lambda: world.cores[0].move("ann", 93)), (21, lambda: world.cores[0].move("ann", 7)), announce
    )
    assert [path for _, path, _ in world.plane.seen].count(LEDGER) == 1
    assert world.billed()["ann"] == 100


async def test_without_a_profile_nothing_is_owed_to_a_ledger_either(autojump_clock: MockClock, tmp_path: Path) -> None:
    world = World(tmp_path, server=StubServer(set(USERS), has_profile=False))
    world.announce(USAGE_LEDGER)
    move = [(float(at), lambda: world.cores[0].move("ann", 10)) for at in range(1, 300)]
    await world.run(300, *move, (200.5, lambda: setattr(world.server, "has_profile", True)))
    assert 950 <= world.billed()["ann"] <= 1000 + 10 * 61  # what came after, and one report interval (with back-off)
    assert world.sent() == []


WIRES = {"base": ((), ()), "ledger": ((USAGE_LEDGER,), (USAGE_LEDGER,)), "coming and going": ((), (USAGE_LEDGER,))}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.sized
@pytest.mark.parametrize("seed", range(extent(12, 150)))
async def test_every_byte_is_billed_once_whatever_dies_and_gets_lost(
    autojump_clock: MockClock, tmp_path: Path, seed: int, wire: str
) -> None:
    """Requests and answers get lost, the agent dies before and after writes, cores restart after they were read, ledger
    reports come late and again, the wall clock jumps, and the extension is announced or not."""
    world = World(tmp_path, seed, cores=2, server=Server(set(USERS)) if wire == "base" else StubServer(set(USERS)))
    rng = random.Random(seed)
    world.agent.wall_now = lambda: NOW + timedelta(hours=rng.randint(-1000, 1000))
    world.announce(*WIRES[wire][-1])

    async def lead() -> None:
        await until(lambda: world.agent.books is not None and len(world.agent.books.sources) == 2)
        world.faults.on = True
        for _ in range(rng.randint(3, 6)):
            for _ in range(rng.randint(1, 20)):
                rng.choice(world.cores).move(rng.choice(USERS), rng.randint(1, 10_000))
                await trio.sleep(rng.uniform(0.01, 2.0))
            core = rng.choice(world.cores)
            # Two runs of a core that are both younger than this cannot be told apart by whole seconds.
            await trio.sleep_until(core.started_s + 4.0)
            await until(world.is_all_on_disk)
            core.restart(trio.current_time())
            world.announce(*rng.choice(WIRES[wire]))
            await trio.sleep(rng.uniform(0, 60))
        world.faults.on = False
        world.announce(*WIRES[wire][-1])
        for user in USERS:
            world.cores[0].move(user, 1)  # what may have been told over the other wire is told again with the next byte
        await until(lambda: world.billed() == world.truth())

    with trio.fail_after(20_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.agent.live_for_ever)
            await lead()
            nursery.cancel_scope.cancel()
    await world.run(60)  # and nothing more comes
    assert world.billed() == world.truth()


async def until(condition: Callable[[], bool]) -> None:
    """Looks twice a (virtual) second."""
    while not condition():  # noqa: ASYNC110 - what others do sends no event
        await trio.sleep(0.5)

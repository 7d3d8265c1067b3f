"""The inventory's report in virtual time: when it is collected, when it is sent, and what it says of changes."""

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.link.features import Features
from lattice_agent.link.health import LinkHealth
from lattice_agent.link.line import Line
from lattice_agent.report.inventory import PATH, InventoryService, fitting_report
from lattice_agent.wire.base import BODY_LIMIT, decode
from lattice_agent.wire.host_inventory import (
    MAX_ADDRESSES,
    MAX_DISKS,
    MAX_FILESYSTEMS,
    MAX_INTERFACES,
    TEXT_BYTES,
    Cpu,
    Disk,
    FileSystem,
    HostInventory,
    HostInventoryReport,
    Interface,
)
from tests.unit.report.test_heartbeat import MOMENT, ScriptedPlane, directly

WANTED = ["facts.inventory"]


class Host:
    """A host that changes when a test says so."""

    def __init__(self) -> None:
        self.inventory = HostInventory(cpu=Cpu(cores=2), filesystems=(FileSystem(mount_point="/", used_bytes=1),))
        self.collected = 0

    def collect(self, now: datetime) -> HostInventory:
        self.collected += 1
        used = FileSystem(mount_point="/", used_bytes=self.collected)
        return self.inventory.model_copy(update={"collected_at": now, "filesystems": (used,)})


def service(plane: ScriptedPlane, features: Features, host: Host, **changes: Any) -> InventoryService:
    line = Line(plane, LinkHealth(on_change=lambda change: None))  # type: ignore[arg-type]  # stands in
    parts: dict[str, Any] = {
        "node_id": "node-1",
        "collect": host.collect,
        "run_sync": directly,
        "wall_now": lambda: MOMENT,
        "rng": random.Random(1),
    }
    return InventoryService(line, features, **{**parts, **changes})


@pytest.fixture
def wanted() -> Features:
    features = Features()
    features.announced(WANTED)
    return features


async def run_for(seconds: float, what: InventoryService, *events: tuple[float, Callable[[], None]]) -> None:
    async def act(at: float, event: Callable[[], None]) -> None:
        await trio.sleep(at)
        event()

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for at, event in events:
                nursery.start_soon(act, at, event)
            await what.run()


async def test_nothing_is_collected_while_nobody_wants_it(autojump_clock: MockClock) -> None:
    plane, host = ScriptedPlane(), Host()
    await run_for(1000, service(plane, Features(), host))
    assert (plane.seen, host.collected) == ([], 0)


async def test_it_is_sent_at_once_and_then_when_ten_minutes_have_passed(
    autojump_clock: MockClock, wanted: Features
) -> None:
    plane, host = ScriptedPlane(), Host()
    await run_for(3600, service(plane, wanted, host))
    times = plane.times(PATH)
    assert times[0] < 1
    assert 5 <= len(times) <= 7
    assert 55 <= host.collected <= 65  # once a minute, although how full the file system is moves each time
    assert plane.seen[0][2]["inventory"]["cpu"] == {"cores": 2}
    assert not plane.seen[0][3]  # never in the heartbeat's lane


async def test_a_change_is_sent_within_the_minute_and_logged_once(
    autojump_clock: MockClock, wanted: Features, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    plane, host = ScriptedPlane(), Host()

    def grow() -> None:
        host.inventory = host.inventory.model_copy(update={"disks": (Disk(name="sdb"),)})

    await run_for(500, service(plane, wanted, host), (200, grow))
    assert len(plane.times(PATH)) == 2
    assert 200 < plane.times(PATH)[1] <= 270
    assert caplog.text.count("inventory: disks[sdb]: new") == 1


async def test_while_the_server_is_away_it_is_tried_again_and_then_taken(
    autojump_clock: MockClock, wanted: Features
) -> None:
    plane, host = ScriptedPlane(), Host()
    plane.status = lambda path: None if trio.current_time() < 900 else 200
    await run_for(1100, service(plane, wanted, host))
    times = plane.times(PATH)
    assert 10 <= len(times) <= 40
    assert 900 <= times[-1] <= 980


async def test_a_refusal_ends_it_and_is_said_once(
    autojump_clock: MockClock, wanted: Features, caplog: pytest.LogCaptureFixture
) -> None:
    plane, host = ScriptedPlane(), Host()
    plane.status = lambda path: 404
    await run_for(3600, service(plane, wanted, host))
    assert len(plane.times(PATH)) == 1
    assert caplog.text.count("refuses the inventory") == 1
    assert not wanted.has("facts.inventory")


async def test_a_server_that_comes_back_with_the_announcement_gets_it_anew(
    autojump_clock: MockClock, wanted: Features
) -> None:
    plane, host = ScriptedPlane(), Host()
    await run_for(
        400,
        service(plane, wanted, host),
        (100, lambda: wanted.announced([])),
        (200, lambda: wanted.announced(WANTED)),
    )
    assert len(plane.times(PATH)) == 2
    assert 200 <= plane.times(PATH)[1] <= 210


LONG = "x" * TEXT_BYTES


def huge() -> HostInventory:
    texts = {"device": LONG, "mount_point": LONG, "type": LONG, "uuid": LONG}
    links = {"mac": LONG, "driver": LONG, "master": LONG, "state": LONG, "addresses": (LONG,) * MAX_ADDRESSES}
    return HostInventory(
        collected_at=datetime(2026, 1, 1, tzinfo=UTC),
        cpu=Cpu(cores=2),
        disks=tuple(Disk(name=str(number), model=LONG, serial=LONG, transport=LONG) for number in range(MAX_DISKS)),
        filesystems=tuple(FileSystem(**texts) for _ in range(MAX_FILESYSTEMS)),
        interfaces=tuple(Interface(name=str(number), **links) for number in range(MAX_INTERFACES)),
    )


def test_a_report_that_would_be_too_long_goes_out_without_its_longest_list() -> None:
    body = fitting_report("node-1", huge())
    assert len(body) <= BODY_LIMIT
    told = decode(HostInventoryReport, body).inventory
    assert told.interfaces == ()
    assert [gap.family for gap in told.gaps] == ["interfaces"]
    assert told.cpu == Cpu(cores=2)
    assert len(told.disks) == MAX_DISKS


def test_a_report_that_fits_is_whole() -> None:
    told = decode(HostInventoryReport, fitting_report("node-1", HostInventory(cpu=Cpu(cores=2))))
    assert told == HostInventoryReport(node_id="node-1", inventory=HostInventory(cpu=Cpu(cores=2)))


async def test_a_host_without_threads_or_descriptors_ends_nothing(
    wanted: Features, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, not with every attempt; then it is collected."""
    plane, host = ScriptedPlane(), Host()
    left = [OSError(24, "Too many open files")] * 5

    async def run_sync(collect: Callable[..., HostInventory], *args: Any) -> HostInventory:
        if left:
            raise left.pop()
        return await directly(collect, *args)

    caplog.set_level(logging.INFO)
    await run_for(600, service(plane, wanted, host, run_sync=run_sync))
    assert host.collected > 2
    told = [message for message in caplog.messages if "collected" in message]
    assert told == [
        "inventory not collected: Too many open files; tried again in a minute",
        "inventory collected again",
    ]

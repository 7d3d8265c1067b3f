"""The address service in virtual time: probes at once, then every two minutes, and keeps what it knew."""

from collections.abc import Callable
from typing import Any

import trio
from trio.testing import MockClock

from lattice_agent.facts.address_plan import AddressFlags, AddressPlan
from lattice_agent.facts.addresses import AddressPair
from lattice_agent.report.addresses import AddressService
from lattice_agent.wire.config import IpConfig


class World:
    """What the service asks, and what it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.ran: list[tuple[str, str, int, int]] = []
        self.found = AddressPair("9.9.9.9", "")
        self.output: str | None = "8.8.8.8, 2620:fe::fe;"

    async def ask(self, plan: AddressPlan) -> tuple[AddressPair, tuple[str, ...]]:
        self.asked.append(plan.ask_v4)
        await trio.sleep(1)
        return self.found, ("a problem",)

    async def run_script(self, interpreter: str, script: str, timeout_s: int, output_limit: int) -> str | None:
        self.ran.append((interpreter, script, timeout_s, output_limit))
        await trio.sleep(1)
        return self.output


async def directly(fn: Callable[[], Any]) -> Any:
    await trio.lowlevel.checkpoint()
    return fn()


def service(world: World, **flags: Any) -> AddressService:
    return AddressService(
        AddressFlags(**flags),
        "10.9.0.1",
        internal=lambda: AddressPair("10.0.0.5", "fd00::5"),
        ask=world.ask,
        run_script=world.run_script,
        run_sync=directly,
    )


async def test_weak_point_22_auto_asks_nobody(autojump_clock: MockClock) -> None:
    world = World()
    addresses = service(world)
    with trio.move_on_after(1000):
        await addresses.run()
    assert (world.asked, world.ran) == ([], [])
    now = addresses.current()
    assert (now.public_ip, now.internal_ip, now.wireguard_ip) == ("", "10.0.0.5", "10.9.0.1")


async def test_trap_03_an_address_the_server_would_refuse_is_not_sent(autojump_clock: MockClock) -> None:
    addresses = service(World(), public_ip="192.168.1.5", mode="static")
    with trio.move_on_after(10):
        await addresses.run()
    assert addresses.current().public_ip == ""


async def test_resolvers_are_asked_every_two_minutes(autojump_clock: MockClock) -> None:
    world = World()
    addresses = service(world, resolvers=("https://one.example",))
    with trio.move_on_after(600):
        await addresses.run()
    assert 4 <= len(world.asked) <= 6
    assert addresses.current().public_ip == "9.9.9.9"


async def test_a_change_of_plan_is_carried_out_at_once_and_absence_restores_the_flags(
    autojump_clock: MockClock,
) -> None:
    world = World()
    addresses = service(world, public_ip="1.2.3.4")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(addresses.run)
        await trio.sleep(5)
        assert addresses.current().public_ip == "1.2.3.4"
        addresses.override(IpConfig(mode="script", script="#!/bin/bash\necho x"))
        await trio.sleep(2)
        assert (addresses.current().public_ip, addresses.current().public_ipv6) == ("8.8.8.8", "2620:fe::fe")
        assert world.ran == [("bash", "#!/bin/bash\necho x", 8, 4096)]
        addresses.override(None)
        await trio.sleep(2)
        assert (addresses.current().public_ip, addresses.current().public_ipv6) == ("1.2.3.4", "")
        nursery.cancel_scope.cancel()


async def test_a_script_that_fails_keeps_what_was_known(autojump_clock: MockClock) -> None:
    world = World()
    addresses = service(world, mode="script", script="x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(addresses.run)
        await trio.sleep(5)
        world.output = None
        await trio.sleep(200)
        assert len(world.ran) == 2
        assert addresses.current().public_ip == "8.8.8.8"
        nursery.cancel_scope.cancel()


async def test_a_probe_that_finds_nothing_keeps_what_was_known(autojump_clock: MockClock) -> None:
    world = World()
    addresses = service(world, resolvers=("https://one.example",))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(addresses.run)
        await trio.sleep(5)
        world.found = AddressPair("", "2620:fe::fe")
        await trio.sleep(130)
        assert (addresses.current().public_ip, addresses.current().public_ipv6) == ("9.9.9.9", "2620:fe::fe")
        nursery.cancel_scope.cancel()


async def test_internal_addresses_that_hang_hold_up_nothing(autojump_clock: MockClock) -> None:
    world = World()

    async def hangs(fn: Callable[[], Any]) -> Any:
        await trio.sleep_forever()

    addresses = AddressService(
        AddressFlags(resolvers=("https://one.example",)),
        "",
        internal=lambda: AddressPair(),
        ask=world.ask,
        run_script=world.run_script,
        run_sync=hangs,
    )
    with trio.move_on_after(20):
        await addresses.run()
    assert addresses.current().public_ip == "9.9.9.9"

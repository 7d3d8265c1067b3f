from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.changes import MAX_CHANGES, inventory_changes
from lattice_agent.wire.fact import Gap
from lattice_agent.wire.host_inventory import Cpu, Disk, FileSystem, HostInventory, Interface, MemorySize

SDA, SDB = Disk(name="sda", size_bytes=1), Disk(name="sdb", size_bytes=2)
ROOT = FileSystem(mount_point="/", uuid="1", used_bytes=5, available_bytes=6, inodes_used=7)


def inventory(**fields: Any) -> HostInventory:
    return HostInventory(**fields)


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (inventory(), inventory(), ()),
        (inventory(cpu=Cpu(cores=2)), inventory(cpu=Cpu(cores=4)), ("cpu.cores: 2 -> 4",)),
        (inventory(cpu=Cpu(model="A")), inventory(cpu=Cpu()), ('cpu.model: "A" -> unknown',)),
        (inventory(cpu=Cpu(flags=("aes",))), inventory(cpu=Cpu()), ('cpu.flags: ["aes"] -> unknown',)),
        (inventory(), inventory(memory=MemorySize(total_bytes=1)), ("memory: new",)),
        (inventory(disks=(SDA,)), inventory(disks=(SDA, SDB)), ("disks[sdb]: new",)),
        (inventory(disks=(SDA, SDB)), inventory(disks=(SDB,)), ("disks[sda]: gone",)),
        (inventory(disks=(SDA, SDB)), inventory(disks=(SDB, SDA)), ()),
        (
            inventory(interfaces=(Interface(name="eth0", state="up"),)),
            inventory(interfaces=(Interface(name="eth0", state="down"),)),
            ('interfaces[eth0].state: "up" -> "down"',),
        ),
        (inventory(), inventory(gaps=(Gap(family="disks", reason="late"),)), ("gaps[disks]: new",)),
    ],
)
def test_changes_are_told_by_field(before: HostInventory, after: HostInventory, changes: tuple[str, ...]) -> None:
    assert inventory_changes(before, after) == changes


def test_how_full_a_file_system_is_is_no_change_but_its_size_is() -> None:
    before = inventory(filesystems=(ROOT,), collected_at=datetime(2026, 1, 1, tzinfo=UTC))
    fuller = ROOT.model_copy(update={"used_bytes": 8, "available_bytes": 3, "inodes_used": 9, "inodes": 5})
    after = inventory(filesystems=(fuller,), collected_at=datetime(2026, 1, 2, tzinfo=UTC))
    assert inventory_changes(before, after) == ()
    grown = ROOT.model_copy(update={"size_bytes": 99})
    assert inventory_changes(before, inventory(filesystems=(grown,))) == ("filesystems[/].size_bytes: unknown -> 99",)


def test_there_is_an_end_to_it() -> None:
    many = inventory(disks=tuple(Disk(name=f"sd{number}") for number in range(250)))
    assert len(inventory_changes(inventory(), many)) == MAX_CHANGES


disks = st.lists(st.builds(Disk, name=st.sampled_from("abc"), size_bytes=st.none() | st.integers(0, 3)), max_size=3)


@given(disks, disks)
def test_nothing_is_told_exactly_when_nothing_has_changed(one: list[Disk], two: list[Disk]) -> None:
    before, after = {disk.name: disk for disk in one}, {disk.name: disk for disk in two}
    told = inventory_changes(inventory(disks=tuple(before.values())), inventory(disks=tuple(after.values())))
    assert (told == ()) == (before == after)

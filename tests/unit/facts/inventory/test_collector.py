"""The collector: reads again only what has moved, and turns what fails into gaps."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lattice_agent.facts.errors import FactsError
from lattice_agent.facts.inventory.collector import Family, InventoryCollector
from lattice_agent.facts.inventory.families import inventory_families
from lattice_agent.wire.fact import Gap
from lattice_agent.wire.host_inventory import Cpu, Disk, FileSystem, HostInventory, MemorySize, System

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROOT = Path("/nowhere")


class Host:
    """A family whose fingerprint and value a test moves, and which counts how often it is read."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.fingerprint: Any = 1
        self.reads = 0

    def family(self) -> Family:
        return Family(lambda root: self.fingerprint, self.read)

    def read(self, root: Path) -> Any:
        assert root == ROOT
        self.reads += 1
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def test_what_has_not_moved_is_not_read_again() -> None:
    cpu, memory = Host(Cpu(cores=2)), Host(MemorySize(total_bytes=1))
    collector = InventoryCollector({"cpu": cpu.family(), "memory": memory.family()}, ROOT)
    for _ in range(3):
        assert collector.collect(NOW) == HostInventory(
            collected_at=NOW, cpu=Cpu(cores=2), memory=MemorySize(total_bytes=1)
        )
    memory.fingerprint, memory.value = 2, MemorySize(total_bytes=2)
    assert collector.collect(NOW).memory == MemorySize(total_bytes=2)
    assert (cpu.reads, memory.reads) == (1, 2)


def test_the_quick_part_of_a_family_is_always_fresh() -> None:
    filesystems = Host((FileSystem(device="/dev/sda1", used_bytes=1),))
    used = iter(range(2, 10))

    def refresh(known: tuple[FileSystem, ...]) -> tuple[FileSystem, ...]:
        return tuple(one.model_copy(update={"used_bytes": next(used)}) for one in known)

    family = Family(lambda root: filesystems.fingerprint, filesystems.read, refresh)
    collector = InventoryCollector({"filesystems": family}, ROOT)
    assert [collector.collect(NOW).filesystems[0].used_bytes for _ in range(3)] == [1, 2, 3]
    assert filesystems.reads == 1


def test_a_family_that_fails_is_a_gap_and_is_tried_again() -> None:
    disks, system = Host(FactsError("/sys/block: Permission denied")), Host(System(id="debian"))
    collector = InventoryCollector({"disks": disks.family(), "system": system.family()}, ROOT)
    told = collector.collect(NOW)
    assert told.gaps == (Gap(family="disks", reason="/sys/block: Permission denied"),)
    assert (told.disks, told.system) == ((), System(id="debian"))
    disks.value = (Disk(name="sda"),)
    told = collector.collect(NOW)
    assert (told.disks, told.gaps) == ((Disk(name="sda"),), ())


def test_a_family_that_fails_later_does_not_show_what_it_was() -> None:
    disks = Host((Disk(name="sda"),))
    collector = InventoryCollector({"disks": disks.family()}, ROOT)
    collector.collect(NOW)
    disks.fingerprint, disks.value = 2, FactsError("/sys/block: gone")
    assert collector.collect(NOW).disks == ()


def test_a_reason_is_fit_to_be_sent() -> None:
    disks = Host(OSError("x" * 5000 + "\x1b[2J"))
    (gap,) = InventoryCollector({"disks": disks.family()}, ROOT).collect(NOW).gaps
    assert len(gap.reason.encode()) <= 256
    assert gap.reason.startswith("OSError: xxx")
    assert gap.reason.isprintable()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a hung file system waits for."""
    event = threading.Event()
    yield event
    event.set()


def test_a_file_system_that_hangs_is_a_gap_and_the_rest_is_there(gate: threading.Event) -> None:
    def hangs(root: Path) -> tuple[FileSystem, ...]:
        gate.wait(20)
        return ()

    families = {"filesystems": Family(lambda root: 1, hangs), "cpu": Host(Cpu(cores=2)).family()}
    collector = InventoryCollector(families, ROOT, deadline_s=0.1)
    for _ in range(3):
        told = collector.collect(NOW)
        assert told.gaps == (Gap(family="filesystems", reason="not read within 0.1 s"),)
        assert told.cpu == Cpu(cores=2)


def test_the_table_has_every_field_of_the_inventory_and_nothing_else() -> None:
    assert set(inventory_families()) == set(HostInventory.model_fields) - {"collected_at", "gaps"}


def test_this_machine_has_no_gap() -> None:
    told = InventoryCollector(inventory_families()).collect(NOW)
    assert told.gaps == ()
    assert told.cpu is not None
    assert told.system is not None

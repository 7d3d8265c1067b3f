"""The table of families: every field of the inventory and the module that reads it."""

from functools import partial

from lattice_agent.facts.inventory import (
    accelerators,
    cgroup,
    clock,
    cpu,
    disks,
    filesystems,
    hardware,
    interfaces,
    memory,
    packages,
    system,
    virtualization,
)
from lattice_agent.facts.inventory.collector import Family
from lattice_agent.facts.traffic import AUTOMATIC, Selection


def inventory_families(selection: Selection = AUTOMATIC, container_variable: str = "") -> dict[str, Family]:
    """All families by the name of their field, in the order of the message.

    ``selection`` decides which interfaces count; ``container_variable`` is the value of ``container`` in the
    environment the agent was started with.
    """
    return {
        "cpu": Family(cpu.fingerprint, cpu.read),
        "memory": Family(memory.fingerprint, memory.read),
        "cgroup": Family(cgroup.fingerprint, cgroup.read),
        "hardware": Family(hardware.fingerprint, hardware.read),
        "disks": Family(disks.fingerprint, disks.read),
        "filesystems": Family(filesystems.fingerprint, filesystems.read, filesystems.refresh),
        "interfaces": Family(interfaces.fingerprint, partial(interfaces.read, selection=selection)),
        "accelerators": Family(accelerators.fingerprint, accelerators.read),
        "virtualization": Family(
            virtualization.fingerprint, partial(virtualization.read, container_variable=container_variable)
        ),
        "system": Family(system.fingerprint, system.read),
        "clock": Family(clock.fingerprint, clock.read),
        "packages": Family(packages.fingerprint, packages.read),
    }

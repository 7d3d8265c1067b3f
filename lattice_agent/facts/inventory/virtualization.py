"""What the host runs in: hypervisor, virtual machine monitor and container, each with what it was told by."""

from collections.abc import Hashable
from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.container import read_container
from lattice_agent.facts.inventory.finding import Finding
from lattice_agent.facts.inventory.hypervisor import NO_HYPERVISOR, read_hypervisor
from lattice_agent.facts.inventory.monitor import read_monitor
from lattice_agent.facts.rooted import exists, read_text
from lattice_agent.wire.host_inventory import Virtualization

_NOTHING: Final = Finding("", "")
_MARKERS: Final = (".dockerenv", "run/.containerenv", "run/systemd/container", "run/host/container-manager")


def fingerprint(root: Path) -> Hashable:
    """The boot, within which a machine stays what it is, and the files that a container's init may write late."""
    boot = read_text(root, "proc/sys/kernel/random/boot_id")
    return boot, tuple(exists(root, path) for path in _MARKERS)


def read(root: Path, container_variable: str = "") -> Virtualization:
    """Raises nothing: there is no source that all of it depends on, and a text that is missing leaves its part empty.

    ``container_variable`` is the value of ``container`` in the environment that the agent was started with.
    """
    vm = read_hypervisor(root) or _NOTHING
    monitor = read_monitor(root) or _NOTHING
    container = read_container(root, container_variable) or _NOTHING
    if vm.name == "bochs":
        monitor = _NOTHING  # its tables carry the id that QEMU has taken over
    if monitor.name and vm == (NO_HYPERVISOR, ""):
        vm = _NOTHING  # who plays the machine is known, only not on which hypervisor
    return Virtualization(
        vm=vm.name,
        monitor=monitor.name,
        container=container.name,
        evidence=tuple(found.evidence for found in (vm, monitor, container) if found.evidence),
    )

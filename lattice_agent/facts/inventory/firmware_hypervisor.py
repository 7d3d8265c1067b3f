"""Hypervisors of machines without DMI: what the device tree (arm, riscv, power) and s390's ``/proc/sysinfo`` say."""

from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.finding import Finding, cite
from lattice_agent.facts.rooted import exists, names_in, read_text

_TREE: Final = "proc/device-tree"
_COMPATIBLE: Final = f"{_TREE}/hypervisor/compatible"
_COMPATIBLE_WORDS: Final = (("linux,kvm", "kvm"), ("xen", "xen"), ("vmware", "vmware"))
_DUMMY_BOARD: Final = "linux,dummy-virt"
"""The board that QEMU, Firecracker, Cloud Hypervisor and others put into their device trees alike."""

_PARTITION: Final = ("ibm,partition-name", "hmc-managed?")
_DISPLAY_OF_QEMU: Final = "chosen/qemu,graphic-width"
_CONTROL_PROGRAM: Final = "VM00 Control Program"


def read_firmware_hypervisor(root: Path) -> Finding | None:
    """What the firmware tables say; a finding without a name is a hypervisor that is not known."""
    return _read_device_tree(root) or parse_sysinfo(read_text(root, "proc/sysinfo"))


def _read_device_tree(root: Path) -> Finding | None:
    if compatible := read_text(root, _COMPATIBLE):
        return parse_compatible(compatible)
    if all(exists(root, f"{_TREE}/{name}") for name in _PARTITION) and not exists(root, f"{_TREE}/{_DISPLAY_OF_QEMU}"):
        return Finding("powervm", f"/{_TREE}/{_PARTITION[0]}")
    if node := next((name for name in names_in(root, _TREE) if "fw-cfg" in name), ""):
        return Finding("qemu", cite(f"/{_TREE}", node))
    return parse_board(read_text(root, f"{_TREE}/compatible"))


def parse_compatible(text: str) -> Finding:
    """The ``compatible`` list of the node ``hypervisor``; its strings end in zero bytes."""
    for word, hypervisor in _COMPATIBLE_WORDS:
        if word in text:
            return Finding(hypervisor, cite(f"/{_COMPATIBLE}", word))
    return Finding("", cite(f"/{_COMPATIBLE}", text))


def parse_board(compatible: str) -> Finding | None:
    """The ``compatible`` list of the whole machine."""
    boards = compatible.split("\0")
    if "qemu,pseries" in boards:
        return Finding("qemu", cite(f"/{_TREE}/compatible", "qemu,pseries"))
    if _DUMMY_BOARD in boards:
        return Finding("", cite(f"/{_TREE}/compatible", _DUMMY_BOARD))
    return None


def parse_sysinfo(text: str) -> Finding | None:
    """The control program of a guest of z/VM or KVM: ``VM00 Control Program: z/VM    6.4.0``."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == _CONTROL_PROGRAM and (program := " ".join(value.split())):
            return Finding(
                "zvm" if program.startswith("z/VM") else "kvm", cite(f"/proc/sysinfo {key.strip()}", program)
            )
    return None

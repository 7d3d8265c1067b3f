"""The hypervisor under this kernel, in the names and by the order of systemd-detect-virt(1).

That tool asks the processor (CPUID), which a program in Python cannot. Here the kernel's own conclusion from the same
answer takes its place: it offers a clock of the hypervisor, and sets the flag ``hypervisor``. Where both can tell they
agree, but for a KVM that poses as Hyper-V to please Windows: the tool says microsoft, we say what DMI says.
"""

import re
from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.dmi_vendors import by_maker, by_name, read_dmi
from lattice_agent.facts.inventory.finding import Finding, cite
from lattice_agent.facts.inventory.firmware_hypervisor import read_firmware_hypervisor
from lattice_agent.facts.inventory.smbios import BIOS_ENTRY, describes_virtual_machine
from lattice_agent.facts.rooted import exists, names_in, read_text
from lattice_agent.facts.virtualization import has_hypervisor_flag

NO_HYPERVISOR: Final = "none"
_ABOVE_CPUID: Final = frozenset({"oracle", "xen", "amazon", "parallels", "google"})
"""Names in DMI that say more than the processor would, which calls most of these kvm."""

_CLOCKS: Final = "sys/devices/system/clocksource/clocksource0/available_clocksource"
_KVM_CLOCK: Final = "kvm-clock"
_HYPERV_CLOCK: Final = "hyperv_clocksource"  # then _tsc_page or _msr
_PTP: Final = "sys/class/ptp"
_KVM_PTP: Final = "KVM virtual PTP"
_UML: Final = re.compile(r"^vendor_id\s*:\s*User Mode Linux", re.MULTILINE)
_XEN_TYPE: Final = "sys/hypervisor/type"
_XEN_FEATURES: Final = "sys/hypervisor/properties/features"
_XEN_CAPABILITIES: Final = "proc/xen/capabilities"
_HEX: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{1,16}")
_DOM0_BIT: Final = 11  # XENFEAT_dom0


def read_hypervisor(root: Path) -> Finding | None:
    """What was found: a hypervisor, one without a name (there is one, but which?) or ``none``.

    ``None`` is: nothing was found, and the processor could not be looked at.
    """
    cpuinfo = read_text(root, "proc/cpuinfo")
    dmi = read_dmi(root)
    named = by_name(dmi)
    if named and named.name in _ABOVE_CPUID:
        return named
    found = (
        parse_uml(cpuinfo)
        or _read_xen(root)
        or _read_kvm(root)
        or named
        or _read_hyperv(root)
        or _read_other_type(root)
        or read_firmware_hypervisor(root)
    )
    if found:
        return found
    if unnamed := _read_unnamed(root, cpuinfo):
        return by_maker(dmi) or unnamed
    return Finding(NO_HYPERVISOR, "") if cpuinfo.strip() else None


def _read_unnamed(root: Path, cpuinfo: str) -> Finding | None:
    """That there is a hypervisor, by what does not say which."""
    if has_hypervisor_flag(cpuinfo):
        return Finding("", cite("/proc/cpuinfo", "hypervisor"))
    return Finding("", cite(f"/{BIOS_ENTRY}", "virtual machine")) if describes_virtual_machine(root) else None


def parse_uml(cpuinfo: str) -> Finding | None:
    """A kernel that runs as a process (user-mode Linux) names itself as the processor's maker."""
    return Finding("uml", cite("/proc/cpuinfo vendor_id", "User Mode Linux")) if _UML.search(cpuinfo) else None


def _read_xen(root: Path) -> Finding | None:
    """A guest of Xen. Its first domain (dom0) sees the same files, but is the host: none."""
    xen_type = read_text(root, _XEN_TYPE).strip()
    if xen_type != "xen" and not exists(root, "proc/xen"):
        return None
    features, capabilities = read_text(root, _XEN_FEATURES), read_text(root, _XEN_CAPABILITIES)
    if is_dom0(features, capabilities):
        return Finding(NO_HYPERVISOR, cite("/sys/hypervisor" if features.strip() else f"/{_XEN_CAPABILITIES}", "dom0"))
    return Finding("xen", cite(f"/{_XEN_TYPE}", "xen") if xen_type == "xen" else "/proc/xen")


def is_dom0(features: str, capabilities: str) -> bool:
    """Whether Xen's feature bits (hex) say so or, where they cannot be read, the capabilities (``control_d``)."""
    word = features.strip()
    if _HEX.fullmatch(word):
        return bool(int(word, 16) >> _DOM0_BIT & 1)
    return "control_d" in capabilities.replace(",", " ").split()


def _read_kvm(root: Path) -> Finding | None:
    if _KVM_CLOCK in read_text(root, _CLOCKS).split():
        return Finding("kvm", cite("clocksource", _KVM_CLOCK))
    names = (f"{_PTP}/{name}/clock_name" for name in names_in(root, _PTP))
    found = next((name for name in names if read_text(root, name).strip() == _KVM_PTP), "")
    return Finding("kvm", cite(f"/{found}", _KVM_PTP)) if found else None


def _read_hyperv(root: Path) -> Finding | None:
    clocks = read_text(root, _CLOCKS).split()
    if clock := next((clock for clock in clocks if clock.startswith(_HYPERV_CLOCK)), ""):
        return Finding("microsoft", cite("clocksource", clock))
    devices = names_in(root, "sys/bus/vmbus/devices")
    return Finding("microsoft", cite("/sys/bus/vmbus/devices", devices[0])) if devices else None


def _read_other_type(root: Path) -> Finding | None:
    kind = read_text(root, _XEN_TYPE).strip()
    return Finding("", cite(f"/{_XEN_TYPE}", kind)) if kind else None

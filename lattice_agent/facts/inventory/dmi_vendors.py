"""Hypervisors by the names they write into SMBIOS, which the kernel shows in ``/sys/class/dmi/id``.

The fields are looked at in the order of systemd-detect-virt(1), and in each the names. Product before maker, because
QEMU is the maker of machines that KVM runs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.finding import Finding, cite
from lattice_agent.facts.lexical import clean_text
from lattice_agent.facts.rooted import read_text
from lattice_agent.wire.host_inventory import TEXT_BYTES

_PLACE: Final = "sys/class/dmi/id"
_FIELDS: Final = ("product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version")
_PREFIXES: Final = {
    "KVM": "kvm",
    "OpenStack": "kvm",
    "KubeVirt": "kvm",
    "Amazon EC2": "amazon",
    "QEMU": "qemu",
    "VMware": "vmware",
    "VMW": "vmware",
    "innotek GmbH": "oracle",
    "VirtualBox": "oracle",
    "Xen": "xen",
    "Bochs": "bochs",
    "Parallels": "parallels",
    "BHYVE": "bhyve",
    "Hyper-V": "microsoft",
    "Apple Virtualization": "apple",
    "Google Compute Engine": "google",
}
_MACHINES: Final = {
    "Oracle Corporation": "oracle",
    "Alibaba Cloud": "kvm",
    "Tencent Cloud": "kvm",
    "Nutanix": "kvm",
    "DigitalOcean": "kvm",
    "Hetzner": "kvm",
    "oVirt": "kvm",
    "Red Hat": "kvm",
}
"""Names that machines of metal carry as well: they only say which hypervisor it is when there is one."""

_BARE_METAL: Final = ".metal"  # of Amazon's instance types: i3.metal, m7i.metal-24xl


def read_dmi(root: Path) -> dict[str, str]:
    """The texts by field in the order they are looked at; "" where there is none."""
    return {field: clean_text(read_text(root, f"{_PLACE}/{field}"), TEXT_BYTES) for field in _FIELDS}


def by_name(dmi: Mapping[str, str]) -> Finding | None:
    """The hypervisor whose name stands at the beginning of a field."""
    product = dmi.get("product_name", "")
    if product.startswith("Virtual Machine") and dmi.get("sys_vendor", "").startswith("Microsoft Corporation"):
        return _finding("microsoft", "product_name", product)
    found = _first(dmi, _PREFIXES)
    return None if found and found.name == "amazon" and _BARE_METAL in product else found


def by_maker(dmi: Mapping[str, str]) -> Finding | None:
    """The hypervisor that a maker uses who also sells machines without one."""
    return _first(dmi, _MACHINES)


def _first(dmi: Mapping[str, str], names: Mapping[str, str]) -> Finding | None:
    for field in _FIELDS:
        value = dmi.get(field, "")
        for prefix, hypervisor in names.items():
            if value.startswith(prefix):
                return _finding(hypervisor, field, value)
    return None


def _finding(hypervisor: str, field: str, value: str) -> Finding:
    return Finding(hypervisor, cite(f"/{_PLACE}/{field}", value))

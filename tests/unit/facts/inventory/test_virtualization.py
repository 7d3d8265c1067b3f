import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.dmi_vendors import by_maker, by_name
from lattice_agent.facts.inventory.firmware_hypervisor import parse_board, parse_compatible, parse_sysinfo
from lattice_agent.facts.inventory.hypervisor import is_dom0, parse_uml
from lattice_agent.facts.inventory.monitor import parse_oem_id
from lattice_agent.facts.inventory.smbios import BIOS_ENTRY, parse_bios_entry
from lattice_agent.facts.inventory.virtualization import fingerprint, read
from lattice_agent.wire.host_inventory import TEXT_BYTES, Virtualization
from tests.unit.facts.trees import CPUINFO, write_tree

Files = dict[str, str | bytes]
METAL: Files = {"proc/cpuinfo": "vendor_id\t: ExampleVendor\nflags\t\t: fpu aes\n"}
GUEST: Files = {"proc/cpuinfo": CPUINFO}
ARM: Files = {"proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd\n"}
CLOCKS = "sys/devices/system/clocksource/clocksource0/available_clocksource"
KVM_CLOCK: Files = {CLOCKS: "tsc kvm-clock acpi_pm \n"}
HYPERV_CLOCK: Files = {CLOCKS: "hyperv_clocksource_tsc_page acpi_pm \n"}
XEN: Files = {"sys/hypervisor/type": "xen\n"}
TREE = "proc/device-tree"
BIOS = bytes([0, 26, 0, 0, 1, 2, 0, 0xE8, 3, 0xC3, 0xA9, *[0] * 7, 3])  # two bytes that would decode to one character
VM_BIT = {BIOS_ENTRY: BIOS + b"\x1c" + bytes(6)}
NO_VM_BIT = {BIOS_ENTRY: BIOS + b"\x0c" + bytes(6)}


def dmi(product: str = "", vendor: str = "", **fields: str) -> Files:
    texts = {"product_name": product, "sys_vendor": vendor, **fields}
    return {f"sys/class/dmi/id/{field}": f"{text}\n" for field, text in texts.items() if text}


def acpi(oem: str, checksum: bytes = b"\x10", table: str = "DSDT") -> Files:
    header = table.encode() + b"\x53\x0f\0\0\2" + checksum + oem.encode() + b"TABLEID " + bytes(12)
    return {f"sys/firmware/acpi/tables/{table}": header}


@pytest.mark.parametrize(
    ("files", "vm"),
    [
        # x86: the processor's word, DMI's, and which of them wins
        (METAL, "none"),
        (METAL | dmi("PowerEdge R640", "Dell Inc."), "none"),
        (METAL | dmi("SUN FIRE X4170", "Oracle Corporation"), "none"),
        (METAL | dmi("NX-3060-G5", "Nutanix"), "none"),
        (METAL | dmi("Surface Pro", "Microsoft Corporation"), "none"),
        (GUEST, ""),
        (GUEST | dmi("PowerEdge R640", "Dell Inc."), ""),
        (GUEST | KVM_CLOCK, "kvm"),
        (GUEST | KVM_CLOCK | dmi("Standard PC (Q35 + ICH9, 2009)", "QEMU"), "kvm"),
        (GUEST | dmi("Standard PC (Q35 + ICH9, 2009)", "QEMU"), "qemu"),
        (GUEST | dmi("KVM", "Red Hat"), "kvm"),
        (GUEST | dmi("RHEL", "Red Hat"), "kvm"),
        (GUEST | dmi("OpenStack Nova", "OpenStack Foundation"), "kvm"),
        (GUEST | dmi("None", "KubeVirt"), "kvm"),
        (GUEST | dmi("m7i.large", "Amazon EC2") | KVM_CLOCK, "amazon"),
        (METAL | dmi("i3.metal", "Amazon EC2"), "none"),
        (METAL | dmi("m7i.metal-24xl", "Amazon EC2"), "none"),
        (GUEST | dmi("HVM domU", "Xen", bios_vendor="Xen") | XEN, "xen"),
        (GUEST | dmi("Google Compute Engine", "Google") | KVM_CLOCK, "google"),
        (GUEST | dmi("VirtualBox", "innotek GmbH") | KVM_CLOCK, "oracle"),
        (GUEST | dmi("Fantasy", board_vendor="Oracle Corporation"), "oracle"),
        (GUEST | dmi("Parallels Virtual Platform", "Parallels Software International Inc.") | KVM_CLOCK, "parallels"),
        (GUEST | dmi("VMware Virtual Platform", "VMware, Inc."), "vmware"),
        (GUEST | dmi("VMware7,1", "Fantasy"), "vmware"),
        (GUEST | dmi("VMW71.00V", "Fantasy"), "vmware"),
        (GUEST | dmi("BHYVE", "FreeBSD", bios_vendor="BHYVE"), "bhyve"),
        (GUEST | dmi("Bochs", "Bochs"), "bochs"),
        (GUEST | dmi("Apple Virtualization Generic Platform", "Apple Inc."), "apple"),
        (GUEST | dmi("Virtual Machine", "Microsoft Corporation"), "microsoft"),
        (GUEST | dmi("Virtual Machine", "Microsoft Corporation", product_version="Hyper-V UEFI v4.0"), "microsoft"),
        (GUEST | HYPERV_CLOCK, "microsoft"),
        (GUEST | {CLOCKS: "hyperv_clocksource\n"}, "microsoft"),
        (GUEST | {"sys/bus/vmbus/devices/vmbus_0_1/": ""}, "microsoft"),
        (GUEST | {"sys/bus/vmbus/devices/": ""}, ""),
        (GUEST | HYPERV_CLOCK | dmi("Standard PC (i440FX + PIIX, 1996)", "QEMU"), "qemu"),
        (GUEST | {CLOCKS: "hyperv_clocksource_tsc_page kvm-clock\n"}, "kvm"),
        (GUEST | {CLOCKS: "not-kvm-clock\n"}, ""),
        (GUEST | {"sys/class/ptp/ptp0/clock_name": "hyperv\n"}, ""),
        (GUEST | {"sys/class/ptp/ptp1/clock_name": "KVM virtual PTP\n"} | dmi("pc", "QEMU"), "kvm"),
        (GUEST | dmi("Alibaba Cloud ECS", "Alibaba Cloud"), "kvm"),
        (GUEST | dmi("AHV", "Nutanix"), "kvm"),
        # Xen and user-mode Linux
        (GUEST | XEN, "xen"),
        (METAL | XEN, "xen"),
        (METAL | {"proc/xen/": ""}, "xen"),
        (GUEST | XEN | KVM_CLOCK, "xen"),
        (GUEST | XEN | {"proc/xen/capabilities": "control_d\n"}, "none"),
        (GUEST | XEN | {"proc/xen/capabilities": "\n"}, "xen"),
        (GUEST | XEN | {"sys/hypervisor/properties/features": "00000fff\n"}, "none"),
        (GUEST | XEN | {"sys/hypervisor/properties/features": "000007ff\n"}, "xen"),
        (METAL | {"sys/hypervisor/type": "other\n"}, ""),
        ({"proc/cpuinfo": "processor\t: 0\nvendor_id\t: User Mode Linux\n"} | KVM_CLOCK, "uml"),
        # without x86
        (ARM, "none"),
        (ARM | dmi("KVM Virtual Machine", "QEMU"), "kvm"),
        (ARM | {f"{TREE}/hypervisor/compatible": "linux,kvm\0"}, "kvm"),
        (ARM | {f"{TREE}/hypervisor/compatible": "xen,xen-4.17\0xen,xen\0"}, "xen"),
        (ARM | {f"{TREE}/hypervisor/compatible": "vmware\0"}, "vmware"),
        (ARM | {f"{TREE}/hypervisor/compatible": "fantasy\0"}, ""),
        (ARM | {f"{TREE}/fw-cfg@9020000/": ""}, "qemu"),
        (ARM | {f"{TREE}/compatible": "linux,dummy-virt\0"}, ""),
        (ARM | {f"{TREE}/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0"}, "none"),
        (ARM | {f"{TREE}/compatible": "qemu,pseries\0"}, "qemu"),
        (ARM | {f"{TREE}/ibm,partition-name": "lpar1\0", f"{TREE}/hmc-managed?": "1"}, "powervm"),
        (ARM | {f"{TREE}/ibm,partition-name": "lpar1\0"}, "none"),
        (
            ARM
            | {f"{TREE}/ibm,partition-name": "", f"{TREE}/hmc-managed?": ""}
            | {f"{TREE}/chosen/qemu,graphic-width": "", f"{TREE}/compatible": "qemu,pseries\0"},
            "qemu",
        ),
        (ARM | {"proc/sysinfo": "VM00 Name:            LINUX\nVM00 Control Program: z/VM    7.3.0\n"}, "zvm"),
        (ARM | {"proc/sysinfo": "VM00 Control Program: KVM/Linux\n"}, "kvm"),
        (ARM | {"proc/sysinfo": "Manufacturer:         IBM\nLPAR Name:  L1\n"}, "none"),
        (ARM | dmi("vServer", "Hetzner"), "none"),
        (ARM | dmi("vServer", "Hetzner") | VM_BIT, "kvm"),
        (ARM | VM_BIT, ""),
        (ARM | NO_VM_BIT, "none"),
        ({}, ""),
        (KVM_CLOCK, "kvm"),
    ],
)
def test_hypervisors(tmp_path: Path, files: Files, vm: str) -> None:
    assert read(write_tree(tmp_path, dict(files))).vm == vm


@pytest.mark.parametrize(
    ("files", "monitor"),
    [
        (METAL, ""),
        (GUEST | acpi("FIRECK"), "firecracker"),
        (GUEST | acpi("FIRECK", checksum=b"\xc3"), "firecracker"),
        (GUEST | acpi("FIRECK", table="FACP"), "firecracker"),
        (GUEST | acpi("CLOUDH"), "cloud-hypervisor"),
        (GUEST | acpi("BOCHS "), "qemu"),
        (GUEST | acpi("AMAZON"), ""),
        (GUEST | acpi("BOCHS ") | dmi("Bochs", "Bochs"), ""),
        (GUEST | dmi("Standard PC (Q35 + ICH9, 2009)", "QEMU"), "qemu"),
        (GUEST | dmi("QEMU Virtual Machine", "Fantasy"), "qemu"),
        (GUEST | dmi("cloud-hypervisor", "Cloud Hypervisor"), "cloud-hypervisor"),
        (GUEST | dmi("cloud-hypervisor", "Cloud Hypervisor") | acpi("DELL  "), "cloud-hypervisor"),
        ({"sys/firmware/acpi/tables/DSDT": "FIRECK"}, "firecracker"),
        ({"sys/firmware/acpi/tables/DSDT": "DSDT"}, ""),
    ],
)
def test_monitors(tmp_path: Path, files: Files, monitor: str) -> None:
    assert read(write_tree(tmp_path, dict(files))).monitor == monitor


def test_the_evidence_cites_each_source(tmp_path: Path) -> None:
    files = GUEST | dmi("KVM", "Red Hat") | acpi("BOCHS ") | {".dockerenv": ""}
    assert read(write_tree(tmp_path, files)) == Virtualization(
        vm="kvm",
        monitor="qemu",
        container="docker",
        evidence=(
            "/sys/class/dmi/id/product_name: KVM",
            "/sys/firmware/acpi/tables/DSDT OEM id: BOCHS",
            "/.dockerenv",
        ),
    )


def test_a_machine_of_metal_has_no_evidence(tmp_path: Path) -> None:
    found = read(write_tree(tmp_path, METAL | {"proc/1/cgroup": "0::/init.scope\n"}))
    assert found == Virtualization(vm="none", container="none")


def test_a_flag_alone_is_evidence_of_a_hypervisor_without_a_name(tmp_path: Path) -> None:
    assert read(write_tree(tmp_path, dict(GUEST))).evidence == ("/proc/cpuinfo: hypervisor",)


def test_a_machine_that_a_monitor_plays_is_not_metal(tmp_path: Path) -> None:
    found = read(write_tree(tmp_path, ARM | acpi("CLOUDH")))
    assert (found.vm, found.monitor) == ("", "cloud-hypervisor")


def test_an_empty_tree_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == Virtualization()


def test_the_agents_own_variable_names_the_container(tmp_path: Path) -> None:
    assert read(write_tree(tmp_path, dict(METAL)), "podman").container == "podman"


def test_the_fingerprint_changes_with_the_boot_and_with_what_init_writes(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"proc/sys/kernel/random/boot_id": "1\n"})
    first = fingerprint(root)
    assert hash(first) == hash(fingerprint(root))
    second = fingerprint(write_tree(root, {"run/systemd/container": "lxc\n"}))
    third = fingerprint(write_tree(root, {"proc/sys/kernel/random/boot_id": "2\n"}))
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("kind", ["vm", "container"])
@pytest.mark.skipif(shutil.which("systemd-detect-virt") is None, reason="needs systemd-detect-virt")
def test_this_machine_is_what_systemd_says(kind: str) -> None:
    told = subprocess.run(["systemd-detect-virt", f"--{kind}"], capture_output=True, text=True, check=False, timeout=10)
    expected = told.stdout.strip().replace("vm-other", "")
    assert getattr(read(Path("/"), os.environ.get("container", "")), kind) == expected  # noqa: SIM112  # its name


@pytest.mark.parametrize(
    ("entry", "is_set"),
    [
        (VM_BIT[BIOS_ENTRY], True),
        (NO_VM_BIT[BIOS_ENTRY], False),
        (VM_BIT[BIOS_ENTRY][:19], False),
        (bytes([0, 19]) + VM_BIT[BIOS_ENTRY][2:], False),  # SMBIOS 2.3, which ends before it
        (b"", False),
    ],
)
def test_the_bit_of_smbios(entry: bytes, is_set: bool) -> None:
    assert parse_bios_entry(entry) is is_set


@given(st.text())
def test_no_text_raises(text: str) -> None:
    parse_uml(text)
    is_dom0(text, text)
    parse_board(text)
    parse_oem_id(text)
    for finding in (parse_compatible(text), parse_sysinfo(text), parse_sysinfo("VM00 Control Program:" + text)):
        assert finding is None or len(finding.evidence.encode()) <= TEXT_BYTES
    for field in ("product_name", "product_version"):
        by_name({field: text})
        by_maker({field: "Nutanix" + text})


TREE_FILES = (
    *("proc/cpuinfo", CLOCKS, "sys/hypervisor/type", "sys/hypervisor/properties/features", "proc/xen/capabilities"),
    *("sys/class/dmi/id/product_name", "sys/class/dmi/id/sys_vendor", "sys/class/ptp/ptp0/clock_name", "proc/sysinfo"),
    *(f"{TREE}/compatible", f"{TREE}/hypervisor/compatible", "sys/firmware/acpi/tables/DSDT", "proc/1/environ"),
    *(
        BIOS_ENTRY,
        "run/systemd/container",
        "proc/1/cgroup",
        "proc/self/mountinfo",
        "proc/self/status",
        "proc/sys/kernel/osrelease",
    ),
)


@given(contents=st.lists(st.binary(max_size=300), min_size=len(TREE_FILES), max_size=len(TREE_FILES)))
def test_a_tree_of_rubbish_makes_a_message_that_can_be_sent(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    root = write_tree(tmp_path_factory.mktemp("tree"), dict(zip(TREE_FILES, contents, strict=True)))
    found = read(root)
    assert all(len(text.encode()) <= TEXT_BYTES for text in (found.vm, found.monitor, *found.evidence))
    found.model_dump_json()
    hash(fingerprint(root))

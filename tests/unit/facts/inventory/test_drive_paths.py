import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.drive_paths import is_drive, parse_transport

PCI = "../devices/pci0000:00/0000:00:1d.0"
SCSI = "target0:0:0/0:0:0:0/block/sda"


@pytest.mark.parametrize(
    ("path", "transport"),
    [
        (f"{PCI}/0000:03:00.0/nvme/nvme0/nvme0n1", "nvme"),
        ("../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1", "nvme"),
        ("../devices/virtual/nvme-fabrics/ctl/nvme2/nvme2n1", "nvme"),
        ("../devices/LNXSYSTM:00/ACPI0004:00/VMBUS:00/0ab1/pci0ab1:00/0ab1:00:00.0/nvme/nvme0/nvme0n1", "nvme"),
        (f"{PCI}/ata1/host0/{SCSI}", "sata"),
        (f"{PCI}/usb2/2-1/2-1:1.0/host6/{SCSI}", "usb"),
        ("../devices/platform/soc/xhci-hcd.0.auto/usb3/3-1/3-1:1.0/host0/" + SCSI, "usb"),
        (f"{PCI}/host0/port-0:0/end_device-0:0/{SCSI}", "sas"),
        (f"{PCI}/host0/port-0:0/expander-0:0/port-0:0:2/end_device-0:0:2/{SCSI}", "sas"),
        (f"{PCI}/host0/rport-0:0-2/{SCSI}", "fc"),
        (f"../devices/virtual/net/eth3.802/ctlr_0/host9/rport-9:0-1/{SCSI}", "fc"),
        (f"../devices/css0/0.0.000a/0.0.1900/host0/rport-0:0-0/{SCSI}", "fc"),
        (f"../devices/platform/host3/session1/{SCSI}", "iscsi"),
        (f"{PCI}/virtio1/block/vda", "virtio"),
        ("../devices/platform/a003e00.virtio_mmio/virtio0/block/vda", "virtio"),
        ("../devices/css0/0.0.0001/0.0.0000/virtio0/block/vda", "virtio"),
        (f"{PCI}/virtio1/host2/{SCSI}", "virtio"),
        ("../devices/platform/soc/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0", "mmc"),
        (f"{PCI}/usb1/1-4/1-4:1.0/rtsx_usb_sdmmc.1.auto/mmc_host/mmc1/mmc1:aaaa/block/mmcblk1", "mmc"),
        ("../devices/vbd-51712/block/xvda", "xen"),
        (f"../devices/LNXSYSTM:00/LNXSYBUS:00/PNP0A03:00/device:07/VMBUS:01/00000000-0000/host0/{SCSI}", "hyperv"),
        (f"../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/MSFT1000:00/f8b3781a-1e82/host0/{SCSI}", "hyperv"),
        (f"../devices/LNXSYSTM:00/device:07/VMBUS:01/vmbus_0_1/host0/{SCSI}", "hyperv"),
        (f"{PCI}/host0/{SCSI}", "scsi"),
        (f"../devices/platform/soc/1d84000.ufshc/host0/{SCSI}", "scsi"),
        ("../../../0:0:0:0", "scsi"),
        ("../../../virtio1", "virtio"),
        ("../../nvme0", "nvme"),
        ("../../nvme-subsys0", "nvme"),
        ("../devices/css0/0.0.0009/0.0.0190/block/dasda", ""),
        ("../devices/LNXSYSTM:00/ACPI0012:00/ndbus0/region0/namespace0.0/block/pmem0", ""),
        ("", ""),
    ],
)
def test_transport(path: str, transport: str) -> None:
    assert parse_transport(path) == transport


@pytest.mark.parametrize(
    "name",
    [
        "sda",
        "sdaa",
        "vda",
        "xvda",
        "nvme0n1",
        "nvme10n2",
        "mmcblk0",
        "dasda",
        "pmem0",
        "hda",
        "sdd",
        "sr",
        "cciss!c0d0",
    ],
)
def test_drives(name: str) -> None:
    assert is_drive(name, "../devices/pci0000:00/block/x")
    assert is_drive(name, "")
    assert not is_drive(name, f"../devices/virtual/block/{name}")


@pytest.mark.parametrize(
    "name",
    [
        *("loop0", "ram15", "zram0", "dm-3", "md127", "md_d0", "md_home", "nbd0", "rbd0", "drbd1", "zd16", "mtdblock2"),
        *("ubiblock0_0", "sr0", "scd0", "fd0", "mmcblk0boot0", "mmcblk0rpmb", "mmcblk1gp0", "nvme0c1n1"),
    ],
)
def test_no_drives(name: str) -> None:
    assert not is_drive(name, "../devices/platform/block/x")


@pytest.mark.parametrize("place", ["nvme-subsystem/nvme-subsys0", "nvme-fabrics/ctl/nvme0"])
def test_a_namespace_with_several_paths_is_a_drive(place: str) -> None:
    assert is_drive("nvme0n1", f"../devices/virtual/{place}/nvme0n1")
    assert not is_drive("nvme0c0n1", f"../devices/virtual/{place}/nvme0c0n1")


@given(st.text(), st.text())
def test_no_text_raises(name: str, path: str) -> None:
    assert isinstance(is_drive(name, path), bool)
    assert isinstance(parse_transport(path), str)

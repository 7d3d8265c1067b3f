from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lattice_agent.facts.errors import FactsError
from lattice_agent.facts.inventory.disks import fingerprint, parse_flag, parse_size, read
from lattice_agent.facts.inventory.drive_identity import parse_vpd_serial
from lattice_agent.facts.lexical import COUNTER_LIMIT
from lattice_agent.wire.host_inventory import MAX_DISKS, Disk
from tests.unit.facts.trees import write_tree

SATA = "devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block"
NVME = "devices/pci0000:00/0000:03:00.0/nvme/nvme0"
VIRTIO = "devices/pci0000:00/0000:00:02.0/virtio1/block"


def add_disk(root: Path, name: str, folder: str, size: str = "2048\n", **files: str | bytes) -> Path:
    """A block device in ``/sys/<folder>`` with its link in ``/sys/block``; ``__`` in a file's name is a slash."""
    place = f"sys/{folder}/{name}"
    contents = {f"{place}/{file.replace('__', '/')}": content for file, content in files.items()}
    write_tree(root, {"sys/block/": "", f"{place}/size": size, **contents})
    (root / "sys/block" / name).symlink_to(f"../{folder}/{name}")
    return root


def test_a_sata_disk(tmp_path: Path) -> None:
    add_disk(tmp_path, "sda", SATA, "7814037168\n", queue__rotational="1\n", dev="8:0\n",
             device__model="ST4000NM0035-1V4\n", device__vpd_pg80=b"\0\x80\0\x14            ZC1EXMPL")  # fmt: skip
    assert read(tmp_path) == (
        Disk(
            name="sda",
            model="ST4000NM0035-1V4",
            size_bytes=4_000_787_030_016,
            rotational=True,
            transport="sata",
            serial="ZC1EXMPL",
        ),
    )


def test_udev_knows_the_whole_model_and_the_serial_number(tmp_path: Path) -> None:
    add_disk(tmp_path, "sda", SATA, device__model="Samsung SSD 870 \n", dev="8:0\n", device__vpd_pg80=b"\0\x80\0\1X")
    udev = "E:ID_MODEL=Samsung_SSD\nE:ID_MODEL_ENC=Samsung\\x20SSD\\x20870\\x20EVO\\x20\\x20\nE:ID_SERIAL_SHORT=S6P\n"
    write_tree(tmp_path, {"run/udev/data/b8:0": udev})
    (disk,) = read(tmp_path)
    assert (disk.model, disk.serial) == ("Samsung SSD 870 EVO", "S6P")


def test_the_serial_number_of_a_lun_is_its_own_and_not_its_name(tmp_path: Path) -> None:
    add_disk(tmp_path, "sda", SATA, dev="8:0\n")
    write_tree(tmp_path, {"run/udev/data/b8:0": "E:ID_SERIAL_SHORT=6001405aa\nE:ID_SCSI_SERIAL=lun-7\n"})
    assert read(tmp_path)[0].serial == "lun-7"


def test_a_nvme_drive_is_described_by_its_controller(tmp_path: Path) -> None:
    add_disk(tmp_path, "nvme0n1", NVME, queue__rotational="0\n", hidden="0\n")
    write_tree(tmp_path, {f"sys/{NVME}/model": "Example NVMe 1TB      \n", f"sys/{NVME}/serial": "S5GX    \n"})
    (tmp_path / f"sys/{NVME}/nvme0n1/device").symlink_to("../../nvme0")
    (disk,) = read(tmp_path)
    assert (disk.model, disk.serial, disk.rotational, disk.transport) == ("Example NVMe 1TB", "S5GX", False, "nvme")


def test_blanks_within_a_model_are_one(tmp_path: Path) -> None:
    add_disk(tmp_path, "sda", SATA, device__model="LOGICAL   VOLUME \n")
    assert read(tmp_path)[0].model == "LOGICAL VOLUME"


def test_a_virtio_disk_has_no_model(tmp_path: Path) -> None:
    add_disk(tmp_path, "vda", VIRTIO, serial="disk-1", device__vendor="0x1af4\n")
    assert read(tmp_path) == (Disk(name="vda", size_bytes=1_048_576, transport="virtio", serial="disk-1"),)


def test_a_memory_card_has_a_name_for_a_model(tmp_path: Path) -> None:
    add_disk(tmp_path, "mmcblk0", "devices/platform/mmc_host/mmc0/mmc0:1/block", device__name="SD32G\n",
             device__serial="0x6e3b1d44\n", device__type="SD\n")  # fmt: skip
    assert read(tmp_path) == (
        Disk(name="mmcblk0", model="SD32G", size_bytes=1_048_576, transport="mmc", serial="0x6e3b1d44"),
    )


@pytest.mark.parametrize(
    "files",
    [
        {"size": "0\n"},
        {"size": "x\n"},
        {"size": "-8\n"},
        {"device__type": "5\n"},
        {"hidden": "1\n"},
    ],
)
def test_a_drive_that_is_empty_optical_or_hidden_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    add_disk(tmp_path, "sda", SATA, **files)
    assert read(tmp_path) == ()


def test_devices_without_hardware_are_no_drives(tmp_path: Path) -> None:
    for name in ("loop0", "dm-0", "zram0", "bcache0"):
        add_disk(tmp_path, name, "devices/virtual/block")
    add_disk(tmp_path, "vda", VIRTIO)
    assert [disk.name for disk in read(tmp_path)] == ["vda"]


def test_paths_of_one_multipath_map_are_one_drive(tmp_path: Path) -> None:
    for name, holder in (("sda", "dm-0"), ("sdb", "dm-0"), ("sdc", "dm-1"), ("sdd", "dm-2"), ("sde", "dm-2")):
        add_disk(tmp_path, name, f"devices/{name}/host0/target0:0:0/0:0:0:0/block")
        write_tree(tmp_path, {f"sys/devices/{name}/host0/target0:0:0/0:0:0:0/block/{name}/holders/{holder}/": ""})
    for name, uuid in (("dm-0", "mpath-3600a\n"), ("dm-1", "mpath-3600b\n"), ("dm-2", "LVM-abc\n")):
        add_disk(tmp_path, name, "devices/virtual/block", dm__uuid=uuid)
    assert [disk.name for disk in read(tmp_path)] == ["sda", "sdc", "sdd", "sde"]


def test_a_slash_in_a_name_is_an_exclamation_mark_in_sysfs(tmp_path: Path) -> None:
    add_disk(tmp_path, "cciss!c0d0", "devices/pci0000:00/cciss0/c0d0/block")
    assert read(tmp_path)[0].name == "cciss/c0d0"


def test_folders_instead_of_links(tmp_path: Path) -> None:
    names = ("sda", "sdb", "vda")
    write_tree(tmp_path, {f"sys/block/{name}/size": "8\n" for name in names})
    (tmp_path / "sys/block/sda/device").symlink_to("../../../0:0:0:0")
    write_tree(tmp_path, {"sys/block/sdb/device/model": "Example\n"})
    (tmp_path / "sys/block/vda/device").symlink_to("/sys/devices/pci0000:00/virtio2")
    assert [(disk.transport, disk.model) for disk in read(tmp_path)] == [("scsi", ""), ("", "Example"), ("virtio", "")]


def test_absolute_links_stay_in_the_record(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"sys/{SATA}/sda/size": "8\n", "sys/block/": ""})
    (tmp_path / "sys/block/sda").symlink_to(f"/sys/{SATA}/sda")
    assert read(tmp_path) == (Disk(name="sda", size_bytes=4096, transport="sata"),)


def test_there_are_no_more_than_the_message_holds(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"sys/block/sd{number:04}/size": "8\n" for number in range(MAX_DISKS + 3)})
    assert len(read(tmp_path)) == MAX_DISKS


def test_no_drives_are_no_fault_and_no_source_is_one(tmp_path: Path) -> None:
    with pytest.raises(FactsError, match=r"^/sys/block: No such file"):
        read(tmp_path)
    assert read(write_tree(tmp_path, {"sys/block/": ""})) == ()


def test_a_source_that_is_no_directory_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(FactsError, match=r"^/sys/block: Not a directory"):
        read(write_tree(tmp_path, {"sys/block": "text"}))


def test_a_source_that_leads_in_circles_is_a_fault(tmp_path: Path) -> None:
    write_tree(tmp_path, {"sys/": ""})
    (tmp_path / "sys/block").symlink_to("block")
    with pytest.raises(FactsError, match=r"^/sys/block: "):
        read(tmp_path)


def test_the_fingerprint_follows_devices_and_media(tmp_path: Path) -> None:
    seen = [fingerprint(tmp_path)]
    write_tree(tmp_path, {"proc/partitions": "8 0 1000 sda\n"})
    seen.append(fingerprint(tmp_path))
    add_disk(tmp_path, "sdb", SATA, "0\n")
    seen.append(fingerprint(tmp_path))
    write_tree(tmp_path, {"proc/partitions": "8 0 1000 sda\n8 16 2000 sdb\n"})
    seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == 4
    assert fingerprint(tmp_path) == seen[-1]


@pytest.mark.parametrize(
    ("text", "size"),
    [("1\n", 512), ("0", 0), ("", 0), ("1.5", 0), (str(2**62), COUNTER_LIMIT), (str(2**64), 0)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(("text", "flag"), [("1\n", True), ("0\n", False), ("2\n", None), ("", None)])
def test_flags(text: str, flag: bool | None) -> None:
    assert parse_flag(text) is flag


@pytest.mark.parametrize(
    ("page", "serial"),
    [
        (b"\0\x80\0\4ABCD", "ABCD"),
        (b"\0\x80\0\4ABCDEF", "ABCD"),
        (b"\0\x80\0\x08AB", "AB"),
        (b"\0\x80\0\x06  AB\0\0", "AB"),
        (b"\0\x80\0\0ABCD", ""),
        (b"\0\x80\0\xc8" + b"A" * 200, "A" * 200),
        (b"\0\x80\1\1" + b"A" * 300, "A" * 256),
        (b"\0\x80\0", ""),
        (b"", ""),
    ],
)
def test_serial_numbers_of_scsi(page: bytes, serial: str) -> None:
    assert parse_vpd_serial(page.decode("utf-8", "replace")) == serial


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(), st.binary())
def test_no_text_raises(tmp_path: Path, raw: bytes, other: bytes) -> None:
    parse_vpd_serial(raw.decode("utf-8", "replace"))
    parse_size(raw.decode("utf-8", "replace"))
    files = ("device/model", "device/vpd_pg80", "serial", "queue/rotational", "hidden", "device/type", "holders/dm-0")
    place = "sys/block/sda"
    root = write_tree(
        tmp_path, {f"{place}/{name}": raw for name in files} | {f"{place}/size": "8", f"{place}/dev": "8:0"}
    )
    read(write_tree(root, {"run/udev/data/b8:0": b"E:ID_MODEL_ENC=" + raw + b"\nE:ID_SERIAL_SHORT=" + other}))
    read(write_tree(root, {f"{place}/size": other, f"{place}/dev": other}))

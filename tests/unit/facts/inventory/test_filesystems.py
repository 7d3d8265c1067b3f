import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lattice_agent.facts.errors import FactsError
from lattice_agent.facts.inventory.filesystems import figures_of, fingerprint, read, refresh
from lattice_agent.facts.lexical import COUNTER_LIMIT
from lattice_agent.wire.host_inventory import MAX_FILESYSTEMS, TEXT_BYTES, FileSystem
from tests.unit.facts.trees import write_tree

MOUNTS = "proc/self/mountinfo"
ROOT = "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
BTRFS = "1 0 0:30 /@ / rw - btrfs /dev/mapper/luks rw\n"
LIVE = Path("/")
NO_FIGURES = dict.fromkeys(("size_bytes", "used_bytes", "available_bytes", "inodes", "inodes_used"))


def answer(**fields: int) -> os.statvfs_result:
    """What statfs(2) says: of 100 blocks of 4096 bytes 50 are free, 40 of them for all; of 50 inodes 20 are used."""
    names = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail", "f_flag")
    usual = dict(zip(names, (4096, 4096, 100, 50, 40, 50, 30, 30, 0), strict=True)) | fields
    return os.statvfs_result((*usual.values(), 255))


def link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_a_recorded_file_system_has_no_figures(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {MOUNTS: ROOT, "run/udev/data/b8:1": "E:ID_FS_UUID=0a1b-2c\n"})
    found = read(root)
    assert found == (FileSystem(device="/dev/sda1", mount_point="/", type="ext4", uuid="0a1b-2c", read_only=False),)
    assert refresh(found) == found


@pytest.mark.parametrize("target", ["../../sda1", "/dev/sda1"])
def test_without_udevs_database_a_link_has_the_uuid(tmp_path: Path, target: str) -> None:
    root = write_tree(tmp_path, {MOUNTS: ROOT})
    link(root / "dev/disk/by-uuid/0000-other", "../../sda2")
    link(root / "dev/disk/by-uuid/1111-this", target)
    assert read(root)[0].uuid == "1111-this"


def test_a_mapped_device_is_known_by_another_name(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {MOUNTS: "1 0 254:0 / / rw - xfs /dev/mapper/vg-root rw\n"})
    link(root / "dev/mapper/vg-root", "../dm-0")
    link(root / "dev/disk/by-uuid/2222", "../../dm-0")
    found = read(root)[0]
    assert (found.device, found.uuid) == ("/dev/mapper/vg-root", "2222")


def test_the_uuid_of_a_btrfs_is_that_of_its_device(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {MOUNTS: BTRFS, "sys/class/block/dm-3/dev": "254:3\n"}
    root = write_tree(tmp_path, {**files, "run/udev/data/b254:3": "E:ID_FS_UUID=3333\n"})
    link(root / "dev/mapper/luks", "../dm-3")
    assert read(root)[0].uuid == "3333"


def test_the_number_of_a_device_in_a_folder_of_its_own(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"sys/class/block/cciss!c0d0p1/dev": "104:1\n"}
    table = BTRFS.replace("mapper/luks", "cciss/c0d0p1")
    root = write_tree(tmp_path, {**files, MOUNTS: table, "run/udev/data/b104:1": "E:ID_FS_UUID=7777\n"})
    assert read(root)[0].uuid == "7777"


def test_a_device_in_a_folder_of_its_own(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {MOUNTS: ROOT.replace("sda1", "cciss/c0d0p1")})
    link(root / "dev/disk/by-uuid/4444", "../../cciss/c0d0p1")
    assert read(root)[0].uuid == "4444"


def test_the_root_that_the_kernel_mounted_gets_its_name(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {MOUNTS: ROOT.replace("/dev/sda1", "/dev/root")})
    assert read(root)[0].device == "/dev/root"
    link(root / "sys/dev/block/8:1", "../../devices/pci0000:00/ata1/host0/block/sda/sda1")
    link(root / "dev/disk/by-uuid/5555", "../../sda1")
    assert (read(root)[0].device, read(root)[0].uuid) == ("/dev/sda1", "5555")


def test_a_dataset_has_no_uuid(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {MOUNTS: "1 0 0:40 / /tank ro - zfs tank rw\n"})
    link(root / "dev/disk/by-uuid/6666", "../../../tank")
    assert read(root) == (FileSystem(device="tank", mount_point="/tank", type="zfs", read_only=True),)


def test_without_a_table_there_is_no_family(tmp_path: Path) -> None:
    with pytest.raises(FactsError, match=r"^/proc/self/mountinfo: No such file"):
        read(tmp_path)
    with pytest.raises(FactsError, match=r"^/proc/self/mountinfo: empty"):
        read(write_tree(tmp_path, {MOUNTS: "\n"}))


def test_there_are_no_more_than_the_message_holds(tmp_path: Path) -> None:
    rows = (f"{n + 2} 1 8:{n} / /mnt/{n} rw - ext4 /dev/sd{n} rw\n" for n in range(MAX_FILESYSTEMS + 3))
    assert len(read(write_tree(tmp_path, {MOUNTS: "".join(rows)}))) == MAX_FILESYSTEMS


def test_long_names_are_cut(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {MOUNTS: f"1 0 8:1 / /{'a' * 999} rw - ext4 /dev/{'b' * 999} rw\n"})
    (found,) = read(root)
    assert len(found.mount_point) == len(found.device) == TEXT_BYTES


def test_figures_are_those_of_df() -> None:
    assert figures_of(answer()) == {
        "size_bytes": 409_600,
        "used_bytes": 204_800,
        "available_bytes": 163_840,
        "inodes": 50,
        "inodes_used": 20,
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"f_files": 0, "f_ffree": 0}, {"inodes": None, "inodes_used": None}),
        ({"f_bavail": 2**64 - 5, "f_frsize": 4096}, {"available_bytes": COUNTER_LIMIT}),
        ({"f_blocks": 2**60}, {"size_bytes": COUNTER_LIMIT}),
        ({"f_bfree": 200}, {"used_bytes": 0}),
        ({"f_ffree": 60}, {"inodes_used": 0}),
        ({"f_files": 2**64 - 1}, {"inodes": COUNTER_LIMIT}),
        ({"f_frsize": 0}, {"size_bytes": 409_600}),
        ({"f_frsize": 512}, {"size_bytes": 51_200}),
        ({"f_blocks": 0}, NO_FIGURES),
    ],
)
def test_figures_that_cannot_be(fields: dict[str, int], expected: dict[str, int | None]) -> None:
    figures = figures_of(answer(**fields))
    assert {name: figures[name] for name in expected} == expected
    FileSystem.model_validate(figures)  # within the bounds of the message


def test_no_answer_gives_no_figures() -> None:
    assert figures_of(None) == NO_FIGURES


def test_a_refresh_asks_for_what_had_figures_and_only_for_that(tmp_path: Path) -> None:
    known = FileSystem(device="/dev/a", mount_point=str(tmp_path), type="ext4", uuid="u", read_only=True, size_bytes=1)
    unasked = known.model_copy(update={"size_bytes": None})
    gone = known.model_copy(update={"mount_point": str(tmp_path / "gone"), "used_bytes": 1, "inodes": 1})
    now, untouched, lost = refresh((known, unasked, gone))
    size = figures_of(os.statvfs(tmp_path))["size_bytes"]
    assert now.size_bytes == size != 1
    assert now.model_copy(update=NO_FIGURES) == known.model_copy(update=NO_FIGURES)
    assert untouched == unasked
    assert lost == gone.model_copy(update=NO_FIGURES)


def live_table(monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    """Lets the live host have this table, and tells which mount points are asked for figures."""
    asked: list[str] = []

    def statvfs(path: str) -> os.statvfs_result:
        asked.append(path)
        if path == "/denied":
            raise PermissionError(13, "Permission denied")
        return answer()

    monkeypatch.setattr("lattice_agent.facts.inventory.filesystems.required_text", lambda root, path, limit: text)
    monkeypatch.setattr(os, "statvfs", statvfs)
    return asked


def test_a_live_file_system_that_does_not_answer_is_described_without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = live_table(monkeypatch, ROOT + "2 1 8:2 / /denied rw - ext4 /dev/sda2 rw\n")
    root, denied = read(LIVE)
    assert (root.size_bytes, denied.size_bytes, denied.device) == (409_600, None, "/dev/sda2")
    assert asked == ["/", "/denied"]


def test_autofs_is_never_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    boot = "2 1 0:50 / /boot rw - autofs systemd-1 rw\n3 2 8:2 / /boot rw - vfat /dev/sda2 rw\n"
    net = "4 1 0:51 / /net rw - autofs auto rw\n5 4 8:3 / /net/disk rw - ext4 /dev/sda3 rw\n"
    asked = live_table(monkeypatch, ROOT + boot + net)
    assert [one.mount_point for one in read(LIVE)] == ["/", "/boot", "/net/disk"]
    assert asked == ["/"]


@pytest.mark.parametrize("point", ["/" + "a" * TEXT_BYTES, r"/ends\040", r"/two\012lines"])
def test_a_mount_point_that_the_message_cannot_say_is_not_asked(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    asked = live_table(monkeypatch, ROOT + f"2 1 8:2 / {point} rw - ext4 /dev/sda2 rw\n")
    assert len(read(LIVE)) == 2
    assert asked == ["/"]


def test_the_live_host_has_the_figures_of_statfs() -> None:
    for one in read(LIVE):
        assert one.mount_point.startswith("/")
        if one.size_bytes is not None:
            assert one.size_bytes == os.statvfs(one.mount_point).f_blocks * os.statvfs(one.mount_point).f_frsize


def test_the_fingerprint_follows_mounts_and_the_sources_of_uuids(tmp_path: Path) -> None:
    seen = [fingerprint(tmp_path)]
    write_tree(tmp_path, {MOUNTS: ROOT})
    seen.append(fingerprint(tmp_path))
    for number, folder in enumerate(("run/udev/data", "dev/disk/by-uuid")):
        write_tree(tmp_path, {f"{folder}/": ""})
        os.utime(tmp_path / folder, ns=(1, 10 + number))
        seen.append(fingerprint(tmp_path))
        os.utime(tmp_path / folder, ns=(1, 20 + number))
        seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == 6
    assert fingerprint(tmp_path) == seen[-1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(), st.binary())
def test_no_text_raises_more_than_a_fault_of_facts(tmp_path: Path, raw: bytes, other: bytes) -> None:
    line = b"1 0 0:3 / /mnt/" + raw.replace(b" ", b"") + b" rw - btrfs /dev/" + other.replace(b" ", b"") + b" rw\n"
    files: dict[str, str | bytes] = {"run/udev/data/b8:1": raw, "dev/disk/by-uuid": other, "sys/class/block/a/dev": raw}
    for text in (raw, line, ROOT.encode() + raw):
        root = write_tree(tmp_path, {**files, MOUNTS: text})
        fingerprint(root)
        try:
            read(root)
        except FactsError:
            assert not text.decode("utf-8", "replace").strip()

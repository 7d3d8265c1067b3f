import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.mount_choice import chosen_mounts, is_below_autofs, is_kept
from lattice_agent.facts.inventory.mountinfo import Mount, parse_mountinfo


def mount(type_: str, source: str, point: str = "/mnt") -> Mount:
    return Mount("2", "1", "8:1", "/", point, read_only=False, type=type_, source=source)


@pytest.mark.parametrize(
    ("type_", "source"),
    [
        *(("ext4", "/dev/sda1"), ("xfs", "/dev/mapper/vg-root"), ("vfat", "/dev/nvme0n1p1"), ("ext4", "/dev/root")),
        *(
            ("fuseblk", "/dev/sdb1"),
            ("ntfs3", "/dev/sdb1"),
            ("zfs", "tank/data"),
            ("btrfs", "/dev/sda"),
            ("btrfs", "x"),
        ),
        *(("bcachefs", "/dev/sda:/dev/sdb"), ("ubifs", "ubi0:rootfs"), ("jffs2", "/dev/mtdblock3"), ("jffs2", "mtd0")),
        *(("ocfs2", "/dev/sdc"), ("gfs2", "/dev/mapper/c-l"), ("ext4", "/dev/loop0"), ("iso9660", "/dev/sr0")),
        *(("squashfs", "/dev/mmcblk0p2"), ("erofs", "/dev/dm-0"), ("reiserfs", "/dev/hda1"), ("f2fs", "/dev/sda")),
    ],
)
def test_file_systems_of_the_host(type_: str, source: str) -> None:
    assert is_kept(mount(type_, source))


@pytest.mark.parametrize(
    ("type_", "source"),
    [
        *(("proc", "proc"), ("sysfs", "sysfs"), ("tmpfs", "tmpfs"), ("tmpfs", "/dev/shm"), ("devtmpfs", "udev")),
        *(("cgroup2", "cgroup2"), ("devpts", "devpts"), ("nsfs", "nsfs"), ("rootfs", "rootfs"), ("tracefs", "tracefs")),
        *(
            ("nfs4", "server:/export"),
            ("cifs", "//server/share"),
            ("ceph", "1.2.3.4:6789:/"),
            ("lustre", "mds@tcp:/fs"),
        ),
        *(("9p", "/dev/root"), ("virtiofs", "/dev/root"), ("fuse.sshfs", "me@host:"), ("fuse.lxcfs", "lxcfs")),
        *(("fuse", "/dev/fuse"), ("fuse.x", "/dev/sda"), ("autofs", "/dev/sda1"), ("autofs", "systemd-1")),
        *(("squashfs", "/dev/loop3"), ("erofs", "/dev/loop4"), ("iso9660", "/dev/loop5"), ("overlay", "overlay")),
        *(("overlay", "/dev/root"), ("ecryptfs", "/home/.ecryptfs"), ("ext4x", "none"), ("", "")),
    ],
)
def test_what_is_left_out(type_: str, source: str) -> None:
    assert not is_kept(mount(type_, source))


@pytest.mark.parametrize("type_", ["overlay", "overlayfs", "aufs"])
def test_the_root_of_a_container_is_kept_and_containers_of_this_host_are_not(type_: str) -> None:
    assert is_kept(mount(type_, "overlay", "/"))
    assert not is_kept(mount(type_, "overlay", "/var/lib/docker/overlay2/0a/merged"))


ROOT = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"


@pytest.mark.parametrize(
    ("text", "points"),
    [
        pytest.param(ROOT + "2 1 8:1 /srv /a rw - ext4 /dev/sda1 rw\n", "/", id="a bind mount"),
        pytest.param(
            ROOT + "2 1 8:2 /x /a rw - ext4 /dev/b rw\n3 1 8:2 / /long/path rw - ext4 /dev/b rw\n",
            "/ /long/path",
            id="that of its root",
        ),
        pytest.param(
            ROOT + "2 1 8:2 / /bbb rw - ext4 /dev/b rw\n3 1 8:2 / /a rw - ext4 /dev/b rw\n", "/ /a", id="the shortest"
        ),
        pytest.param(
            ROOT + "2 1 8:2 / /b rw - ext4 /dev/b rw\n3 1 8:2 / /a rw - ext4 /dev/b rw\n", "/ /b", id="then the first"
        ),
        pytest.param(
            "1 0 0:30 /@home /home rw - btrfs /dev/sda rw\n2 0 0:30 /@ / rw - btrfs /dev/sdb rw\n",
            "/",
            id="subvolumes of a btrfs on two disks",
        ),
        pytest.param(
            "1 0 0:40 / /t rw - zfs t rw\n2 1 0:41 / /t/a rw - zfs t/a rw\n", "/t /t/a", id="datasets of a pool"
        ),
        pytest.param(
            ROOT + "2 1 8:2 / /a rw - ext4 /dev/b rw\n3 2 8:3 / /a rw - ext4 /dev/c rw\n", "/ /a", id="a hidden one"
        ),
        pytest.param(
            ROOT + "2 1 8:2 / /a rw - ext4 /dev/b rw\n3 2 0:50 / /a rw - tmpfs tmpfs rw\n", "/", id="hidden by another"
        ),
        pytest.param(
            ROOT + "2 1 8:2 / /a rw - ext4 /dev/b rw\n3 2 0:50 / /a rw - tmpfs t rw\n"
            "4 1 8:2 /x /b/x rw - ext4 /dev/b rw\n",
            "/ /b/x",
            id="hidden at one of two places",
        ),
        pytest.param(
            "1 0 0:60 / / rw - overlay overlay rw\n2 1 8:1 /d/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda1 rw\n"
            "3 1 8:1 /d/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n",
            "/",
            id="a container",
        ),
        pytest.param(
            "1 0 0:33 /ostree/deploy / rw - xfs /dev/sda1 rw\n2 1 0:33 / /sysroot rw - xfs /dev/sda1 rw\n",
            "/",
            id="ostree",
        ),
        pytest.param(
            "1 1 0:2 / / rw - rootfs rootfs rw\n2 1 8:1 / / rw - ext4 /dev/root rw\n", "/", id="over the initial root"
        ),
    ],
)
def test_one_mount_stands_for_a_file_system(text: str, points: str) -> None:
    assert [mount.point for mount in chosen_mounts(parse_mountinfo(text))] == points.split()


@pytest.mark.parametrize(
    ("point", "trigger", "below"),
    [
        *(("/boot", "/boot", True), ("/net/a", "/net", True), ("/a", "/", True), ("/", "/", True)),
        *(("/network", "/net", False), ("/", "/net", False), ("/mnt/net", "/net", False)),
    ],
)
def test_below_autofs(point: str, trigger: str, below: bool) -> None:
    assert is_below_autofs(mount("ext4", "/dev/a", point), [trigger]) is below
    assert not is_below_autofs(mount("ext4", "/dev/a", point), [])


@given(st.text(), st.text(), st.text())
def test_no_text_raises(type_: str, source: str, point: str) -> None:
    one = mount(type_, source, point)
    assert len(chosen_mounts([one, one])) <= 1
    assert is_below_autofs(one, [source]) in (True, False)

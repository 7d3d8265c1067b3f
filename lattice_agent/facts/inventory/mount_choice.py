"""Which mounts are file systems of the host, and which of several mounts stands for one.

Kept is what has a block device, or a device of its own kind (zfs, ubifs). Cluster file systems (ocfs2, gfs2) are on a
block device and kept; network and FUSE ones are not, but for ``fuseblk`` (ntfs-3g on a block device). Left out, too,
are images on loop devices, which is how snap packages are mounted: they are full and read-only for ever.

The root of a container is an overlay over directories of the host's disk. It is kept when it is ``/``, because the
space there is what tasks can use; other overlays are containers of this host, whose space is counted below them.
"""

from collections.abc import Iterable
from typing import Final

from lattice_agent.facts.inventory.mountinfo import Mount, reachable

_DEVICES: Final = "/dev/"
_LOOP: Final = "/dev/loop"
_OWN_DEVICES: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "bcachefs", "zfs", "f2fs", "jfs", "nilfs2", "ubifs", "jffs2"}
)
_IMAGES: Final = frozenset({"squashfs", "iso9660", "udf", "erofs", "cramfs", "romfs"})
_CONTAINER_ROOTS: Final = frozenset({"overlay", "overlayfs", "aufs"})
# Their source is any text, so it may look like a device: "/dev/root" is what a 9p or virtiofs root is called.
_NO_DEVICE: Final = frozenset({
    *("tmpfs", "devtmpfs", "ramfs", "devpts", "autofs", "rootfs", "hugetlbfs", "mqueue", "sysfs", "proc", "cgroup"),
    *("cgroup2", "bpf", "ecryptfs", "fuse", "9p", "virtiofs", "nfs", "nfs4", "cifs"),
    *("smb3", "smbfs", "ncpfs", "ceph", "glusterfs", "afs", "coda", "lustre", "gpfs", "beegfs", "orangefs", "vboxsf"),
})  # fmt: skip


_SINGLE_FILES: Final = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv"})
"""What container managers mount from the host's disk, a file each. The disk is below the overlay at ``/`` already."""


def is_kept(mount: Mount) -> bool:
    """Whether a mount is one of a file system of the host, by the rule at the top of this module."""
    if mount.type in _CONTAINER_ROOTS:
        return mount.point == "/"
    if mount.point in _SINGLE_FILES:
        return False
    if mount.type in _IMAGES and mount.source.startswith(_LOOP):
        return False
    if mount.type in _NO_DEVICE or mount.type.startswith("fuse."):
        return False
    return mount.type in _OWN_DEVICES or mount.source.startswith(_DEVICES)


def chosen_mounts(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """One mount of every file system, in the order of the table: ``/``, that of its root, or the shortest path.

    Bind mounts and btrfs subvolumes are further mounts of the same super block, which has the same ``major:minor``.
    """
    best: dict[str, Mount] = {}
    table = tuple(mounts)
    for mount in reachable(filter(is_kept, table), table):
        best[mount.number] = min(best.get(mount.number, mount), mount, key=_preference)
    return tuple(best.values())


def _preference(mount: Mount) -> tuple[bool, bool, int]:
    # "/" first: ostree and btrfs have the root of their file system mounted elsewhere, too, where nobody looks for it.
    return mount.point != "/", mount.root != "/", len(mount.point)


def is_below_autofs(mount: Mount, triggers: Iterable[str]) -> bool:
    """Whether a mount point is at or below one of autofs, whose mount points are ``triggers``."""
    return any(f"{mount.point}/".startswith(f"{trigger.rstrip('/')}/") for trigger in triggers)

"""Mounts of the calling process's mount namespace: mount(2), umount2(2), pivot_root(2), mount_setattr(2).

Each takes the ``call`` that it makes its system calls with: at once, or written into a recipe."""

from __future__ import annotations

import os
import struct

from lattice_agent.exec.kernel import libc

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT = 1, 2, 4, 8, 32
BIND, REC, PRIVATE = 0x1000, 0x4000, 0x4_0000
_DETACH = 2
_AT_RECURSIVE = 0x8000
_ATTRIBUTES = struct.Struct("=4Q")
"""struct mount_attr: attr_set, attr_clr, propagation, userns_fd."""
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4


def mount(kind: str, target: str, flags: int, options: str = "", call: libc.Call = libc.call) -> None:
    """Mount a fresh file system of a kind, such as tmpfs or proc."""
    try:
        call("mount", kind.encode(), os.fsencode(target), kind.encode(), flags, options.encode() or None)
    except OSError as error:
        raise OSError(error.errno, error.strerror, kind) from None


def bind(source: str, target: str, *, recursive: bool = False, call: libc.Call = libc.call) -> None:
    """Make ``source`` also appear at ``target``; directories on directories, files on files."""
    flags = BIND | (REC if recursive else 0)
    call("mount", os.fsencode(source), os.fsencode(target), None, flags, None)


def detach(path: str, call: libc.Call = libc.call) -> int:
    """A descriptor of a copy of the mount at ``path`` that is mounted nowhere (open_tree(2), Linux 5.2)."""
    return call("open_tree", _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | os.O_CLOEXEC)


def attach(fd: int, target: str, call: libc.Call = libc.call) -> None:
    """Mount what ``detach`` gave, also in another mount namespace than it came from (move_mount(2))."""
    call("move_mount", fd, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)


def restrict(target: str, *, read_only: bool = True, devices: bool = False, call: libc.Call = libc.call) -> None:
    """Make a mount and all below it nosuid, nodev (unless ``devices``) and read-only (mount_setattr, Linux 5.12)."""
    wanted = _ATTR_NOSUID | (_ATTR_RDONLY if read_only else 0) | (0 if devices else _ATTR_NODEV)
    attributes = _ATTRIBUTES.pack(wanted, 0, 0, 0)
    call("mount_setattr", _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, attributes, _ATTRIBUTES.size)


def make_private(call: libc.Call = libc.call) -> None:
    """Cut all propagation: no mount made here appears outside, none from outside here."""
    call("mount", None, b"/", None, REC | PRIVATE, None)


def pivot(new_root: str, call: libc.Call = libc.call) -> None:
    """Make ``new_root``, a mount point, the root, and let the old one go with everything below it."""
    call("chdir", os.fsencode(new_root))
    call("pivot_root", b".", b".")
    call("umount2", b".", _DETACH)
    call("chdir", b"/")


def seal(target: str, call: libc.Call = libc.call) -> None:
    """Make one mount, not those below it, read-only."""
    attributes = _ATTRIBUTES.pack(_ATTR_RDONLY, 0, 0, 0)
    call("mount_setattr", _AT_FDCWD, os.fsencode(target), 0, attributes, _ATTRIBUTES.size)

"""Change the mount tree: mount, bind, make writable, unmount, chroot and pivot, by the old calls and the new ones."""

import os
import tempfile

from attempts import attempt, call

MOUNT, UMOUNT, PIVOT_ROOT, CHROOT = (165, 40), (166, 39), (155, 41), (161, 51)
OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
BIND, REMOUNT, RDONLY = 4096, 32, 1
HERE = tempfile.mkdtemp()


def mount(kind, place=HERE):
    call(MOUNT, kind.encode(), place.encode(), kind.encode(), 0, None)


def bind():
    call(MOUNT, b"/usr", HERE.encode(), None, BIND, None)


def make_writable():
    call(MOUNT, None, b"/", None, REMOUNT | BIND, None)


def unmount():
    call(MOUNT, b"/usr", HERE.encode(), None, BIND, None)
    call(UMOUNT, HERE.encode(), 2)


def pivot():
    os.makedirs(HERE, exist_ok=True)
    mount("tmpfs")
    os.chdir(HERE)
    call(PIVOT_ROOT, b".", b".")


def chroot_and_escape():
    call(CHROOT, HERE.encode())
    for _ in range(20):
        os.chdir("..")
    call(CHROOT, b".")


def new_filesystem():
    context = call(FSOPEN, b"tmpfs", 0)
    call(FSCONFIG, context, 6, None, None, 0)
    call(MOVE_MOUNT, call(FSMOUNT, context, 0, 0), b"", -100, HERE.encode(), 4)


attempt("mount tmpfs", mount, "tmpfs")
attempt("mount proc", mount, "proc")
attempt("mount sysfs", mount, "sysfs")
attempt("bind", bind)
attempt("unmount", unmount)
attempt("open_tree", call, OPEN_TREE, -100, b"/usr", 1)
attempt("fsopen", new_filesystem)
attempt("mount_setattr", call, MOUNT_SETATTR, -100, b"/", 0, bytes(32), 32)
attempt("chroot", chroot_and_escape)
attempt("remount the root for writing", make_writable)
attempt("mount over /tmp", mount, "tmpfs", "/tmp")
attempt("unmount /proc", call, UMOUNT, b"/proc", 2)
attempt("pivot_root", pivot)

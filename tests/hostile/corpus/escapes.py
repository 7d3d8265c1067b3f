"""Take ways by which containers were left: the kernel's helper programs, who runs the container, handles, groups."""

import ctypes
import fcntl
import os
import struct
import tempfile

from attempts import attempt, call

MOUNT, UNSHARE, NEW_NAMESPACES = (165, 40), (272, 97), 0x1000_0000 | 0x0002_0000 | 0x0200_0000
NAME_TO_HANDLE, OPEN_BY_HANDLE, GET_OWNER = (303, 264), (304, 265), 0xB701
INIT = os.getppid() or 1
HERE = tempfile.mkdtemp()


def open_for_writing(path):
    os.close(os.open(path, os.O_WRONLY))


def open_program_for_writing(pid):
    """As a runtime was overwritten by what it started; a program that runs answers ETXTBSY to who gets so far."""
    try:
        open_for_writing(f"/proc/{pid}/exe")
    except OSError as error:
        if error.errno != 26:
            raise


def release_agent():
    """Become root of a user namespace, and name a program that the kernel runs when a group is empty."""
    if os.geteuid():
        call(UNSHARE, NEW_NAMESPACES)
    call(MOUNT, b"cgroup", HERE.encode(), b"cgroup", 0, b"pids")
    open_for_writing(f"{HERE}/release_agent")


def climb_by_a_directory_of_ours():
    """As who starts a container with a working directory that was left open."""
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.close(os.open(f"/proc/self/fd/{fd}/etc/shadow", os.O_RDONLY))


def open_by_handle():
    """A file is opened without a path, by whoever gets so far as to know its number."""
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 136)
    call(NAME_TO_HANDLE, -100, b"/etc/shadow", handle, ctypes.create_string_buffer(4), 0)
    call(OPEN_BY_HANDLE, os.open("/etc", os.O_RDONLY | os.O_DIRECTORY), handle, os.O_RDONLY)


def owner_of_a_namespace():
    """By a descriptor of one's own network namespace, to the user namespace of who made it."""
    fcntl.ioctl(os.open("/proc/self/ns/net", os.O_RDONLY), GET_OWNER)


def overlay_of_the_host():
    """Mount what copies files with their attributes up into a place of one's own."""
    for name in ("upper", "work", "merged"):
        os.makedirs(f"{HERE}/{name}", exist_ok=True)
    options = f"lowerdir=/usr/bin,upperdir={HERE}/upper,workdir={HERE}/work"
    call(MOUNT, b"overlay", f"{HERE}/merged".encode(), b"overlay", 0, options.encode())


for setting in ("kernel/core_pattern", "kernel/modprobe", "kernel/poweroff_cmd", "vm/overcommit_memory"):
    attempt(f"write to {setting}", open_for_writing, f"/proc/sys/{setting}")
attempt("write to uevent_helper", open_for_writing, "/sys/kernel/uevent_helper")
attempt("release_agent", release_agent)
attempt("overlay", overlay_of_the_host)
attempt("overwrite the program of init", open_program_for_writing, INIT)
attempt("overwrite the program of the agent", open_program_for_writing, os.environ["AGENT"])
attempt("climb by a descriptor of the root", climb_by_a_directory_of_ours)
attempt("file handle", open_by_handle)
attempt("owner of the network namespace", owner_of_a_namespace)
attempt("files of init", os.listdir, f"/proc/{INIT}/root/root")
attempt("files of the agent", os.listdir, f"/proc/{os.environ['AGENT']}/root/root")

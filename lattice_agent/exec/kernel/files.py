"""The few things with files that a cell's maker does, as calls that can be written down (``recipe``)."""

from __future__ import annotations

import os

from lattice_agent.exec.kernel import libc

AT_FDCWD = -100
_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write(path: str, text: str | bytes, call: libc.Call = libc.call) -> None:
    """Write a short text to an existing file, in one call as the files of /proc want it."""
    data = text.encode() if isinstance(text, str) else text
    fd = call("openat", AT_FDCWD, os.fsencode(path), os.O_WRONLY | os.O_CLOEXEC, 0)
    call("write", fd, data, len(data))
    call("close", fd)


def open_path(path: str, call: libc.Call = libc.call) -> int:
    """A descriptor that only stands for the file (O_PATH)."""
    return call("openat", AT_FDCWD, os.fsencode(path), os.O_PATH | os.O_CLOEXEC, 0)


def open_directory(path: str, call: libc.Call = libc.call) -> int:
    """A descriptor of a directory that is no link."""
    return call("openat", AT_FDCWD, os.fsencode(path), _READ_DIRECTORY, 0)

"""Hear what a script in another cell says by locks on files that both can see, and by opening them."""

import fcntl
import os
import struct
import time
from contextlib import suppress

from attempts import libc, report

SHARED = (
    "/", "/usr", "/usr/bin/env", "/bin/sh", "/etc", "/etc/passwd", "/etc/hosts", "/etc/ld.so.cache", "/dev",
    "/dev/null", "/dev/urandom", "/proc", "/proc/version",
)  # fmt: skip
FIRST_BYTE = struct.pack("=hh4xqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
IN_OPEN = 0x20
PATIENCE_S = float(os.environ.get("PATIENCE_S", "0.8"))
WAYS = ("flock", "lock", "inotify")


def locked(fd):
    """flock(2): tried, and given back."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def in_the_way(fd):
    """fcntl(2), F_GETLK: whether somebody's lock on the first byte would be."""
    answer = fcntl.fcntl(fd, fcntl.F_GETLK, FIRST_BYTE)
    return struct.unpack_from("=h", answer)[0] != fcntl.F_UNLCK


def opened(watch):
    """The numbers of the watched files that somebody has opened."""
    events = b""
    with suppress(BlockingIOError):
        events = os.read(watch, 1 << 16)
    numbers = set()
    while events:
        number, _, _, length = struct.unpack_from("=iIII", events)
        events = events[16 + length :]
        numbers.add(number)
    return numbers


fds = {}
for path in SHARED:
    with suppress(PermissionError):
        fds[path] = os.open(path, os.O_RDONLY)
watch = libc.inotify_init1(os.O_NONBLOCK)
watched = {libc.inotify_add_watch(watch, path.encode(), IN_OPEN): path for path in SHARED} if watch >= 0 else {}
heard = set()
end = time.monotonic() + PATIENCE_S
while time.monotonic() < end and len(heard) < len(WAYS) * len(SHARED):
    for path, fd in fds.items():
        heard |= {f"flock {path}"} if locked(fd) else set()
        heard |= {f"lock {path}"} if in_the_way(fd) else set()
    heard |= {f"inotify {watched[number]}" for number in opened(watch)} if watched else set()
    time.sleep(0.02)
for path in SHARED:
    for way in WAYS:
        report(f"{way} {path}", "works" if f"{way} {path}" in heard else "silence")

"""What pipes and sockets of a cell may hold: memory of the kernel's own, of which no process's size tells.

Two measures. The cheap one charges every open descriptor as if it were the dearest there can be. The exact one reads
where the descriptors lead and charges each pipe and each socket once, whoever has it open, at what it may hold and not
at what it holds: that cannot be read. All others are free.

Not seen: what is on its way between processes (SCM_RIGHTS, unix(7)); RLIMIT_NOFILE bounds it for each uid, to about
twice FILES_MOST descriptors.
"""

from __future__ import annotations

import ctypes
import stat
import struct

from lattice_agent.exec.cell_processes import Processes

PIPE_BYTES = 64 * 1024
"""A pipe's 16 pages (PIPE_DEF_BUFFERS, fs/pipe.c); seccomp refuses F_SETPIPE_SZ."""
PIPES_BYTES = 64 * 1024 * 1024
"""fs.pipe-user-pages-soft as Linux sets it: a uid that has so much in pipes gets small ones from then on."""
LATER_PIPE_BYTES = 8 * 1024
"""PIPE_MIN_DEF_BUFFERS: two pages."""
SOCKET_BYTES = 512 * 1024
"""A send buffer (net.core.wmem_default, 208 KiB) has room for one more message while it is not full. Measured with the
kernel's counter: 241 KiB for a stream, 394 to 522 for datagrams of the worst lengths."""
COUNTED_SINCE = 3
"""Descriptors that every process has. A size of less is a kernel that does not tell it (before Linux 6.2)."""
_AT_STATX_DONT_SYNC = 0x4000
"""A file on a server that does not answer must not hold up the spawner."""
_TYPE_AND_INODE = 0x101
_STATX_BYTES = 256
_MODE, _INODE, _DEVICE = struct.Struct("=28xH"), struct.Struct("=32xQ"), struct.Struct("=136xII")
"""Fields of struct statx (linux/stat.h)."""
_libc = ctypes.CDLL(None)


def open_count(processes: Processes, pid: int) -> int:
    """How many descriptors a process has open. 2 us: ``st_size`` of /proc/<pid>/fd is their number (Linux 6.2)."""
    count = processes.size(f"{pid}/fd")
    return count if count >= COUNTED_SINCE else len(processes.names(f"{pid}/fd"))


def may_hold(pipes: int, sockets: int) -> int:
    """Bytes at most in so many pipes and sockets of one uid."""
    large = min(pipes, PIPES_BYTES // PIPE_BYTES)
    return large * PIPE_BYTES + (pipes - large) * LATER_PIPE_BYTES + sockets * SOCKET_BYTES


class Held:
    """The exact measure of some processes: 3 us for each descriptor. ``sockets``: nobody else counts them."""

    def __init__(self, processes: Processes, *, sockets: bool) -> None:
        self._processes = processes
        self._count_sockets = sockets
        self._pipes: set[object] = set()
        self._sockets: set[object] = set()

    @property
    def bytes(self) -> int:
        """Of all processes that were added."""
        return may_hold(len(self._pipes), len(self._sockets) if self._count_sockets else 0)

    def add(self, pid: int) -> None:
        """Look where the descriptors of a process lead. Where we may not, each is the dearest there is."""
        where = f"{pid}/fd"
        names = self._processes.names(where)
        for name in names:
            self._sort(f"{where}/{name}")
        if not names:
            hidden = [(pid, number) for number in range(self._processes.size(where))]
            (self._sockets if self._count_sockets else self._pipes).update(hidden)

    def _sort(self, path: str) -> None:
        target = self._processes.link(path)
        if target.startswith("pipe:"):
            self._pipes.add(target)
        elif target.startswith("socket:"):
            self._sockets.add(target)
        elif target.startswith("/") and (fifo := _fifo(self._processes, path)):
            self._pipes.add(fifo)


def _fifo(processes: Processes, path: str) -> tuple[int, ...] | None:
    """Inode and device of a pipe with a name (fifo(7)); None for every other file."""
    found = ctypes.create_string_buffer(_STATX_BYTES)
    failed = _libc.statx(processes.directory, path.encode(), _AT_STATX_DONT_SYNC, _TYPE_AND_INODE, found)
    if failed or not stat.S_ISFIFO(_MODE.unpack_from(found)[0]):
        return None
    return (*_INODE.unpack_from(found), *_DEVICE.unpack_from(found))

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
from collections.abc import Callable

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
PIPE, SOCKET = "pipe:", "socket:"
"""How links of /proc/<pid>/fd begin."""
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


AskInside = Callable[[], dict[int, list[str]]]
"""Where the descriptors of a cell's processes lead, for who may not look; without those of which it is not known."""


class Held:
    """The exact measure of some processes: 3 us for each descriptor. ``sockets``: nobody else counts them."""

    def __init__(self, processes: Processes, ask_inside: AskInside, *, sockets: bool) -> None:
        self._processes = processes
        self._ask_inside = ask_inside
        self._count_sockets = sockets
        self.answered = True
        """Whether all was seen; otherwise ``bytes`` may be too much."""
        self._ends: set[str] = set()
        self._unseen = 0
        self._inside: dict[int, list[str]] | None = None

    @property
    def bytes(self) -> int:
        """Of all processes that were added."""
        sockets = sum(end.startswith(SOCKET) for end in self._ends)
        pipes = len(self._ends) - sockets
        if self._count_sockets:
            return may_hold(pipes, sockets + self._unseen)
        return may_hold(pipes + self._unseen, 0)

    def add(self, pid: int) -> None:
        """Look where the descriptors of a process lead. Where nobody can, each is the dearest there is."""
        if self._processes.names(f"{pid}/fd"):
            self._ends.update(ends_of(self._processes, pid))
        elif count := self._processes.size(f"{pid}/fd"):
            inside = self._seen_inside()
            if pid in inside:
                self._ends.update(inside[pid])
            else:
                self.answered = False
                self._unseen += count

    def _seen_inside(self) -> dict[int, list[str]]:
        if self._inside is None:
            self._inside = self._ask_inside()
        return self._inside


def ends_of(processes: Processes, pid: int) -> list[str]:
    """The pipes and sockets that a process has open, each by a name of its own without spaces."""
    where = f"{pid}/fd"
    found = (_end(processes, f"{where}/{name}") for name in processes.names(where))
    return [end for end in found if end]


def _end(processes: Processes, path: str) -> str:
    target = processes.link(path)
    if target.startswith((PIPE, SOCKET)):
        return target
    return _fifo(processes, path) if target.startswith("/") else ""


def _fifo(processes: Processes, path: str) -> str:
    """A name for a pipe that has one of its own (fifo(7)), by inode and device; empty for every other file."""
    found = ctypes.create_string_buffer(_STATX_BYTES)
    failed = _libc.statx(processes.directory, path.encode(), _AT_STATX_DONT_SYNC, _TYPE_AND_INODE, found)
    if failed or not stat.S_ISFIFO(_MODE.unpack_from(found)[0]):
        return ""
    return "fifo:" + ":".join(map(str, (*_INODE.unpack_from(found), *_DEVICE.unpack_from(found))))

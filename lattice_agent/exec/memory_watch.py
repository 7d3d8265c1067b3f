"""How much memory a cell uses, looked up from outside, where no memory controller counts it.

What counts: anonymous memory and page tables of all processes, the tmpfs, and what sockets may hold. Shared memory that
is mapped nowhere cannot be seen this way, so the seccomp variant for this case refuses memfd_create, System V objects,
shared anonymous mappings and inotify; pipes are bounded by the kernel (pipe-user-pages-soft of an own uid).

Two measures: a cheap one that counts a page once for every process that maps it, and an exact one, taken only when the
cheap one is over the limit, so that a program that forks after loading its data is not killed for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from lattice_agent.exec.kernel import proctree

INTERVAL_MS = 10
"""Measured: at 256 MiB four processes that fill memory overshoot by up to 21 MiB when looked at this often."""
SOCKET_BYTES = 256 * 1024
"""Charged for each socket of the cell: more than its send buffer may hold (net.core.wmem_default is 208 KiB)."""
HOT_INTERVAL_MS = 1
"""The same once a cell uses more than half of its limit: many processes fill memory faster than four."""
_READ_MOST = 8192
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Place:
    """Where to look: descriptors of the cell's own /proc and tmpfs, or the root of its tree (level landlock)."""

    def __init__(self, init: int, proc: int, work: int, *, own_network: bool) -> None:
        self.init = init
        self.proc = proc
        """-1: no own /proc; the tree of ``init`` on the host's."""
        self.work = work
        """Descriptor on the tmpfs; -1 if the work directory is on the host's disk."""
        self.own_network = own_network

    def over(self, limit: int) -> tuple[int, bool]:
        """Bytes used now, and whether they are more than ``limit``."""
        shared = self._tmpfs_bytes() + self._socket_bytes()
        pids = self._processes()
        used = shared + sum(self._private_bytes(pid) for pid in pids)
        if used <= limit:
            return used, False
        used = shared
        for pid in pids:
            used += self._exact_bytes(pid)
            if used > limit:  # no time to lose with the rest
                return used, True
        return used, False

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in (self.proc, self.work):
            if fd >= 0:
                os.close(fd)
        self.proc = self.work = -1

    def _processes(self) -> list[int]:
        if self.proc >= 0:
            return [int(name) for name in os.listdir(self.proc) if name.isdigit() and name != "1"]
        found = proctree.look(self.init)
        proctree.close(found)
        return [process.pid for process in found]

    def _private_bytes(self, pid: int) -> int:
        """Anonymous memory and page tables: proc_pid_status(5)."""
        return sum(self._status_bytes(pid, (b"RssAnon:", b"VmPTE:")))

    def _status_bytes(self, pid: int, names: tuple[bytes, ...]) -> list[int]:
        text = self._read(f"{pid}/status")
        if b"RssAnon:" not in text:  # its first thread has ended, others have not
            text = next((other for other in self._threads(pid) if b"RssAnon:" in other), b"")
        lines = text.split(b"\n")
        return [int(line.split()[1]) * 1024 for line in lines if line.startswith(names)]

    def _threads(self, pid: int) -> Iterator[bytes]:
        """What each thread of a process says in its status."""
        where = f"{pid}/task"
        try:
            fd = os.open(
                where if self.proc >= 0 else f"/proc/{where}", _DIRECTORY, dir_fd=self.proc if self.proc >= 0 else None
            )
        except OSError:
            return
        try:
            tids = os.listdir(fd)
        except OSError:
            tids = []
        finally:
            os.close(fd)
        for tid in tids:
            yield self._read(f"{where}/{tid}/status")

    def _exact_bytes(self, pid: int) -> int:
        """As ``_private_bytes``, but each page divided by the processes that share it: Pss_Anon of smaps_rollup."""
        for line in self._read(f"{pid}/smaps_rollup").splitlines():
            if line.startswith(b"Pss_Anon:"):
                return int(line.split()[1]) * 1024 + sum(self._status_bytes(pid, (b"VmPTE:",)))
        return self._private_bytes(pid)

    def _tmpfs_bytes(self) -> int:
        if self.work < 0:
            return 0
        size = os.fstatvfs(self.work)
        return (size.f_blocks - size.f_bfree) * size.f_frsize

    def _socket_bytes(self) -> int:
        """From the network namespace's own count (/proc/<pid>/net/sockstat)."""
        if not self.own_network:
            return 0
        fields = self._read("1/net/sockstat").split(maxsplit=3)
        return int(fields[2]) * SOCKET_BYTES if len(fields) > 2 else 0

    def _read(self, path: str) -> bytes:
        """A small file of /proc; empty when its process is gone."""
        try:
            if self.proc >= 0:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
            else:
                fd = os.open(f"/proc/{path}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.read(fd, _READ_MOST)
        except OSError:
            return b""
        finally:
            os.close(fd)

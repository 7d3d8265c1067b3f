"""The processes of a cell as the spawner reaches them from outside: listed, read, stopped for a moment.

At levels with namespaces everything goes through the cell's own /proc, in which there is nothing but the cell: a
process id that was used anew is one of the same cell. At level landlock it is the host's /proc, and what is signalled
there was pinned before (``proctree``).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

from lattice_agent.exec.kernel import proctree

INIT = "1"
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
STOP_ROUNDS = 4
"""Listings at most until one finds nobody new. fork(2) gives way to a signal that waits when it begins (copy_process,
kernel/fork.c), so who appears after the second is of one that had begun; such a cell is measured as it is."""
COUNTED = 256
"""Processes that are told apart in a count; it costs about 10 us for each."""
_READ_MOST = 8192
_MEMORY = b"\nRssAnon:"
"""At the beginning of a line: without, it may be in the name that a process has given itself."""
_DEAD = (b"", b"Z", b"X")
_STOPPED = (b"T", b"t", b"Z", b"X")
"""States of proc_pid_stat(5) in which a process does nothing, and must not be continued by us."""


class Processes:
    """Everything in a cell but its init. ``proc``: a descriptor of the cell's own /proc; -1: the tree of ``init``."""

    def __init__(self, init: int, proc: int) -> None:
        self._init = init
        self._own = proc >= 0
        self._proc = proc if proc >= 0 else os.open("/proc", DIRECTORY)
        self._stopped: set[int] = set()

    @property
    def directory(self) -> int:
        """A descriptor of the /proc that all paths here are below."""
        return self._proc

    def close(self) -> None:
        """Give the descriptor back."""
        if self._proc >= 0:
            os.close(self._proc)
        self._proc = -1

    def ids(self) -> list[int]:
        """All that there are now, as /proc calls them."""
        if self._own:
            return [int(name) for name in os.listdir(self._proc) if name.isdigit() and name != INIT]
        found = self._children(self._init)
        for pid in found:  # grows while it is gone through
            if len(found) > proctree.MOST:
                break
            found += self._children(pid)
        return found

    def count_running(self) -> int:
        """How many there are that are not dead already; COUNTED at most."""
        states = (self._state(pid) for pid in self.ids()[:COUNTED])
        return sum(state not in _DEAD for state in states)

    def read(self, path: str) -> bytes:
        """A small file of /proc; empty when its process is gone."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError:
            return b""
        try:
            return os.read(fd, _READ_MOST)
        except OSError:
            return b""
        finally:
            os.close(fd)

    def names(self, path: str) -> list[str]:
        """What is in a directory of /proc; empty when its process is gone, or not to be looked into."""
        try:
            fd = os.open(path, DIRECTORY, dir_fd=self._proc)
        except OSError:
            return []
        try:
            return os.listdir(fd)
        except OSError:
            return []
        finally:
            os.close(fd)

    def link(self, path: str) -> str:
        """Where a link of /proc leads; empty when it is gone."""
        try:
            return os.readlink(path, dir_fd=self._proc)
        except OSError:
            return ""

    def size(self, path: str) -> int:
        """``st_size`` of a file of /proc; 0 when it is gone."""
        try:
            return os.stat(path, dir_fd=self._proc).st_size
        except OSError:
            return 0

    def status(self, pid: int) -> bytes:
        """proc_pid_status(5); of another thread if the first one has ended, which says nothing of memory then. Empty:
        it is gone."""
        text = self.read(f"{pid}/status")
        if text and _MEMORY not in text:
            return next((other for other in self._thread_status(pid) if _MEMORY in other), text)
        return text

    def stop(self) -> None:
        """Nobody in the cell runs until ``proceed``, nor after a kill. Who was stopped already is left as it is."""
        seen: set[int] = set()
        for _ in range(STOP_ROUNDS):
            new = set(self.ids()) - seen
            if not new:
                return
            seen |= new
            running = {pid for pid in new if self._state(pid) not in _STOPPED}
            self._stopped |= running
            self._signal(running, signal.SIGSTOP)

    def proceed(self) -> None:
        """Those that ``stop`` stopped go on."""
        if self._stopped:
            self._signal(self._stopped, signal.SIGCONT)
            self._stopped = set()

    def _state(self, pid: int) -> bytes:
        return self.read(f"{pid}/stat").rpartition(b") ")[2][:1]

    def _signal(self, pids: set[int], number: int) -> None:
        if self._own:
            for pid in pids:
                self._send(pid, number)
            return
        found = proctree.look(self._init)
        for process in found:
            if process.pid in pids:
                process.send(number)
        proctree.close(found)

    def _send(self, pid: int, number: int) -> None:
        """Through the directory of a process in its own /proc, which is as good as a pidfd (pidfd_send_signal(2))."""
        try:
            fd = os.open(str(pid), DIRECTORY, dir_fd=self._proc)
        except OSError:
            return
        try:
            signal.pidfd_send_signal(fd, number)
        except OSError:
            return
        finally:
            os.close(fd)

    def _children(self, pid: int) -> list[int]:
        threads = self.names(f"{pid}/task")
        return [int(child) for each in threads for child in self.read(f"{pid}/task/{each}/children").split()]

    def _thread_status(self, pid: int) -> Iterator[bytes]:
        for tid in self.names(f"{pid}/task"):
            yield self.read(f"{pid}/task/{tid}/status")

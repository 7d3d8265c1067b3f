"""Where the descriptors of a cell's processes lead, seen by a child that enters the cell's user namespace.

Without root, but with a range of ids, a script has another uid than the spawner, and /proc/<pid>/fd is open to that uid
only. The spawner made the user namespace, and so a child of it may enter that, and may look there (capabilities(7):
CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE). It is asked rarely: when a cell could be over its limit by what its descriptors
may hold.

It takes some ms, unless the processors are full of others: the spawner waits for ANSWER_S at a time and goes back to
its other work in between, and the child goes on.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from lattice_agent.exec.cell_processes import Processes
from lattice_agent.exec.kernel import namespaces

ANSWER_S = 0.02
"""What the spawner waits at a time."""
ANSWER_MOST = 1 << 20
_PIECE = 65536
_PID_DIGITS = 10


class InsideLook:
    """One look: a child of this process that says what ``lead_to`` says of each of ``pids``. Raises OSError."""

    def __init__(self, processes: Processes, pids: list[int], lead_to: Callable[[int], list[str]]) -> None:
        self._read = self._pidfd = -1
        self._text = b""
        self._found: dict[int, list[str]] | None = None
        self.pid = 0
        """Of the child; 0 if there is none, because nobody is left to be looked at."""
        namespace = _user_namespace(processes, pids)
        if namespace < 0:
            self._found = {}
            return
        try:
            self._read, write = os.pipe2(os.O_CLOEXEC)
            try:
                self.pid, self._pidfd = namespaces.clone(0)
                if self.pid == 0:
                    _answer(namespace, write, pids, lead_to)
            finally:
                os.close(write)
        except OSError:
            self.close()
            raise
        finally:
            os.close(namespace)

    def answer(self) -> dict[int, list[str]] | None:
        """By process what was said of it; without who was not there, empty if the look failed. None: not in time, to be
        asked again."""
        if self._found is not None:
            return self._found
        poll = select.poll()  # not select(2): the descriptor may be above 1023
        poll.register(self._read, select.POLLIN)
        until = time.monotonic() + ANSWER_S
        while self._found is None and (left := until - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                self._take(os.read(self._read, _PIECE))
        return self._found

    def close(self) -> None:
        """End the child, if it has not ended, and give the descriptors back."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError, ChildProcessError):  # the spawner's loop has reaped it
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        for fd in (self._read, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._read = self._pidfd = -1

    def _take(self, piece: bytes) -> None:
        self._text += piece
        if len(self._text) > ANSWER_MOST:
            self._found = {}
        elif not piece:
            self._found = _parsed(self._text)


def _user_namespace(processes: Processes, pids: list[int]) -> int:
    for pid in pids:
        try:
            return os.open(f"{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC, dir_fd=processes.directory)
        except OSError:
            continue
    return -1


def _answer(namespace: int, write: int, pids: list[int], lead_to: Callable[[int], list[str]]) -> None:
    """In the child; never returns."""
    try:
        namespaces.enter(namespace, namespaces.NEWUSER)
        lines = [f"{pid} {target}\n" for pid in pids for target in ["", *lead_to(pid)]]
        with open(write, "wb") as pipe:
            pipe.write("".join([*lines, "end\n"]).encode())
    finally:
        os._exit(0)


def _parsed(text: bytes) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    lines = text.decode("ascii", "replace").split("\n")
    if lines[-2:] != ["end", ""]:
        return {}
    for line in lines[:-2]:
        pid, _, target = line.partition(" ")
        if not pid.isdecimal() or len(pid) > _PID_DIGITS:  # the rest of a name that had a line feed in it
            continue
        found.setdefault(int(pid), []).extend([target] if target else [])
    return found

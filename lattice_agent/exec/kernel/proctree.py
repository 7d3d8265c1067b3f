"""The descendants of a process, each pinned by a pidfd (/proc/<pid>/task/<tid>/children, pidfd_open(2)).

A process id read from /proc may belong to somebody else a moment later. A look is therefore made so that a signal
sent through what it returns reaches a descendant or nobody:

* the pidfd is opened first and the parent checked after: if the id was reused before, the parent is a stranger and
  the entry is dropped; if it is reused later, the pidfd still names the process that is gone;
* the children of a process count only if that process still exists after they were read.

Without CONFIG_PROC_CHILDREN the children come from the parent fields of one pass over /proc/<pid>/stat.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Container

MOST = 256
"""Processes of one look, each of which holds a descriptor. What is beyond is found by the next look, when the first
ones are dead; a look that is cut short by the descriptor limit ends the same way."""

_STAT_LIMIT = 4096
_ZOMBIE_STATES = frozenset("ZX")


class Process:
    """One descendant as it was seen: id, session, state letter of proc(5); ``close()`` when done with it."""

    __slots__ = ("_pidfd", "pid", "session", "state")

    def __init__(self, pid: int, pidfd: int, session: int, state: str) -> None:
        self.pid = pid
        self.session = session
        self.state = state
        self._pidfd = pidfd

    def running(self) -> bool:
        """Whether it was alive: not a zombie that only waits for its parent."""
        return self.state not in _ZOMBIE_STATES

    def send(self, number: int) -> bool:
        """Send a signal; False when the process no longer exists or may not be signalled."""
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def exists(self) -> bool:
        """Whether it still exists, if only as a zombie."""
        try:
            signal.pidfd_send_signal(self._pidfd, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._pidfd)


def look(root: int, skip: Container[int] = ()) -> list[Process]:
    """The descendants of ``root`` but those in or below ``skip``: at most MOST, parents before their children."""
    children_of = _children_reader()
    found: list[Process] = []
    done = -1
    while done < len(found):
        parent = found[done] if done >= 0 else None
        done += 1
        parent_pid = root if parent is None else parent.pid
        pids = [pid for pid in children_of(parent_pid) if pid not in skip]
        if parent is not None and not parent.exists():
            continue  # its children are the root's by now; the next look finds them there
        for pid in pids:
            if len(found) == MOST:
                return found
            try:
                process = _pin(pid, (parent_pid, root))
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                    return found
                raise
            if process is not None:
                found.append(process)
    return found


def close(processes: list[Process]) -> None:
    """Close every process of a look."""
    for process in processes:
        process.close()


def parse_stat(text: str) -> tuple[int, int, str]:
    """Parent, session and state letter from a line of /proc/<pid>/stat. The name in it may hold anything but NUL."""
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), int(fields[3]), fields[0]


def _pin(pid: int, parents: tuple[int, int]) -> Process | None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    stat = _read_stat(pid)
    if stat is None or stat[0] not in parents:
        os.close(pidfd)
        return None
    return Process(pid, pidfd, session=stat[1], state=stat[2])


def _read_stat(pid: int) -> tuple[int, int, str] | None:
    text = _read(f"/proc/{pid}/stat")
    return parse_stat(text) if text else None


def _read(path: str) -> str:
    """The text of a small file of /proc; empty when the process is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return ""
    try:
        parts = []
        while part := os.read(fd, _STAT_LIMIT):
            parts.append(part)
        return b"".join(parts).decode("utf-8", "replace")
    except ProcessLookupError:
        return ""
    finally:
        os.close(fd)


def _children_reader() -> Callable[[int], list[int]]:
    pid = os.getpid()
    if os.path.exists(f"/proc/{pid}/task/{pid}/children"):
        return _listed_children
    parents = _parents_of_all()
    return lambda pid: [child for child, parent in parents if parent == pid]


def _listed_children(pid: int) -> list[int]:
    """From the kernel's own lists: one per thread, because a child belongs to the thread that made it."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for thread in threads for child in _read(f"/proc/{pid}/task/{thread}/children").split()]


def _parents_of_all() -> list[tuple[int, int]]:
    """(process, parent) of everything in /proc."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [(pid, stat[0]) for pid in pids if (stat := _read_stat(pid)) is not None]

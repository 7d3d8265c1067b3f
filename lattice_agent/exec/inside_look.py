"""Where the descriptors of a cell's processes lead, seen by a child that enters the cell's user namespace.

Without root, but with a range of ids, a script has another uid than the spawner, and /proc/<pid>/fd is open to that uid
only. The spawner made the user namespace, and so a child of it may enter that, and may look there (capabilities(7):
CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE). It is asked rarely: when a cell could be over its limit by what its descriptors
may hold.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from lattice_agent.exec.cell_processes import Processes
from lattice_agent.exec.kernel import namespaces

ANSWER_S = 0.1
"""For all of it: some ms, unless the processors are full of others. Later, nothing has been seen."""
ANSWER_MOST = 1 << 20
_PIECE = 65536
_PID_DIGITS = 10


def look(processes: Processes, pids: list[int], lead_to: Callable[[int], list[str]]) -> dict[int, list[str]]:
    """By process what ``lead_to`` says of it inside; empty if there was no answer in time."""
    namespace = _user_namespace(processes, pids)
    if namespace < 0:
        return {}
    read, write = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = namespaces.clone(0)
    if pid == 0:
        _answer(namespace, write, pids, lead_to)
    for fd in (namespace, write):
        os.close(fd)
    try:
        text = _all_of(read)
        os.kill(pid, 9)  # our own child, not reaped yet; it has ended, or is not waited for any longer
        os.waitpid(pid, 0)
    finally:
        os.close(read)
        os.close(pidfd)
    return _parsed(text)


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


def _all_of(read: int) -> bytes:
    """Until the end-of-file; nothing if it does not come in time."""
    deadline = time.monotonic() + ANSWER_S
    text = b""
    while (left := deadline - time.monotonic()) > 0 and len(text) <= ANSWER_MOST:
        if select.select([read], [], [], left)[0]:
            piece = os.read(read, _PIECE)
            if not piece:
                return text
            text += piece
    return b""


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

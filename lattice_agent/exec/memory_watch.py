"""How much memory a cell uses, looked up from outside, where no memory controller counts it.

What counts: anonymous memory and page tables of all processes, the tmpfs, what pipes and sockets may hold. Shared
memory that is mapped nowhere cannot be seen this way, so the seccomp variant for this case refuses memfd_create, System
V objects, shared anonymous mappings, inotify and rules of Landlock (``syscalls``).

Two looks. The cheap one counts a page once for every process that maps it, and every descriptor as a full pipe or
socket: never too little. Only when that is over the limit the exact one is taken, so that a program that forks after
loading its data, or has many files open, is not killed for it. Costs, measured: the cheap one 0.03 ms for 1 process,
0.08 for 4, 0.6 for 40; the exact one 0.1 ms for each process, 70 ns for each page and 1 us for each page of tables. It
is not taken again before the cell can have got to its limit (``most_since``).

An exact look at many processes that go on meanwhile is of little worth: what it has been at grows, and where the
spawner is one process among many it hardly gets a turn. One that would take longer than PATIENCE_MS, or is over the
limit, is therefore taken with the cell stopped (SIGSTOP). What a script can notice: a parent that asks for it
(WUNTRACED) sees its child stop and go on, a handler of SIGCONT is called, a few calls end with EINTR (signal(7)).

Where a child of the spawner has to look (``inside_look``) the cell is stopped, too, and stays so until all is known,
UNDECIDED_S at most: processors that are full of others are no reason to end a script for memory that it does not use.
"""

from __future__ import annotations

import os
import time

from lattice_agent.exec.cell_processes import Processes
from lattice_agent.exec.inside_look import InsideLook
from lattice_agent.exec.open_files import PIPE_BYTES, SOCKET_BYTES, Held, ends_of, open_count

MIB = 1 << 20
INTERVAL_MS = 10
"""The longest between two looks; at the rates below a cell that uses nothing yet gets to a tenth of 256 MiB."""
SHORTEST_MS = 1
"""The shortest: with 40 processes a cheap look takes more than half of it."""
GROWTH_BYTES_PER_MS = 2 * MIB
"""What one processor can fill at most. Measured, 2 processors: 1.35 MiB for one process that writes to new pages, 2.1
for two; pipes up to 3.8 for a moment, where their pages are in the processor's cache."""
PATIENCE_MS = 3
"""Of an exact look at a cell that runs: 12 MiB by the rate above, on two processors."""
UNDECIDED_S = 2.0
"""How long a cell is stopped until what its descriptors hold is known; then it counts as the most that it can be."""
LISTINGS = 3
"""Of the processes at a cheap look, if some of them are gone each time."""
GONE_OR_WAITING = (b"", b"D")
"""States in which the list of processes may be out of date: one has handed on what it had, or is in vfork(2)."""
CLONE, VFORK = {"x86_64": (56, 58), "aarch64": (220, None)}.get(os.uname().machine, (None, None))
CLONE_VFORK = 0x4000
VFORK_WAITS_IN = b"kernel_clone"
"""The function of kernel/fork.c in which it waits for its child (/proc/<pid>/wchan)."""
PAGE = os.sysconf("SC_PAGE_SIZE")
HUGE_PAGE = 2 * MIB
_HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"


class Seen:
    """One process at a cheap look, in bytes."""

    __slots__ = ("anonymous", "files", "pid", "tables")

    def __init__(self, pid: int, anonymous: int, tables: int, files: int) -> None:
        self.pid = pid
        self.anonymous = anonymous
        self.tables = tables
        self.files = files
        """What its open descriptors could hold."""


class Exact:
    """The result of an exact look: bytes, when it was begun (ns), and the page faults of each process until then."""

    __slots__ = ("anonymous", "at_ns", "faults", "files")

    def __init__(self, at_ns: int, anonymous: int = 0, files: int = 0) -> None:
        self.at_ns = at_ns
        self.anonymous = anonymous
        self.files = files
        self.faults: dict[int, int] = {}

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.anonymous + self.files


# --- decisions ---


def exact_ms(seen: list[Seen]) -> float:
    """What an exact look takes if it is not interrupted: for each process, each of its pages, each page of tables."""
    tables, pages = sum(each.tables for each in seen), sum(each.anonymous for each in seen) / PAGE
    return len(seen) * 0.1 + pages * 70e-6 + tables / PAGE * 1e-3


def growth_most(ms: float, processors: int) -> int:
    """Bytes that a cell can grow by in this time."""
    return int(ms * GROWTH_BYTES_PER_MS * processors)


def pause_ms(room: int, processors: int) -> int:
    """When to look again at a cell that may use ``room`` bytes more: before it can have."""
    return min(max(room // (GROWTH_BYTES_PER_MS * processors), SHORTEST_MS), INTERVAL_MS)


def faulted_most(then: dict[int, int], now: dict[int, int], seen: list[Seen], page: int) -> int:
    """Bytes of anonymous memory that can have come since the faults were ``then``: a page takes a page fault, whether
    it is new or a copy of a shared one (``mm_account_fault``, mm/memory.c). Of a new process everything is new."""
    return sum(
        min((now[each.pid] - then[each.pid]) * page, each.anonymous)
        if each.pid in then and each.pid in now
        else each.anonymous
        for each in seen
    )


def most_since(last: Exact, now: dict[int, int], seen: list[Seen], grown: int, page: int) -> int:
    """Bytes that anonymous memory and files can be, ``grown`` being what can have come in the time since."""
    anonymous = last.anonymous + min(faulted_most(last.faults, now, seen, page), grown)
    return anonymous + min(last.files + grown, sum(each.files for each in seen))


# --- looks ---


class Place:
    """Where to look: descriptors of the cell's own /proc and tmpfs, or the root of its tree (level landlock)."""

    def __init__(self, init: int, proc: int, work: int, *, own_network: bool) -> None:
        self.processes = Processes(init, proc)
        self._work = work
        """Descriptor on the tmpfs; -1 if the work directory is on the host's disk."""
        self._own_network = own_network
        self._processors = len(os.sched_getaffinity(0))
        self._page = bytes_of_a_fault()
        self._last: Exact | None = None
        self._inside: InsideLook | None = None
        self._undecided: float | None = None
        """Since when (monotonic) the cell is stopped and it is not known whether it is over the limit."""
        self.room = 0
        """After ``over``: bytes that the cell may use more, counted with the least that is known."""

    def over(self, limit: int) -> tuple[int, bool]:
        """Bytes used now, and whether they are more than ``limit``: then its processes are stopped, to be killed. While
        that is not known yet they are stopped, too, and it is 0 bytes: the next call tells."""
        seen = self._see_all()
        outside = self._tmpfs_bytes() + self._socket_bytes() + sum(each.tables for each in seen)
        used = outside + sum(each.anonymous for each in seen)
        most = used + sum(each.files for each in seen)
        if most > limit and self._last is not None:
            used = min(used, outside + self._last.anonymous)
            most = min(most, outside + self._most_since(self._last, seen))
        if most > limit:
            found = self._look_closely(limit - outside, seen)
            if found is None and self._may_wait():
                self.room = 0
                return (0, False)
            if found is not None:
                self._last = found
                used = outside + found.anonymous
                most = used + found.files
        self._decided()
        self.room = limit - most
        if most > limit:
            return (most, True)
        self.processes.proceed()
        return (used, False)

    @property
    def child(self) -> int:
        """A process of ours that looks at the cell from inside; 0: there is none."""
        return self._inside.pid if self._inside is not None else 0

    def close(self) -> None:
        """Give the descriptors back."""
        self._decided()
        self.processes.close()
        if self._work >= 0:
            os.close(self._work)
        self._work = -1

    def _see_all(self) -> list[Seen]:
        """Every process. One that was gone when its turn came may have given all it had to a child that was not in the
        list: then the list is read again, at last while nothing in the cell runs."""
        seen: dict[int, Seen] = {}
        for turn in range(LISTINGS):
            if turn == LISTINGS - 1:
                self.processes.stop()
            if self._see_new(seen):
                break
        if self._undecided is None:
            self.processes.proceed()
        return list(seen.values())

    def _see_new(self, seen: dict[int, Seen]) -> bool:
        """Add who is not in there yet; whether nobody was gone when its turn came."""
        new = [pid for pid in self.processes.ids() if pid not in seen]
        found = [each for pid in new if (each := self._see(pid)) is not None]
        seen.update((each.pid, each) for each in found)
        return len(found) == len(new)

    def _see(self, pid: int) -> Seen | None:
        """13 us. None if it is gone."""
        status = self.processes.status(pid)
        if not status:
            return None
        files = open_count(self.processes, pid) * (PIPE_BYTES if self._own_network else SOCKET_BYTES)
        return Seen(pid, kilobytes(status, b"RssAnon:"), kilobytes(status, b"VmPTE:"), files)

    def _most_since(self, last: Exact, seen: list[Seen]) -> int:
        """What anonymous memory and files can be by the last exact look."""
        now = {each.pid: self._state_and_faults(each.pid)[1] for each in seen}
        last.faults = {pid: faults for pid, faults in last.faults.items() if pid in now}
        grown = growth_most((time.monotonic_ns() - last.at_ns) / 1e6, self._processors)
        return most_since(last, now, seen, grown, self._page)

    def _look_closely(self, limit: int, seen: list[Seen]) -> Exact | None:
        """Each page and each file once; more than ``limit`` is not counted out. What is found while the cell runs holds
        only if it is below the limit: of processes that come and go meanwhile a page may be counted more than once.
        Otherwise the cell is stopped. None: what was seen is not all, and could be too much."""
        if exact_ms(seen) <= PATIENCE_MS:
            found = self._count(limit, seen, time.monotonic_ns() + PATIENCE_MS * 1_000_000)
            if found is not None and found.bytes <= limit:
                return found
        self.processes.stop()
        again: dict[int, Seen] = {}
        self._see_new(again)
        return self._count(limit, list(again.values()), None)

    def _count(self, limit: int, seen: list[Seen], until_ns: int | None) -> Exact | None:
        """One pass over the processes, the largest first. None if it takes a look from inside to tell. With a time
        until when there is no such look, and None, too, if it is not done by then, or somebody is not where it was."""
        ask = self._ask_inside if until_ns is None else _not_now
        held = Held(self.processes, ask, sockets=not self._own_network)
        found = Exact(time.monotonic_ns())
        for each in sorted(seen, key=lambda each: each.anonymous + each.files, reverse=True):
            state, found.faults[each.pid] = self._state_and_faults(each.pid)
            if until_ns is not None and (state in GONE_OR_WAITING or time.monotonic_ns() > until_ns):
                return None
            found.anonymous += each.anonymous if len(seen) == 1 else self._exact_bytes(each, state)
            held.add(each.pid)
            found.files = held.bytes
            if found.bytes > limit:  # no time to lose with the rest
                break
        return found if held.answered or found.bytes <= limit or found.anonymous > limit else None

    def _may_wait(self) -> bool:
        """Whether there is time for another exact look."""
        now = time.monotonic()
        self._undecided = self._undecided or now
        return now - self._undecided < UNDECIDED_S

    def _decided(self) -> None:
        self._undecided = None
        self._end_inside()

    def _ask_inside(self) -> dict[int, list[str]]:
        """What is known of whom. fork(2) may make a process after all others were stopped; a look that was answered is
        therefore over, and whoever misses somebody in it has to ask again."""
        if self._inside is None:
            pids = self.processes.ids()
            self._inside = InsideLook(self.processes, pids, lambda pid: ends_of(self.processes, pid))
        found = self._inside.answer()
        if found is None:
            return {}
        self._end_inside()
        return found

    def _end_inside(self) -> None:
        if self._inside is not None:
            self._inside.close()
            self._inside = None

    def _exact_bytes(self, each: Seen, state: bytes) -> int:
        """Anonymous memory, each page divided by the processes that share it: Pss_Anon of smaps_rollup. What may not be
        read counts in full."""
        if state == b"D" and self._waits_for_vfork(each.pid):
            return 0
        text = self.processes.read(f"{each.pid}/smaps_rollup")
        if b"Pss_Anon:" in text:
            return kilobytes(text, b"Pss_Anon:")
        return kilobytes(self.processes.status(each.pid), b"RssAnon:")  # 0 if it is gone

    def _waits_for_vfork(self, pid: int) -> bool:
        syscall = self.processes.read(f"{pid}/syscall")
        if syscall:
            return waits_for_vfork(syscall)
        return (
            self.processes.read(f"{pid}/wchan") == VFORK_WAITS_IN
        )  # not ours to read where the script has another uid

    def _state_and_faults(self, pid: int) -> tuple[bytes, int]:
        """State letter, and page faults without input or output (minflt): proc_pid_stat(5), 7 us. Empty: it is gone."""
        fields = self.processes.read(f"{pid}/stat").rpartition(b") ")[2].split(maxsplit=8)
        return (fields[0], int(fields[7])) if len(fields) > 7 else (b"", 0)

    def _tmpfs_bytes(self) -> int:
        if self._work < 0:
            return 0
        size = os.fstatvfs(self._work)
        return (size.f_blocks - size.f_bfree) * size.f_frsize

    def _socket_bytes(self) -> int:
        """From the network namespace's own count (/proc/<pid>/net/sockstat)."""
        if not self._own_network:
            return 0
        fields = self.processes.read("1/net/sockstat").split(maxsplit=3)
        return int(fields[2]) * SOCKET_BYTES if len(fields) > 2 else 0


def _not_now() -> dict[int, list[str]]:
    """Nothing is known: while a cell runs there is no time to ask inside."""
    return {}


def waits_for_vfork(syscall: bytes) -> bool:
    """Whether a process in state D waits for a child with which it shares its memory (proc_pid_syscall(5)): that is
    counted with the child, which has it until it executes something, and whose pages do not know of two owners."""
    words = syscall.split()
    if not words or not words[0].isdigit():
        return False
    number = int(words[0])
    return number == VFORK or (number == CLONE and len(words) > 1 and bool(int(words[1], 16) & CLONE_VFORK))


def kilobytes(text: bytes, name: bytes) -> int:
    """A field of proc_pid_status(5) or smaps in bytes; 0 where it is missing.

    A field begins a line, and not the first one: that has the process's name, which a script chooses. The kernel writes
    a line feed in it as an escape.
    """
    _, begun, rest = text.partition(b"\n" + name)
    return int(rest.split(None, 1)[0]) * 1024 if begun else 0


def bytes_of_a_fault() -> int:
    """What one page fault can bring. seccomp keeps scripts from asking for huge pages (madvise(2)); where the host
    gives them unasked, a fault may be one."""
    try:
        with open(_HUGE_PAGES, "rb") as file:
            return HUGE_PAGE if b"[always]" in file.read() else PAGE
    except OSError:
        return PAGE

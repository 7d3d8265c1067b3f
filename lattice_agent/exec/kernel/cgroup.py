"""Groups of processes with limits that hold for all of them together: cgroup v2 (cgroups(7), cgroup-v2.rst).

What is made, once ``cgroup_place`` found a group that is ours to manage:

    <the delegated group>        no process: the kernel wants those in leaves; +memory +pids +cpu, each where it exists
      agent                      every process that was in the group: the agent, the spawner
      cells-<pid>.<n>            of one spawner, which holds a lock on it while it lives
        <name>                   one per cell: the limits

* A group that is not delegated is left alone, also by root, also where ``cgroup.kill`` alone could be had from it: a
  group made below ``/`` without asking is somebody else's to find, and the end of a pid namespace is certain without.
  A delegated group in which there is no controller (v1 has them, or the parent passes none on) is used: ``kill`` works,
  limits don't, and ``Groups.controllers`` says so.
* A spawner that is started again finds itself in ``agent`` and uses the group above. It kills and removes every
  ``cells-`` group that nobody has locked: its spawner is dead, whatever pid namespace it was in and whoever has
  its process id now. Several spawners below one group don't disturb each other.
* ``agent`` stays when the groups are closed, with the agent in it; whoever delegated the group removes it.
  ``DelegateSubgroup=agent`` in the unit (systemd 254) gives the same picture from the start.
"""

from __future__ import annotations

import errno
import os
import time

from lattice_agent.exec.kernel import cgroup_place, cgroup_tree
from lattice_agent.exec.kernel.cgroup_tree import ENABLED, PROCESSES, ROUNDS, Directory

CONTROLLERS = ("memory", "pids", "cpu")
"""What is switched on, each where it exists."""

EMPTYING_S = 2.0
"""How long killed processes get to be gone; one that the kernel does not let die (state D) is left and reported."""
_CELLS = "cells-"
_CPU_PERIOD_US = 100_000


class Reading:
    """What a group has used so far; None where the kernel does not tell or the controller is missing.

    ``memory_peak`` in bytes (everything charged: also tmpfs, memfd, pipes and sockets), ``pids_peak`` and
    ``pids_max_events`` (refused forks) in tasks, ``oom_kills`` in processes (where the whole group is killed the kernel
    counts the first one twice), ``cpu_usec`` in microseconds, ``populated``: whether a process is in it or below.
    Before Linux 5.19 ``memory_peak`` is the highest that a reading saw, before 6.1 ``pids_peak`` is None.
    """

    __slots__ = ("cpu_usec", "memory_peak", "oom_kills", "pids_max_events", "pids_peak", "populated")

    def __init__(self, group: Directory) -> None:
        self.memory_peak = _number(group, "memory.peak")
        self.pids_peak = _number(group, "pids.peak")
        self.oom_kills = _value(group, "memory.events", "oom_kill")
        self.pids_max_events = _value(group, "pids.events", "max")
        self.cpu_usec = _value(group, "cpu.stat", "usage_usec")
        self.populated = _value(group, "cgroup.events", "populated") == 1


class Group:
    """One group, for one cell; made by ``Groups.create``. Every failure is an OSError with the path."""

    def __init__(self, parent: Directory, name: str) -> None:
        self._parent = parent
        self._name = name
        self._directory = parent.make(name)
        self._memory_seen: int | None = None

    @property
    def fd(self) -> int:
        """Descriptor of the directory, for CLONE_INTO_CGROUP (clone(2), Linux 5.7); closed by ``remove``."""
        return self._directory.fd

    @property
    def path(self) -> str:
        """Where it is, for messages."""
        return self._directory.path

    def limit(self, memory_bytes: int | None = None, pids: int | None = None, cpu_percent: int | None = None) -> None:
        """Set limits for all processes of the group together; 100 percent is one processor.

        Too much memory kills every process of the group at once (memory.oom.group); swap is no way out. Raises
        FileNotFoundError where the controller is not in ``Groups.controllers``.
        """
        if memory_bytes is not None:
            self._directory.write("memory.oom.group", "1")
            if self._directory.exists("memory.swap.max"):  # not there: the kernel has no swap (_without_swap)
                self._directory.write("memory.swap.max", "0")
            self._directory.write("memory.max", str(memory_bytes))
        if pids is not None:
            self._directory.write("pids.max", str(pids))
        if cpu_percent is not None:
            self._directory.write("cpu.max", f"{cpu_percent * _CPU_PERIOD_US // 100} {_CPU_PERIOD_US}")

    def join(self, pid: int = 0) -> None:
        """Move a process with all its threads into the group; 0 is the caller. What it has allocated stays behind."""
        self._directory.write(PROCESSES, str(pid))

    def kill(self) -> None:
        """Send SIGKILL to everything in the group and below, and don't wait; nothing happens if the group is gone."""
        self._directory.kill()

    def read(self) -> Reading:
        """What it has used. A group that is gone reads as None and empty."""
        reading = Reading(self._directory)
        if reading.memory_peak is None and (now := _number(self._directory, "memory.current")) is not None:
            reading.memory_peak = self._memory_seen = max(now, self._memory_seen or 0)
        return reading

    def remove(self) -> bool:
        """Remove the group and what was made below it; False while a process is in it: kill, and try again.

        After True only ``path`` and ``remove`` may be used.
        """
        if not cgroup_tree.remove(self._parent, self._name):
            return False
        self._directory.close()
        return True


class Groups:
    """The groups of one spawner.

    ``controllers``: what ``Group.limit`` can limit, of CONTROLLERS. ``missing``: for each of the others, why.
    ``leftovers``: paths of a dead spawner's groups that were not empty after EMPTYING_S.
    """

    def __init__(self, base: Directory, own: Directory, missing: dict[str, str], leftovers: list[str]) -> None:
        self.controllers = frozenset(CONTROLLERS) - missing.keys()
        self.missing = missing
        self.leftovers = leftovers
        self._base = base
        self._own = own

    @property
    def path(self) -> str:
        """The directory that the groups are in."""
        return self._own.path

    def create(self, name: str) -> Group:
        """A new, empty group without limits. Raises OSError, EAGAIN where the number of groups is limited."""
        return Group(self._own, name)

    def close(self) -> bool:
        """Kill and remove every group that is left; False if something in one is not dead after EMPTYING_S.

        Descriptors of groups that were not removed stay open.
        """
        try:
            return _destroy(self._base, self._own, time.monotonic() + EMPTYING_S)
        finally:
            self._own.close()
            self._base.close()


def open_groups() -> Groups | None:
    """Take our group into use, as the module's text says; None if it is not ours (``cgroup_place.survey`` tells why).

    What a dead spawner left is killed and removed first. Raises OSError with the path if the group is ours but a step
    fails; processes and controllers are then back where they were.
    """
    path, refusal = cgroup_place.survey()
    if refusal:
        return None
    base = Directory(path)
    try:
        leftovers = _remove_leftovers(base)
        before = _Before(base)
        try:
            missing = _vacate(base, before.moved)
            own = _make_own(base)
        except OSError:
            before.restore()
            raise
        missing = _enable(own) | _without_swap(own) | missing
    except OSError:
        base.close()
        raise
    return Groups(base, own, missing, leftovers)


# --- taking it into use --------------------------------------------------------------------------------------


class _Before:
    """What a group was like, to put it back after a failure. ``moved``: processes that were moved into the leaf."""

    def __init__(self, base: Directory) -> None:
        self.moved: set[int] = set()
        self._base = base
        self._enabled = base.words(ENABLED)
        self._had_leaf = base.exists(cgroup_place.LEAF)

    def restore(self) -> None:
        """Best effort: another spawner may use the controllers meanwhile. What led here is the failure to report."""
        try:
            for name in self._base.words(ENABLED):
                if name not in self._enabled:
                    self._base.write(ENABLED, f"-{name}")
            self._move_back()
            if not self._had_leaf:
                self._base.remove_empty(cgroup_place.LEAF)
        except OSError:
            return

    def _move_back(self) -> None:
        leaf = self._base.child(cgroup_place.LEAF)
        try:
            for pid in self.moved.intersection(leaf.processes()):
                _move(pid, leaf, self._base)
        finally:
            leaf.close()


def _vacate(base: Directory, moved: set[int]) -> dict[str, str]:
    """Move every process into the leaf, and switch the controllers on; which are missing, and why."""
    leaf = base.make(cgroup_place.LEAF, exist_ok=True)
    try:
        for _ in range(ROUNDS):
            for pid in base.processes():
                _move(pid, base, leaf)
                moved.add(pid)
            missing = _enable(base)
            # A process forked meanwhile is still there, and then no controller could be switched on (EBUSY).
            if not base.processes():
                return missing
    finally:
        leaf.close()
    raise OSError(errno.EBUSY, f"processes keep arriving after {ROUNDS} looks", f"{base.path}/{PROCESSES}")


def _move(pid: int, source: Directory, target: Directory) -> None:
    if pid == 0:
        raise OSError(errno.EBUSY, "it holds a process of another pid namespace", f"{source.path}/{PROCESSES}")
    try:
        target.write(PROCESSES, str(pid))
    except ProcessLookupError:
        return


def _enable(directory: Directory) -> dict[str, str]:
    """Switch the controllers on for what is below; which are missing, and why."""
    missing = {}
    offered = directory.words("cgroup.controllers")
    for name in CONTROLLERS:
        if name not in offered:
            missing[name] = f"not in {directory.path}/cgroup.controllers: not passed on, or in use by cgroup v1"
            continue
        try:
            directory.write(ENABLED, f"+{name}")
        except OSError as error:
            missing[name] = f"{error.filename}: {error.strerror}"
    return missing


def _without_swap(own: Directory) -> dict[str, str]:
    """Where swap exists but is not accounted, memory.max would let a cell grow into it: no limit."""
    if own.exists("memory.max") and not own.exists("memory.swap.max") and os.path.exists("/proc/swaps"):
        return {"memory": f"{own.path}/memory.swap.max is missing: swap is not accounted"}
    return {}


def _make_own(base: Directory) -> Directory:
    """A new group of this spawner, locked."""
    for number in range(ROUNDS):
        name = f"{_CELLS}{os.getpid()}.{number}"
        try:
            own = base.make(name)
        except FileExistsError:
            continue  # of a process with our number in another pid namespace, or a leftover that does not die
        if own.lock() and base.exists(name):
            return own
        own.close()  # another spawner took it for a leftover before it was locked
    raise OSError(errno.EEXIST, "no name is free", f"{base.path}/{_CELLS}{os.getpid()}")


def _remove_leftovers(base: Directory) -> list[str]:
    """Kill and remove the groups of dead spawners; the paths of those that are not empty in time."""
    left = []
    deadline = time.monotonic() + EMPTYING_S
    for name in base.children():
        if not name.startswith(_CELLS):
            continue
        try:
            directory = base.child(name)
        except FileNotFoundError:
            continue
        try:
            if directory.lock() and not _destroy(base, directory, deadline):
                left.append(directory.path)
        finally:
            directory.close()
    return left


def _destroy(base: Directory, directory: Directory, deadline: float) -> bool:
    return cgroup_tree.destroy(base, os.path.basename(directory.path), directory, deadline)


# --- reading -------------------------------------------------------------------------------------------------


def _number(group: Directory, name: str) -> int | None:
    """A file that holds one number."""
    text = group.read(name)
    return int(text) if text else None


def _value(group: Directory, name: str, key: str) -> int | None:
    """The number after ``key`` in a file of lines ``key number``."""
    words = group.words(name)
    return int(words[words.index(key) + 1]) if key in words else None

"""One directory of a cgroup v2 hierarchy: its files, its processes, and how it is emptied and removed (cgroups(7)).

Everything goes through descriptors, so that the process may change its root or mount namespace later.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import time

PROCESSES = "cgroup.procs"
ENABLED = "cgroup.subtree_control"
KILL = "cgroup.kill"

ROUNDS = 100
"""Looks at a group until nothing new is in it: processes fork while they are moved or killed."""
MOST_BELOW = 4096
"""Groups below one that are removed in one go; a tree that is larger takes another call."""
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directory:
    """An open directory. Every failure is an OSError with the path of the file in question."""

    __slots__ = ("fd", "path")

    def __init__(self, path: str, fd: int | None = None) -> None:
        self.path = path
        self.fd = os.open(path, _FLAGS) if fd is None else fd

    def close(self) -> None:
        """Close the descriptor; the second time nothing happens."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    # --- files ---

    def read(self, name: str) -> str | None:
        """The text of a file; None if there is no such file, or no such group any more."""
        try:
            fd = self._open(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            parts = []
            while part := os.read(fd, 4096):
                parts.append(part)
            return b"".join(parts).decode()
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise self._named(error, name) from None
        finally:
            os.close(fd)

    def write(self, name: str, text: str) -> None:
        """One write(2) into a file."""
        fd = self._open(name, os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        except OSError as error:
            raise self._named(error, name) from None
        finally:
            os.close(fd)

    def exists(self, name: str) -> bool:
        """Whether there is such a file or group."""
        return os.access(name, os.F_OK, dir_fd=self.fd)

    def words(self, name: str) -> list[str]:
        """The words of a file, none if it is not there."""
        return (self.read(name) or "").split()

    def processes(self) -> list[int]:
        """The processes that are in this very group; 0 stands for one that our pid namespace does not show."""
        return [int(pid) for pid in self.words(PROCESSES)]

    # --- groups below ---

    def make(self, name: str, *, exist_ok: bool = False) -> Directory:
        """A new group below this one, open."""
        try:
            os.mkdir(name, 0o755, dir_fd=self.fd)
        except FileExistsError as error:
            if not exist_ok:
                raise self._named(error, name) from None
        except OSError as error:
            raise self._named(error, name) from None
        return self.child(name)

    def child(self, name: str) -> Directory:
        """A group below this one, open."""
        return Directory(f"{self.path}/{name}", self._open(name, _FLAGS))

    def children(self) -> list[str]:
        """The names of the groups directly below."""
        with os.scandir(self.fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def below(self) -> list[str]:
        """Relative paths of all groups below, parents before children; at most about MOST_BELOW."""
        found = self.children()
        for relative in found:  # grows while it is walked
            if len(found) >= MOST_BELOW:
                break
            try:
                child = self.child(relative)
            except FileNotFoundError:
                continue
            try:
                found += [f"{relative}/{name}" for name in child.children()]
            finally:
                child.close()
        return found

    def remove_empty(self, relative: str) -> bool:
        """Remove a group below; False while a process or a group is in it. It may be gone already."""
        try:
            os.rmdir(relative, dir_fd=self.fd)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                return False
            raise self._named(error, relative) from None
        return True

    # --- as a whole ---

    def lock(self) -> bool:
        """Lock it (flock(2)) for as long as the descriptor is open in any process; False if somebody else has."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._named(error, ".") from None
        return True

    def kill(self) -> None:
        """Send SIGKILL to everything in it and below, and don't wait; nothing happens if the group is gone."""
        try:
            self.write(KILL, "1")
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno != errno.ENOENT:
                raise
            _kill_one_by_one(self)  # before Linux 5.14

    def wait_empty(self, deadline: float) -> bool:
        """Wait until no process is in it or below, at most until ``deadline`` of the monotonic clock."""
        try:
            fd = self._open("cgroup.events", os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            change = select.poll()
            change.register(fd, select.POLLPRI)
            while b"populated 1" in _present_text(fd):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                change.poll(int(left * 1000) + 1)
            return True
        finally:
            os.close(fd)

    def _open(self, name: str, flags: int) -> int:
        try:
            return os.open(name, flags | os.O_CLOEXEC, dir_fd=self.fd)
        except OSError as error:
            raise self._named(error, name) from None

    def _named(self, error: OSError, name: str) -> OSError:
        return OSError(error.errno, error.strerror, f"{self.path}/{name}")


def remove(parent: Directory, name: str) -> bool:
    """Remove a group with all that was made below it; False while a process is in one of them."""
    if parent.remove_empty(name):
        return True
    directory = parent.child(name)
    try:
        below = directory.below()
        for relative in reversed(below):
            if not directory.remove_empty(relative):
                return False
    finally:
        directory.close()
    return bool(below) and parent.remove_empty(name)


def destroy(parent: Directory, name: str, directory: Directory, deadline: float) -> bool:
    """Kill everything in a group and below, wait until it is dead, remove; False if that takes beyond ``deadline``."""
    directory.kill()
    return directory.wait_empty(deadline) and remove(parent, name)


def _present_text(fd: int) -> bytes:
    """The file from its start; empty if the group is gone."""
    try:
        return os.pread(fd, 4096, 0)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return b""
        raise


def _kill_one_by_one(top: Directory) -> None:
    """Without cgroup.kill: stop everything, so that nothing forks, then kill what is listed until nothing new is."""
    for name, value in (("cgroup.freeze", "1"), ("pids.max", "0")):  # before Linux 5.2 only the second, if anything
        if top.exists(name):
            top.write(name, value)
    _kill_listed(top)
    for relative in top.below():
        child = top.child(relative)
        try:
            _kill_listed(child)
        finally:
            child.close()


def _kill_listed(group: Directory) -> None:
    seen: set[int] = set()
    for _ in range(ROUNDS):
        new = [pid for pid in group.processes() if pid not in seen]
        if not new:
            return
        for pid in new:
            _kill_member(pid, group)
        seen.update(new)


def _kill_member(pid: int, group: Directory) -> None:
    """The id may be somebody else's by now: the pidfd is opened first and the membership checked after."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if pid in group.processes():
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)

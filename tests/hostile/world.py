"""A world to fight in: namespaces of its own with private places for files, and a bound on what all of it may use.

It is gone when it is closed or its time is over, whatever happened in it: a protection that fails costs the test and
not the machine.
"""

import fcntl
import os
import re
import resource
import select
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parents[2]
WORLD_S = 300
"""No world is older than this."""
WORLD_FILES = 512 * 1024 * 1024
PLACES = ("/tmp", "/dev/shm", "/run")
"""Directories that every world has its own of, each of WORLD_FILES bytes."""
QUEUES = "/run/queues"
"""Where a world shows its POSIX message queues (mq_overview(7))."""
NUMBERS_APART = "echo 5000 > /proc/sys/kernel/ns_last_pid"
"""Process ids in the world are not those in a cell, so that a script cannot take its own child for the agent."""
SETTLE_S = 10
"""How long whatever is left gets to be gone. Looks, because /proc sends no events."""
ROOT, NOBODY = 0, 62_000 + os.getpid() % 2_000
"""An id that is nobody's, also not that of tests that run beside: the kernel counts a user's processes, whoever made
them."""
RANGED = 64_000 + os.getpid() % 1_500
"""An ordinary user who has a login name, subordinate ids and supplementary groups."""
AGENTS = {"root": ROOT, "nobody": NOBODY, "ranged": RANGED}
SOME_GROUPS = (4, 27)
MIB = 1 << 20
GIVEN = range(2_000_000, 2_065_536)
"""Subordinate ids of RANGED: above those of this host's own accounts."""
_RANGE = f"rm -f /run/given; echo lattice-test:{GIVEN.start}:{len(GIVEN)} > /run/given"
GIVEN_FILES = {
    "/etc/passwd": f"(echo lattice-test:x:{RANGED}:{RANGED}::/:/bin/sh; cat /etc/passwd) > /run/given",
    "/etc/subuid": _RANGE,
    "/etc/subgid": _RANGE,
}
"""Files that every world has its own of, and how each is made."""


def kept_in_sight(paths: list[str]) -> tuple[list[str], list[str]]:
    """Commands of the shell before and after the PLACES are mounted, so that what this process needs of them stays."""
    hidden = [path for path in dict.fromkeys(paths) if path.startswith(tuple(f"{place}/" for place in PLACES))]
    numbered = list(enumerate(hidden, 3))
    hold = [f"exec {number}< '{path}'" for number, path in numbered]
    show = [
        f"mkdir -p '{path}'; mount --no-canonicalize --bind /proc/self/fd/{number} '{path}'; exec {number}<&-"
        for number, path in numbered
    ]
    return hold, show


class World:
    """Namespaces with nothing in them but a first process that reaps.

    ``memory_bytes``, ``tasks``: bounds of all of it together.
    """

    def __init__(self, memory_bytes: int | None = None, tasks: int | None = None) -> None:
        self.memory = MemoryGroup(memory_bytes) if memory_bytes else None
        self._groups = [*filter(None, [self.memory]), *([TaskGroup(tasks)] if tasks else [])]
        given = [f"{script}; mount --bind /run/given {path}" for path, script in GIVEN_FILES.items()]
        mounts = [f"mount -t tmpfs -o mode=1777,size={WORLD_FILES} tmpfs {place}" for place in PLACES]
        paths = [str(REPOSITORY), sys.base_prefix, sys.prefix]
        hold, show = kept_in_sight(paths)
        queues = f"mkdir {QUEUES}; mount -t mqueue mqueue {QUEUES}"
        reaper = f"exec env --ignore-signal=CHLD sleep {WORLD_S}"  # who ignores that children end reaps them
        rest = ["ip link set lo up", queues, NUMBERS_APART, "echo", reaper]
        prepare = "; ".join([*hold, *mounts, *show, *given, *rest])
        reachable = [sys.executable, str(REPOSITORY / "tools/reachable.py"), *paths, "--"]
        namespaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--mount-proc", "--propagation", "private"]
        self._holder = subprocess.Popen(
            ["unshare", *namespaces, "--fork", "--kill-child", *reachable, "sh", "-c", prepare],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=self._join,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.init = int(Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text())
        # A kill(-1) in the wrong place would be the end of more than a test.
        assert os.readlink(f"/proc/{self.init}/ns/pid") != os.readlink("/proc/self/ns/pid")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything in it."""
        pidfd = os.pidfd_open(self.init) if self._holder.poll() is None else -1
        self._holder.kill()
        self._holder.communicate()
        if pidfd >= 0:  # else its time was over already
            select.select([pidfd], [], [], SETTLE_S)
            os.close(pidfd)
        for group in self._groups:
            group.close()

    def start(
        self,
        argv: list[str],
        *,
        uid: int = ROOT,
        environment: Mapping[str, str] | None = None,
        directory: str = "/",
        limits: Mapping[int, int] | None = None,
        terminal: int | None = None,
        **options: Any,
    ) -> "subprocess.Popen[bytes]":
        """A process in the world; it dies with the ``nsenter`` that is returned. ``terminal``: its controlling one."""

        def confine() -> None:
            self._join()
            if terminal is not None:
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
            for number, value in (limits or {}).items():
                resource.setrlimit(number, (value, value))

        groups = f"--groups={','.join(map(str, SOME_GROUPS))}" if uid == RANGED else "--clear-groups"
        ids = [f"--reuid={uid}", f"--regid={uid}", groups, "--pdeathsig=KILL"]
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        return subprocess.Popen(
            [
                *("nsenter", "-t", str(self.init), "-a", "--", "setpriv", *ids),
                *("env", "-i", f"--chdir={directory}", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", *variables, *argv),
            ],
            preexec_fn=confine,
            start_new_session=terminal is not None,
            **options,
        )

    def path(self, inside: str) -> Path:
        """A path in the world as it is reached from outside."""
        return Path(f"/proc/{self.init}/root{inside}")

    def processes(self) -> "list[Process]":
        """Everything alive in it but its first process."""
        found = []
        for entry in self.path("/proc").iterdir():
            if entry.name.isdigit() and entry.name != "1":
                with suppress(OSError):
                    found.append(Process.look(entry))
        return [process for process in found if process.state not in "ZX"]

    def outer_pid(self, pid: int) -> int:
        """What the test's own namespace calls a process of the world (NSpid in proc_pid_status(5))."""
        own = os.readlink(f"/proc/{self.init}/ns/pid")
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if not entry.name.isdigit() or os.readlink(entry / "ns/pid") != own:
                    continue
                if inner_pid(int(entry.name)) == pid:
                    return int(entry.name)
        raise AssertionError(f"no process {pid} in the world")

    def _join(self) -> None:
        for group in self._groups:
            group.join()


def only_child(pid: int) -> int:
    """Of an ``nsenter``: the process in the world, as the test's namespace calls it."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def inner_pid(pid: int) -> int:
    """What the innermost namespace of a process calls it."""
    found = re.search(r"^NSpid:.*\s(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@dataclass(frozen=True)
class Process:
    """A process of a world as it was seen; ``pid`` and ``parent`` as the world calls them."""

    pid: int
    parent: int
    name: str
    arguments: str
    state: str
    pid_namespace: str
    uid: int
    threads: int

    @classmethod
    def look(cls, entry: Path) -> Self:
        status = dict(line.split(":\t", 1) for line in (entry / "status").read_text().splitlines() if ":\t" in line)
        return cls(
            int(status["Pid"]),
            int(status["PPid"]),
            status["Name"],
            (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip(),
            status["State"][0],
            os.readlink(entry / "ns/pid") if status["State"][0] not in "ZX" else "",
            int(status["Uid"].split()[0]),
            int(status.get("Threads", 1)),
        )


_PEAKS = ("memory.max_usage_in_bytes", "memory.kmem.tcp.max_usage_in_bytes")


class Group:
    """A group of one controller (cgroup v1), below our own."""

    def __init__(self, controller: str) -> None:
        lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
        own = next(path for _, name, path in lines if name == controller)
        self._path = Path(tempfile.mkdtemp(prefix="lattice-test-", dir=f"/sys/fs/cgroup/{controller}{own}"))

    def join(self) -> None:
        (self._path / "cgroup.procs").write_text("0")

    def close(self) -> None:
        deadline = time.monotonic() + SETTLE_S
        while (self._path / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._path.rmdir()


class TaskGroup(Group):
    """The outer limit of what forks without end, also as root, whom RLIMIT_NPROC does not bind."""

    def __init__(self, limit: int) -> None:
        super().__init__("pids")
        (self._path / "pids.max").write_text(str(limit))


class MemoryGroup(Group):
    """The outer limit of memory, and the measure of what is used.

    It counts what no process shows: files in memory, pipes, sockets, page tables.
    """

    def __init__(self, limit: int) -> None:
        super().__init__("memory")
        (self._path / "memory.limit_in_bytes").write_text(str(limit))
        (self._path / "memory.kmem.tcp.limit_in_bytes").write_text(str(limit))  # not counted before it has a limit

    def peak(self) -> int:
        """The most that was in use since ``forget``."""
        return sum(int((self._path / name).read_text()) for name in _PEAKS)

    def forget(self) -> int:
        """Drop what is only cached and start to measure anew; the bytes in use now."""
        (self._path / "memory.force_empty").write_text("0")
        for name in _PEAKS:
            (self._path / name).write_text("0")
        return self.peak()

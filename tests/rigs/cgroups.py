"""cgroup v2 groups for tests: a tree that is removed whatever happens, and processes that run inside a group."""

import os
import select
import signal
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT_S = 30
"""Outer limit of what runs inside a group, generous: an emulated processor is ten times slower."""

SPAWNER = """
import signal, subprocess
from lattice_agent.exec.kernel import cgroup
groups = cgroup.open_groups()
cell = groups.create("cell")
sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True, stdout=subprocess.DEVNULL)
cell.join(sleeper.pid)
print(groups.path, sleeper.pid, flush=True)
signal.pause()
"""
"""A program that has a cell with a process in it, says where, and waits to be killed."""


def own_group() -> str:
    """The group of this process as the kernel names it."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next(line[3:] for line in lines if line.startswith("0::"))


def members(group: Path | str) -> set[int]:
    """The processes of a group."""
    return {int(pid) for pid in Path(group, "cgroup.procs").read_text().split()}


@contextmanager
def temporary_group(parent: Path) -> Iterator[Path]:
    """A group of its own below ``parent``; at the end everything in it is killed and removed."""
    group = Path(tempfile.mkdtemp(prefix="lattice-test-", dir=parent))
    group.chmod(0o755)
    try:
        yield group
    finally:
        (group / "cgroup.kill").write_text("1")
        wait_unpopulated(group)
        for path, _, _ in os.walk(group, topdown=False):
            os.rmdir(path)


def wait_unpopulated(group: Path, limit_s: float = LIMIT_S) -> None:
    """Until no process is in the group or below."""
    deadline = time.monotonic() + limit_s
    with open(group / "cgroup.events", "rb", buffering=0) as events:
        change = select.poll()
        change.register(events, select.POLLPRI)
        while b"populated 1" in os.pread(events.fileno(), 4096, 0):
            assert time.monotonic() < deadline, f"{group} does not become empty"
            change.poll(1000)


def inside(group: Path, body: Callable[[], object], uid: int = 0) -> None:
    """Run ``body`` in a fork of this process that is in ``group``, as ``uid``; raise what it raised."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_inside(group, body, uid, write)
    os.close(write)
    ready, _, _ = select.select([read], [], [], LIMIT_S)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    with open(read, "rb") as pipe:
        report = pipe.read() if ready else b"took too long"
    os.waitpid(pid, 0)
    assert report == b"done", report.decode()


def _be_inside(group: Path, body: Callable[[], object], uid: int, write: int) -> None:
    report = b"did not start"
    try:
        (group / "cgroup.procs").write_text("0")
        if uid:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        body()
        report = b"done"
    except BaseException:
        report = traceback.format_exc().encode()
    finally:
        os.write(write, report)
        os._exit(0)


@contextmanager
def program(*argv: str, group: Path | str | None = None) -> Iterator[subprocess.Popen[str]]:
    """A program, in ``group`` from before its first instruction; killed at the end. Its output is at ``stdout``."""

    def enter() -> None:
        if group is not None:
            Path(group, "cgroup.procs").write_text("0")

    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, preexec_fn=enter
    ) as process:
        try:
            yield process
        finally:
            process.kill()

"""Limits of a process that already runs, made lower and put back (prlimit(2))."""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

LIMIT_S = 10


@contextmanager
def no_more_files(*pids: int) -> Iterator[None]:
    """The processes keep the descriptors that they have and get no other one."""
    with ExitStack() as stack:
        for pid in pids:
            stack.enter_context(_lowered(pid, resource.RLIMIT_NOFILE, 3))
        yield


@contextmanager
def _lowered(pid: int, what: int, soft: int) -> Iterator[None]:
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


@contextmanager
def no_more_processes(owner: tuple[str, str], *pids: int) -> Iterator[None]:
    """Processes of an ordinary user (and group) start no other process and no thread. Set as that user: root needs a
    capability for it that a container takes away."""
    switch = ["setpriv", f"--reuid={owner[0]}", f"--regid={owner[1]}", "--clear-groups", "prlimit"]

    def each(limit: str) -> None:
        for pid in pids:
            subprocess.run([*switch, "--pid", str(pid), f"--nproc={limit}:"], check=True, timeout=LIMIT_S)

    before = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    each("1")
    try:
        yield
    finally:
        each("unlimited" if before == resource.RLIM_INFINITY else str(before))

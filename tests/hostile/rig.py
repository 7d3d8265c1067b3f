"""What tests of the bounded runner share: plans, a runner, and a look at /proc from outside."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from lattice_agent.exec import spawner
from lattice_agent.exec.kernel import seqpacket
from lattice_agent.exec.kernel.proctree import parse_stat
from lattice_agent.exec.launch import SpawnerProcess, start_spawner
from lattice_agent.exec.plan import TASK_PATH, Level, Limits, Plan
from lattice_agent.exec.runner import Runner, open_runner
from lattice_agent.exec.supervision import LingerEnd

REPOSITORY = Path(__file__).resolve().parents[2]
INTERPRETERS = {"sh": "/bin/sh", "bash": "/bin/bash", "python3": sys.executable, "node": "/usr/bin/node"}
OUTER_LIMIT_S = 30
"""No test of a single run takes this long; one that hangs is ended here."""


UNSWEPT_S = 3
"""How long a left process is looked for."""


def marker() -> str:
    """A task id that no other process of the machine carries."""
    return f"task_{secrets.token_hex(8)}"


def plan(
    script: str,
    *,
    interpreter: str = "sh",
    run_id: str | None = None,
    work_root: str | None = None,
    linger_s: float = 0.0,
    wall_s: float = 20.0,
    grace_s: float = 2.0,
    output_bytes: int = 65_536,
    cpu_s: int = 60,
    processes: int = 4096,
    address_bytes: int | None = None,
    **limits: int,
) -> Plan:
    """A plan as policy makes it, with every limit at hand. Its processes carry LATTICE_TASK_ID=run_id."""
    run_id = run_id or marker()
    return Plan(
        run_id=run_id,
        level=Level.HOST,
        interpreter=interpreter,
        interpreter_path=INTERPRETERS[interpreter],
        script=script.encode(),
        environment=(("PATH", TASK_PATH), ("LATTICE_TASK_ID", run_id), ("LATTICE_TASK_LEASE_ID", "lease_x")),
        limits=Limits(
            wall_s=wall_s,
            output_bytes=output_bytes,
            cpu_s=cpu_s,
            processes=processes,
            address_bytes=address_bytes,
            grace_s=grace_s,
            **limits,
        ),
        linger_s=linger_s,
        work_root=work_root,
    )


@asynccontextmanager
async def a_runner(on_linger_end: Callable[[LingerEnd], None] | None = None) -> AsyncGenerator[Runner, None]:
    """A runner on a spawner of its own, under the outer limit."""
    process = start_spawner()
    with trio.fail_after(OUTER_LIMIT_S):
        async with open_runner(process, on_linger_end=on_linger_end) as runner:
            yield runner


def processes_of(run_id: str) -> set[int]:
    """Living processes that carry the run's task id in the environment they were executed with."""
    wanted = f"LATTICE_TASK_ID={run_id}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in entry.joinpath("environ").read_bytes().split(b"\0") and alive(int(entry.name)):
                    found.add(int(entry.name))
    return found


def alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())[2] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent_of(pid: int) -> int:
    """The parent's process id."""
    return parse_stat(Path(f"/proc/{pid}/stat").read_text())[0]


def arguments_of(pid: int) -> list[str]:
    """The command line."""
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def children_of(pid: int) -> list[int]:
    """The children of a process with one thread."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def wait_until(condition: Callable[[], object]) -> None:
    """Until the condition holds; the test's outer limit ends it otherwise. Looks, because /proc sends no events."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.005)


def leaves_something_unswept(script: str) -> bool:
    """Whether the script, run plainly, leaves a living process behind (which is then killed).

    Looks for a while: a process that is just being executed has no environment for a moment.
    """
    run_id = marker()
    subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": TASK_PATH, "LATTICE_TASK_ID": run_id},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=OUTER_LIMIT_S,
        check=False,
    )
    deadline = time.monotonic() + UNSWEPT_S
    while not (left := processes_of(run_id)) and time.monotonic() < deadline:
        pass
    found = bool(left)
    while left:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        left = processes_of(run_id)
    return found


def kilobytes(pid: int | str, field: str) -> int:
    """A kB field of /proc/<pid>/status, such as VmHWM."""
    found = kilobytes_if_alive(pid, field)
    assert found is not None, f"no {field} of {pid}"
    return found


def kilobytes_if_alive(pid: int | str, field: str) -> int | None:
    """The same of a process that may end at any moment; None: it is gone, or a zombie, which has no memory."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return None


class ForkedProcess:
    """As much of Popen as a SpawnerProcess uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int | None:
        return self._wait(0)

    def kill(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)

    def _wait(self, flags: int) -> int | None:
        if self._status is None and os.waitpid(self.pid, flags)[0]:
            self._status = 0
        return self._status


def fork_spawner() -> SpawnerProcess:
    """A spawner without an exec: of a uid that cannot reach the interpreter, or with patched bounds."""
    ours, theirs = seqpacket.pair()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        spawner.main(socket.socket.detach(theirs))
        os._exit(0)
    theirs.close()
    return SpawnerProcess(ForkedProcess(pid), ours)  # type: ignore[arg-type]  # duck of Popen

"""The agent's ends of one cell: the task goes in, the record of its end comes out. Never waits for anything.

Used by both faces of the package, the trio one and the synchronous one.
"""

import math
import os
import resource
import socket
from typing import Final

from lattice_agent.errors import SandboxError
from lattice_agent.exec import blueprint
from lattice_agent.exec.dispatch import RECORD_BYTES, CellRecord, decode_record, encode_task
from lattice_agent.exec.kernel import rlimits
from lattice_agent.exec.outcome import Usage
from lattice_agent.exec.plan import Limits, Plan, Profile
from lattice_agent.exec.requests import PrepareCell, UseCell

CPU_KILL_MARGIN_S: Final = 1
"""SIGXCPU can be caught; so much CPU time later comes SIGKILL."""
_ERRNO_BYTES: Final = 4


class CellEnds:
    """Owns the six descriptors of CellReady; ``close`` gives back those that were not taken."""

    def __init__(self, number: int, controllers: list[bytes], descriptors: list[int]) -> None:
        self.number = number
        self.controllers = tuple(name.decode() for name in controllers)
        """cgroup v2 controllers that limit this cell."""
        control, self._script, self._status, self.stdout, self.stderr, self.pidfd = descriptors
        self._control = socket.socket(fileno=control)
        self._record: CellRecord | None = None

    def dispatch(self, plan: Plan, directory: str) -> None:
        """Give the waiting launcher its task. Raises SandboxError or OSError if the cell cannot take it."""
        view = memoryview(plan.script)
        while view:
            view = view[os.write(self._script, view) :]
        os.close(self._script)
        self._script = -1
        argv = [os.fsencode(plan.interpreter_path), os.fsencode(f"{directory}/{blueprint.SCRIPT}")]
        environment = [_entry(name, value) for name, value in plan.environment_in(directory)]
        message = encode_task(argv, environment, limit_triples(plan.limits))
        try:
            self._control.send(message, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
        except OSError as error:
            raise SandboxError(f"the cell is gone: {error.strerror}") from error

    def take_streams(self) -> tuple[int, int]:
        """The read ends of stdout and stderr, which are the caller's from now on."""
        streams = self.stdout, self.stderr
        self.stdout = self.stderr = -1
        return streams

    def record(self) -> CellRecord | None:
        """What the init wrote at its end; None if it was killed. Only after the pidfd was readable."""
        if self._record is None:
            self._record = decode_record(os.read(self._status, RECORD_BYTES + 1))
        return self._record

    def start_failure(self) -> str:
        """Why the launcher could not become the interpreter; empty if it could."""
        try:
            data = self._control.recv(_ERRNO_BYTES, socket.MSG_DONTWAIT)
        except OSError:
            return ""
        return os.strerror(int.from_bytes(data, "little")) if len(data) == _ERRNO_BYTES else ""

    def close(self) -> None:
        """Give everything back. A cell that never got a task ends by it: its launcher sees the end-of-file."""
        self._control.close()
        for fd in (self._script, self._status, self.stdout, self.stderr, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self._script = self._status = self.stdout = self.stderr = self.pidfd = -1


def _entry(name: str, value: str) -> bytes:
    try:
        return os.fsencode(f"{name}={value}")
    except UnicodeEncodeError:
        raise SandboxError(f"the environment variable {name!r} cannot be written as bytes") from None


def prepare_request(number: int, profile: Profile, directory: str = "") -> PrepareCell:
    """The request for a cell of a profile."""
    return PrepareCell(
        number,
        profile.level.value.encode(),
        int(profile.network),
        [os.fsencode(path) for path in profile.read_only],
        [os.fsencode(path) for path in profile.writable],
        profile.work_bytes,
        profile.work_inodes,
        os.fsencode(directory),
    )


def use_request(number: int, limits: Limits, successor: int = 0) -> UseCell:
    """The request that puts a cell's common limits in force, and has the next one built (``requests.UseCell``)."""
    return UseCell(number, limits.memory_bytes, limits.processes, limits.cpu_percent or 0, successor)


def limit_triples(limits: Limits) -> list[tuple[int, int, int]]:
    """(resource, soft, hard) of protocol 3.4 for the launcher."""
    address = rlimits.INFINITY if limits.address_bytes is None else limits.address_bytes
    cpu_s = math.ceil(limits.cpu_s)
    return [
        (resource.RLIMIT_CPU, cpu_s, cpu_s + CPU_KILL_MARGIN_S),
        (resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes),
        (resource.RLIMIT_NPROC, limits.processes, limits.processes),
        (resource.RLIMIT_AS, address, address),
        (resource.RLIMIT_DATA, limits.data_bytes, limits.data_bytes),
    ]


def usage_of(record: CellRecord, wall_s: float, memory_peak: int) -> Usage:
    """What the outcome says about the main process, from the record and what was seen from outside."""
    return Usage(record.status, wall_s, record.cpu_s, max(record.max_rss_bytes, memory_peak))

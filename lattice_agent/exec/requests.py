"""The messages between agent, spawner and supervisors: types, bytes, and what may come from whom.

Nothing here does I/O. A message is a type number and its fields in order: unsigned 64-bit numbers, byte strings, lists
of either, all with explicit lengths in network order. Whatever is not exactly that is refused: an unknown type, a type
that may not come from this side, a missing, surplus or oversized field, bytes after the last one.

The classes are written out by hand because ``typing.NamedTuple`` and ``dataclass`` cost the spawner 1.1 and 2.4 MB of
private memory (measured) and every fork of it time.
"""

from __future__ import annotations

import struct

from lattice_agent.errors import SandboxError
from lattice_agent.exec.blueprint import LANDLOCK, LEVELS
from lattice_agent.exec.kernel import rlimits

MAX_MESSAGE = 32 * 1024
"""Bytes of one message; a longer one is refused by whoever receives it."""
MAX_ITEMS = 128
MAX_BYTES = 8 * 1024
MAX_LINGER_MS = 3600 * 1000
MAX_WORK_BYTES = 1 << 40
MAX_WORK_INODES = 1 << 24
TAKEN_PATHS = (b"/proc/", b"/sys/", b"/dev/", b"/tmp/", b"/var/tmp/")
"""Directories of which a cell has its own, or none: what was mounted there could not be seen."""

_NUMBER = struct.Struct("!Q")
_LENGTH = struct.Struct("!I")
_TYPE = struct.Struct("!H")

Field = int | bytes | list[int] | list[bytes]


class RefusedMessageError(SandboxError):
    """A message that is malformed, not allowed from that side, or asks for something that is not allowed."""


class Message:
    """Base of all messages. ``layout`` gives each field's letter: n number, b bytes, N and B lists of these.

    A constructor takes the fields in the order of the layout.
    """

    layout: dict[str, str] = {}
    descriptors = 0
    """How many descriptors come along."""

    def fields(self) -> list[Field]:
        """The values in the order of ``layout``."""
        return [getattr(self, name) for name in self.layout]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Message) and other.fields() == self.fields()

    __hash__ = None  # type: ignore[assignment]  # lists inside; nobody needs messages as keys

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.layout)})"


# --- agent to spawner ----------------------------------------------------------------------------------------


class Run(Message):
    """Start a supervisor and under it one script. Descriptors: its control socket, the script's stdout and stderr.

    ``limits`` is a flat list of (resource, soft, hard); ``linger_ms`` > 0 spares so long what left the main session.
    """

    layout = {"run": "n", "argv": "B", "environment": "B", "directory": "b", "limits": "N", "linger_ms": "n"}
    descriptors = 3

    def __init__(
        self,
        run: int,
        argv: list[bytes],
        environment: list[bytes],
        directory: bytes,
        limits: list[int],
        linger_ms: int,
    ) -> None:
        self.run = run
        self.argv = argv
        self.environment = environment
        self.directory = directory
        self.limits = limits
        self.linger_ms = linger_ms


class Destroy(Message):
    """Kill the supervisor of a run that no longer answers, and then what it leaves. Answered by RunGone."""

    layout = {"run": "n"}

    def __init__(self, run: int) -> None:
        self.run = run


class PrepareCell(Message):
    """Build a cell (``blueprint``). Answered by CellReady or CellFailed.

    ``level`` is the level's name, ``network`` 1 where a cell without namespaces may use the network. Paths are
    absolute.
    ``directory``: the work directory on the host, made by the agent; empty: on the tmpfs of ``work_bytes``.
    """

    layout = {
        "cell": "n",
        "level": "b",
        "network": "n",
        "read_only": "B",
        "writable": "B",
        "work_bytes": "n",
        "work_inodes": "n",
        "directory": "b",
    }

    def __init__(
        self,
        cell: int,
        level: bytes,
        network: int,
        read_only: list[bytes],
        writable: list[bytes],
        work_bytes: int,
        work_inodes: int,
        directory: bytes,
    ) -> None:
        self.cell = cell
        self.level = level
        self.network = network
        self.read_only = read_only
        self.writable = writable
        self.work_bytes = work_bytes
        self.work_inodes = work_inodes
        self.directory = directory


class UseCell(Message):
    """The cell has got its task: bound it from now on. Only for a cell that is ready.

    ``memory_bytes`` holds everywhere; ``processes`` and ``cpu_percent`` (of one processor; 0: all there are) where
    there are cgroup controllers for them. ``successor``: number of a cell of the same kind to be built as soon as this
    one is gone, or has been in use for a moment (0: none); answered as a PrepareCell is.
    """

    layout = {"cell": "n", "memory_bytes": "n", "processes": "n", "cpu_percent": "n", "successor": "n"}

    def __init__(self, cell: int, memory_bytes: int, processes: int, cpu_percent: int, successor: int = 0) -> None:
        self.cell = cell
        self.memory_bytes = memory_bytes
        self.processes = processes
        self.cpu_percent = cpu_percent
        self.successor = successor


class TerminateCell(Message):
    """SIGTERM to everything in a cell that is in use."""

    layout = {"cell": "n"}

    def __init__(self, cell: int) -> None:
        self.cell = cell


class KillCell(Message):
    """End a cell with everything in it, whatever it is doing, half-built included. Answered by CellGone."""

    layout = {"cell": "n"}

    def __init__(self, cell: int) -> None:
        self.cell = cell


# --- spawner to agent ----------------------------------------------------------------------------------------


class Refused(Message):
    """A message was refused; why, and the run or cell that it was about if it was well-formed (else 0)."""

    layout = {"run": "n", "reason": "b"}

    def __init__(self, run: int, reason: bytes) -> None:
        self.run = run
        self.reason = reason


class RunGone(Message):
    """A supervisor ended without finishing its work, and the ``killed`` processes that it left are dead."""

    layout = {"run": "n", "killed": "n"}

    def __init__(self, run: int, killed: int) -> None:
        self.run = run
        self.killed = killed


class CellReady(Message):
    """A cell waits for its task. Descriptors: the launcher's socket, the script file, the status pipe, stdout, stderr,
    the init's pidfd. ``controllers``: names of the cgroup controllers that limit it.
    """

    layout = {"cell": "n", "controllers": "B"}
    descriptors = 6

    def __init__(self, cell: int, controllers: list[bytes]) -> None:
        self.cell = cell
        self.controllers = controllers


class CellFailed(Message):
    """A cell could not be built: the step, and the operating system's reason."""

    layout = {"cell": "n", "reason": "b"}

    def __init__(self, cell: int, reason: bytes) -> None:
        self.cell = cell
        self.reason = reason


class CellGone(Message):
    """A cell is gone. ``memory_peak``: bytes, 0 if nobody looked; ``memory_hit``: 1 if it was killed for its memory;
    ``killed``: processes that were there when it was killed, besides the first of its script, 0 if it was not."""

    layout = {"cell": "n", "memory_peak": "n", "memory_hit": "n", "killed": "n"}

    def __init__(self, cell: int, memory_peak: int, memory_hit: int, killed: int = 0) -> None:
        self.cell = cell
        self.memory_peak = memory_peak
        self.memory_hit = memory_hit
        self.killed = killed


# --- agent to supervisor -------------------------------------------------------------------------------------


class Terminate(Message):
    """SIGTERM to the tree; ``everything``: 1 also to what may linger."""

    layout = {"everything": "n"}

    def __init__(self, everything: int) -> None:
        self.everything = everything


class Kill(Message):
    """SIGKILL to the tree now; ``everything``: 1 also to what may linger or is lingering."""

    layout = {"everything": "n"}

    def __init__(self, everything: int) -> None:
        self.everything = everything


# --- supervisor to agent -------------------------------------------------------------------------------------


class Started(Message):
    """The interpreter was executed; its process id, which is also its session."""

    layout = {"pid": "n"}

    def __init__(self, pid: int) -> None:
        self.pid = pid


class Failed(Message):
    """The interpreter could not be executed: the step, and the operating system's message."""

    layout = {"reason": "b"}

    def __init__(self, reason: bytes) -> None:
        self.reason = reason


class Ended(Message):
    """The main process ended: wait status, wall time, CPU time of it and the children it waited for, peak memory."""

    layout = {"status": "n", "wall_us": "n", "cpu_us": "n", "max_rss_kib": "n"}

    def __init__(self, status: int, wall_us: int, cpu_us: int, max_rss_kib: int) -> None:
        self.status = status
        self.wall_us = wall_us
        self.cpu_us = cpu_us
        self.max_rss_kib = max_rss_kib


class Swept(Message):
    """What was left is dead (``killed`` so many) but the ``lingering`` ones; ``uncertain``: 1 if the bound was hit."""

    layout = {"killed": "n", "lingering": "n", "uncertain": "n"}

    def __init__(self, killed: int, lingering: int, uncertain: int) -> None:
        self.killed = killed
        self.lingering = lingering
        self.uncertain = uncertain


class LingerOver(Message):
    """The lingering processes ended or were killed (``killed`` so many)."""

    layout = {"killed": "n", "uncertain": "n"}

    def __init__(self, killed: int, uncertain: int) -> None:
        self.killed = killed
        self.uncertain = uncertain


NUMBERS: dict[type[Message], int] = {
    Run: 1,
    Destroy: 2,
    PrepareCell: 3,
    UseCell: 4,
    TerminateCell: 5,
    KillCell: 6,
    Refused: 17,
    RunGone: 18,
    CellReady: 19,
    CellFailed: 20,
    CellGone: 21,
    Terminate: 33,
    Kill: 34,
    Started: 49,
    Failed: 50,
    Ended: 51,
    Swept: 52,
    LingerOver: 53,
}
TO_SPAWNER = frozenset({Run, Destroy, PrepareCell, UseCell, TerminateCell, KillCell})
FROM_SPAWNER = frozenset({Refused, RunGone, CellReady, CellFailed, CellGone})
TO_SUPERVISOR = frozenset({Terminate, Kill})
FROM_SUPERVISOR = frozenset({Started, Failed, Ended, Swept, LingerOver})

_TYPES = {number: kind for kind, number in NUMBERS.items()}


def encode(message: Message) -> bytes:
    """The bytes of a message. Raises RefusedMessageError for one that the other side would refuse for its size."""
    parts = [_TYPE.pack(NUMBERS[type(message)])]
    for letter, value in zip(message.layout.values(), message.fields(), strict=True):
        parts.append(_encode_field(letter, value))
    data = b"".join(parts)
    if len(data) > MAX_MESSAGE:
        raise RefusedMessageError(f"{type(message).__name__}: {len(data)} bytes are more than {MAX_MESSAGE}")
    return data


def decode(data: bytes, allowed: frozenset[type[Message]], descriptors: int = 0) -> Message:
    """The message in ``data``, if it is one of ``allowed`` and came with as many descriptors as it needs.

    Raises RefusedMessageError, which says what is wrong but not what the message holds.
    """
    reader = _Reader(data)
    kind = _kind_in(reader, allowed)
    if descriptors != kind.descriptors:
        raise RefusedMessageError(f"{kind.__name__}: {descriptors} descriptors came along, not {kind.descriptors}")
    return _message_in(reader, kind)


def number_in(data: bytes, allowed: frozenset[type[Message]]) -> int:
    """The number of the run or cell in a message whose descriptors were lost on the way; 0 if it cannot be read."""
    reader = _Reader(data)
    try:
        return number_of(_message_in(reader, _kind_in(reader, allowed)))
    except RefusedMessageError:
        return 0


def _kind_in(reader: _Reader, allowed: frozenset[type[Message]]) -> type[Message]:
    kind = _TYPES.get(reader.type())
    if kind is None or kind not in allowed:
        raise RefusedMessageError("message type is unknown or not allowed here")
    return kind


def _message_in(reader: _Reader, kind: type[Message]) -> Message:
    values = [reader.field(letter) for letter in kind.layout.values()]
    reader.end()
    return kind(*values)


def check_run(run: Run) -> None:
    """Raise RefusedMessageError for a Run whose values make no sense to the kernel or to us."""
    paths = [*run.argv, run.directory]
    if not run.argv or any(b"\0" in path for path in paths) or not all(path.startswith(b"/") for path in paths):
        raise RefusedMessageError("Run: interpreter, script and directory must be absolute paths")
    if any(b"\0" in item or item.find(b"=") < 1 for item in run.environment):
        raise RefusedMessageError("Run: environment entries must be NAME=value")
    if run.linger_ms > MAX_LINGER_MS:
        raise RefusedMessageError(f"Run: linger_ms {run.linger_ms} is more than {MAX_LINGER_MS}")
    if len(run.limits) % 3:
        raise RefusedMessageError("Run: limits are not triples")
    for number, soft, hard in triples(run.limits):
        if number not in rlimits.ALLOWED or soft > hard:
            raise RefusedMessageError(f"Run: limit {number} {soft} {hard} is not allowed")


def check_cell(request: PrepareCell) -> None:
    """Raise RefusedMessageError for a PrepareCell whose values make no sense to the kernel or to us."""
    if request.level not in LEVELS:
        raise RefusedMessageError("PrepareCell: there is no such level with cells")
    if request.level == LANDLOCK and not request.directory:
        raise RefusedMessageError("PrepareCell: level landlock needs a work directory")
    given = (*request.read_only, *request.writable)
    for path in (*given, *([request.directory] if request.directory else ())):
        if not path.startswith(b"/") or b"\0" in path or b".." in path.split(b"/"):
            raise RefusedMessageError(f"PrepareCell: {path!r} is not a path for a cell: not absolute, or with ..")
    for path in given:
        plain = b"/" + b"/".join(part for part in path.split(b"/") if part not in (b"", b"."))
        if plain in (b"/", b"/etc") or plain.startswith(TAKEN_PATHS) or plain + b"/" in TAKEN_PATHS:
            raise RefusedMessageError(f"PrepareCell: {path!r} is not a path for a cell: it has its own there")
    if request.work_bytes > MAX_WORK_BYTES or request.work_inodes > MAX_WORK_INODES:
        raise RefusedMessageError("PrepareCell: the work directory is too large")
    if request.level != LANDLOCK and not (request.work_bytes and request.work_inodes):
        raise RefusedMessageError("PrepareCell: 0 would mean a work directory without limits")


def number_of(request: Message) -> int:
    """The number of the run or cell that a message with descriptors, or a request to the spawner, is about."""
    if isinstance(request, Run | Destroy):
        return request.run
    if isinstance(request, PrepareCell | UseCell | TerminateCell | KillCell | CellReady):
        return request.cell
    return 0


def triples(limits: list[int]) -> list[tuple[int, int, int]]:
    """(resource, soft, hard) from the flat list of a Run."""
    return list(zip(limits[0::3], limits[1::3], limits[2::3], strict=True))


def _encode_field(letter: str, value: Field) -> bytes:
    if isinstance(value, int):
        return _NUMBER.pack(value)
    if isinstance(value, bytes):
        if len(value) > MAX_BYTES:
            raise RefusedMessageError(f"a field of {len(value)} bytes is more than {MAX_BYTES}")
        return _LENGTH.pack(len(value)) + value
    if len(value) > MAX_ITEMS:
        raise RefusedMessageError(f"a list of {len(value)} is more than {MAX_ITEMS}")
    return _LENGTH.pack(len(value)) + b"".join(_encode_field(letter, item) for item in value)


class _Reader:
    """Takes typed fields off the front of a message; every length is checked before it is used."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def type(self) -> int:
        return int(_TYPE.unpack(self._take(_TYPE.size))[0])

    def field(self, letter: str) -> Field:
        if letter == "n":
            return self._number()
        if letter == "b":
            return self._bytes()
        count = self._length(MAX_ITEMS)
        return [self._number() for _ in range(count)] if letter == "N" else [self._bytes() for _ in range(count)]

    def end(self) -> None:
        if self._at != len(self._data):
            raise RefusedMessageError("bytes after the last field")

    def _number(self) -> int:
        return int(_NUMBER.unpack(self._take(_NUMBER.size))[0])

    def _bytes(self) -> bytes:
        return self._take(self._length(MAX_BYTES))

    def _length(self, bound: int) -> int:
        length = int(_LENGTH.unpack(self._take(_LENGTH.size))[0])
        if length > bound:
            raise RefusedMessageError(f"a length of {length} is more than {bound}")
        return length

    def _take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise RefusedMessageError("message is truncated")
        self._at += count
        return piece

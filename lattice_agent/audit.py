"""The local audit: an append-only, hash-chained record of what was asked, by whom, what was decided and done.

Theory of operation. The record is a file of JSON lines, one canonical object each (ASCII, keys sorted, no spaces):

    {"at", "boot", "event", "fields", "hash", "mono_ms", "prev", "seq"}

``hash`` is the SHA-256 of the line without its ``hash`` member, ``prev`` the hash of the record before, ``seq`` counts
on by one. The chain goes on across rotation and restarts, so a record that was changed, removed from the middle or put
elsewhere is found by ``verify``. It is not signed: who may write the file can rewrite all of it, and a cut at its end
shows only to somebody who noted ``head`` elsewhere.

*Durability.* Each record is one write(2) on an O_APPEND descriptor and survives the death of the process as soon as
``record`` has returned. It survives a power cut once ``sync`` has returned (fdatasync); the owner calls that before a
script starts and when it pauses, because one sync a record would halve the rate of short tasks. Rotation and ``close``
sync by themselves.

*Damage.* A crash or a full disk can leave part of a line. It is evidence and stays: the next opening ends the torn line
and appends ``audit.torn`` with length and SHA-256 of what is not a record, chained to the last good one; ``verify``
accepts such bytes only together with that record. A failed write closes the file and the next ``record`` opens it
again, so there is one way of repair. A power cut can also take a record that was not synced and leave a later one:
that hangs on nothing then, and is declared with the rest. Damage in front of a record that was synced is of no power
cut: it is left as it is, for ``verify`` to find.

*Rotation.* ``audit.log`` becomes ``audit.log.1``, that becomes ``.2`` and so on; the one beyond ``keep`` is
overwritten, which is the declared loss. A crash between the renames leaves a gap in the numbers, not in the chain.

The writer is synchronous and for one thread at a time; callers go through their injected runner.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from lattice_agent.errors import LatticeError, StateError, StateLockedError

GENESIS: Final = "0" * 64
"""``prev`` of the first record."""

TORN_EVENT: Final = "audit.torn"
SYNCED_EVENT: Final = "task.decided"
"""What its writer syncs before it goes on."""
DEFAULT_MAX_BYTES: Final = 16 * 1024 * 1024
DEFAULT_KEEP: Final = 4

_EVENT: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_FORBIDDEN: Final = frozenset({"script", "token", "secret"})
_MAX_FIELDS: Final = 32
_MAX_TEXT: Final = 1024  # characters of one field, at most 12 bytes each in the file; a cut is declared in the text
_MAX_LINE: Final = 512 * 1024  # bytes; 32 fields of the longest text fit, so no record can be too large to write
_TAIL: Final = 2 * _MAX_LINE  # bytes at the end of a file in which its last record is looked for

Field = str | int | bool | None


@dataclass(frozen=True)
class Stamp:
    """When something happened: ``wall`` is aware and can jump, ``mono_ms`` counts within the boot ``boot_id``.

    ``mono_ms`` is CLOCK_BOOTTIME in milliseconds; ``boot_id`` is empty where the system has none.
    """

    wall: datetime
    boot_id: str
    mono_ms: int


@dataclass(frozen=True)
class Head:
    """The end of the chain: what the next record follows."""

    seq: int
    hash: str


NOTHING_YET: Final = Head(-1, GENESIS)
"""Before the first record."""


@dataclass(frozen=True)
class Broken:
    """The first place where the chain does not hold; ``line`` counts from 1."""

    path: Path
    line: int
    why: str


def stamp_now() -> Stamp:
    """The present time; the boot id is ``/proc/sys/kernel/random/boot_id`` (random(4))."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot_id = ""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return Stamp(datetime.now(UTC), boot_id, time.clock_gettime_ns(clock) // 1_000_000)


def script_sha256(script: str) -> str:
    """What the audit says about a script: the hex SHA-256 of its UTF-8 text."""
    return hashlib.sha256(script.encode("utf-8", "surrogatepass")).hexdigest()


class AuditLog:
    """The writer. It holds an exclusive lock on the file; a second one gets StateLockedError.

    ``max_bytes`` is the size beyond which a file is rotated, ``keep`` (1 or more) the number of rotated files. Every
    method raises StateError naming the path if the file cannot be used: no record is dropped in silence.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        keep: int = DEFAULT_KEEP,
        now: Callable[[], Stamp] = stamp_now,
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._now = now
        self._fd: int | None = None
        self._size = 0
        self._head = NOTHING_YET
        with _errors_named(path):
            self._open()

    @property
    def head(self) -> Head:
        """The last record's number and hash; ``NOTHING_YET`` before the first."""
        return self._head

    def record(self, event: str, /, **fields: Field) -> Head:
        """Append one record and return the new end of the chain.

        ``event`` is a dotted lower-case name (``task.started``); at most 32 fields. Text beyond 1024 characters is cut
        and says so. LatticeError, and nothing written, for a wrong event name or a field that must not be recorded.
        """
        _check(event, fields)
        with _errors_named(self._path):
            if self._fd is None or os.fstat(self._fd).st_nlink == 0:  # nobody would ever read a deleted file
                self._let_go()
                self._open()
            head, line = _encode(self._head, self._now(), event, fields)
            if self._size and self._size + len(line) > self._max_bytes:
                self._rotate()  # changes the file, not the head
            self._append(line, head)
        return head

    def sync(self) -> None:
        """Return when all records so far would survive a power cut."""
        with _errors_named(self._path):
            if self._fd is not None:
                os.fdatasync(self._fd)

    def close(self) -> None:
        """Sync and give the lock back; closing twice is nothing."""
        try:
            self.sync()
        finally:
            self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._fd = os.open(self._path, flags, 0o600)
        try:
            self._size = _claim(self._fd, self._path)
            tail = _read_tail(self._fd)
            if not tail:
                _sync_directory(self._path.parent)
            self._go_on_from(tail, is_whole=self._size <= _TAIL)
        except BaseException:
            self._let_go()
            raise

    def _go_on_from(self, tail: bytes, *, is_whole: bool) -> None:
        """Find the record that the chain goes on from; end and declare whatever follows it."""
        entry, behind = _end_of_chain(tail, is_whole=is_whole)
        if entry is None:
            entry = _last_entry_of_file(_rotated(self._path, 1))
        if entry is not None and entry.seq > self._head.seq:  # less would hide that records of ours were removed
            self._head = Head(entry.seq, entry.hash)
        missing_newline = b"\n" if tail and not tail.endswith(b"\n") else b""
        torn = tail[behind:]
        if torn:
            fields: dict[str, Field] = {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
            head, line = _encode(self._head, self._now(), TORN_EVENT, fields)
            self._append(missing_newline + line, head)
        elif missing_newline:
            self._append(missing_newline, self._head)

    def _append(self, data: bytes, head: Head) -> None:
        """One write; on any failure the file is closed, so that the next record begins with the repair."""
        assert self._fd is not None
        try:
            written = os.write(self._fd, data)
            if written != len(data):
                raise OSError(errno.ENOSPC, f"only {written} of the {len(data)} bytes of a record were written")
        except OSError:
            self._let_go()
            raise
        self._size += written
        self._head = head

    def _rotate(self) -> None:
        assert self._fd is not None
        os.fdatasync(self._fd)
        self._let_go()
        for number in range(self._keep - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                _rotated(self._path, number).replace(_rotated(self._path, number + 1))
        self._path.replace(_rotated(self._path, 1))
        self._open()

    def _let_go(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def history(path: Path) -> list[Path]:
    """The files of an audit that exist, oldest first: the rotated ones, then ``path`` itself. Raises StateError."""
    pattern = re.compile(re.escape(path.name) + r"\.([1-9][0-9]*)")
    with _errors_named(path):
        rotated = [(int(found[1]), file) for file in path.parent.iterdir() if (found := pattern.fullmatch(file.name))]
    files = [file for _, file in sorted(rotated, reverse=True)]
    return [*files, path] if path.exists() else files


def verify(paths: Iterable[Path]) -> Broken | None:
    """Check the chain over files given oldest first (see ``history``); None if it holds from end to end.

    The first record may follow one that was rotated away. A torn line is sound if the record behind it declares it,
    and not if nothing follows: the agent repairs that when it starts. Raises StateError if a file cannot be read.
    """
    head: Head | None = None
    for path in paths:
        junk, junk_line = b"", 0
        for number, line in _lines(path):
            entry = _decode(line.removesuffix(b"\n"))
            if entry is None or (junk and not _declares(entry, junk)):
                junk, junk_line = junk + line, junk_line or number
                if len(junk) > _TAIL:
                    break
                continue
            if (why := _misfit(head, entry)) is not None:
                return Broken(path, number, why)
            head, junk, junk_line = Head(entry.seq, entry.hash), b"", 0
        if junk:
            return Broken(path, junk_line, "this is not a record, or its content does not have its hash")
    return None


@dataclass(frozen=True)
class _Entry:
    """A line whose own hash holds."""

    seq: int
    event: str
    fields: Mapping[str, object]
    prev: str
    hash: str


def _check(event: str, fields: Mapping[str, Field]) -> None:
    if not _EVENT.fullmatch(event):
        raise LatticeError(f"audit event {event!r} is not a dotted lower-case name")
    if named := _FORBIDDEN & fields.keys():
        raise LatticeError(f"audit field {sorted(named)[0]!r} must not be recorded")
    if len(fields) > _MAX_FIELDS:
        raise LatticeError(f"audit event {event!r} has {len(fields)} fields, at most {_MAX_FIELDS} are recorded")


def _encode(head: Head, stamp: Stamp, event: str, fields: Mapping[str, Field]) -> tuple[Head, bytes]:
    body: dict[str, object] = {
        "seq": head.seq + 1,
        "at": stamp.wall.astimezone(UTC).isoformat(timespec="milliseconds"),
        "boot": stamp.boot_id,
        "mono_ms": stamp.mono_ms,
        "event": event,
        "fields": {name: _cut(value) for name, value in fields.items()},
        "prev": head.hash,
    }
    digest = hashlib.sha256(_canonical(body)).hexdigest()
    return Head(head.seq + 1, digest), _canonical({**body, "hash": digest}) + b"\n"


def _cut(value: Field) -> Field:
    if not isinstance(value, str) or len(value) <= _MAX_TEXT:
        return value
    return f"{value[:_MAX_TEXT]} [cut, {len(value)} characters]"


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _decode(line: bytes) -> _Entry | None:
    """The record of a line, or None unless every byte of it is as we would have written it."""
    try:
        body = json.loads(line)
        stated = body.pop("hash")
        entry = _Entry(body["seq"], body["event"], body["fields"], body["prev"], stated)
        sound = hashlib.sha256(_canonical(body)).hexdigest() == stated and _canonical({**body, "hash": stated}) == line
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return entry if sound and isinstance(entry.seq, int) and isinstance(entry.fields, dict) else None


def _misfit(head: Head | None, entry: _Entry) -> str | None:
    """Why a record cannot follow the one before it, or None if it does."""
    if head is None:
        if entry.seq == 0 and entry.prev != GENESIS:
            return "the first record follows another one"
        return None
    if entry.seq != head.seq + 1:
        return f"record {entry.seq} follows record {head.seq}"
    if entry.prev != head.hash:
        return f"record {entry.seq} does not name the hash of the record before it"
    return None


def _declares(entry: _Entry, junk: bytes) -> bool:
    """Whether an ``audit.torn`` record accounts for exactly these bytes, but for the newline the repair added."""
    length = entry.fields.get("bytes")
    if entry.event != TORN_EVENT or not isinstance(length, int) or junk[length:] not in (b"", b"\n"):
        return False
    return hashlib.sha256(junk[:length]).hexdigest() == entry.fields.get("sha256")


def _claim(fd: int, path: Path) -> int:
    """Make sure that the file is a private regular one and ours alone; returns its size."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise StateError(f"audit file {path} is not a regular file", hint="move it away; the agent makes a new one")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateLockedError(f"audit file {path} is held by another process") from None
    if stat.S_IMODE(status.st_mode) != 0o600:
        os.fchmod(fd, 0o600)
    return status.st_size


def _read_tail(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return os.pread(fd, _TAIL, max(0, size - _TAIL))


def _end_of_chain(tail: bytes, *, is_whole: bool) -> tuple[_Entry | None, int]:
    """The record that the next one follows, and the offset just behind its line; (None, 0) if there is none.

    That is the last one in the bytes, unless there is a hole in front of it that a power cut can have made: one behind
    all records that were synced for certain, which are those of SYNCED_EVENT but for the last record. ``is_whole``:
    nothing is in front of the bytes.
    """
    lines = tail.split(b"\n")
    seen: list[tuple[bytes, int, _Entry | None]] = []
    behind, good = len(tail), 0
    for line in reversed(lines):
        entry = _decode(line)
        seen.append((line, min(behind + 1, len(tail)), entry))
        behind -= len(line) + 1
        good += entry is not None
        if good > 1 and entry is not None and entry.event == SYNCED_EVENT:
            break
    last: tuple[_Entry | None, int] = (None, 0)
    junk = b""
    knows_front = is_whole and len(seen) == len(lines)
    for line, end, entry in reversed(seen):
        hangs_on_junk = bool(junk) and (knows_front or last[0] is not None)
        if entry is None or (hangs_on_junk and not _declares(entry, junk)):
            junk += line + b"\n"  # perhaps declared further on
        else:
            last, junk = (entry, end), b""
    return last


def _last_entry(tail: bytes) -> tuple[_Entry | None, int]:
    """The last record in the bytes, and the offset just behind its line; (None, 0) if there is none."""
    behind = len(tail)
    for piece in reversed(tail.split(b"\n")):
        if (entry := _decode(piece)) is not None:
            return entry, min(behind + 1, len(tail))
        behind -= len(piece) + 1
    return None, 0


def _last_entry_of_file(path: Path) -> _Entry | None:
    try:
        with path.open("rb") as file:
            return _last_entry(_read_tail(file.fileno()))[0]
    except FileNotFoundError:
        return None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The numbered lines of a file; one longer than a record can be comes in pieces, none of which is a record."""
    with _errors_named(path), path.open("rb") as file:
        number = 0
        while line := file.readline(_MAX_LINE):
            number += 1
            yield number, line


def _rotated(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _sync_directory(path: Path) -> None:
    """Make a new name in the directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StateError(f"audit file {path}: {exc.strerror or exc}") from exc

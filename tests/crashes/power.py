"""What a disk may hold when the power fails: everything that was synced, and of what was written since then any part.

A file is compared with itself across one commit. Sectors that differ were written, and not synced before its end: each
is on disk or is not, in whatever order; the file may have grown less; and what it has grown by may read as zeros, or as
whatever the blocks held before.
"""

import hashlib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECTOR: Final = 512
WAL: Final = "-wal"
LOG_HEADER: Final = 32
HEADER_CUTS: Final = 0.2
"""Share of the cuts, where the log begins anew, that come before its header is synced."""
Damage = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Disk:
    """The files of one SQLite database, and a digest of all rows that they hold."""

    main: bytes
    log: bytes
    rows: str


@dataclass(frozen=True)
class Commit:
    """The disk before and after one commit."""

    before: Disk
    after: Disk


def write(path: Path, main: bytes, log: bytes) -> None:
    """A database as the power cut left it: without the index of its log (``-shm``), which lives in memory."""
    for name in ("-shm", WAL, ""):
        path.with_name(path.name + name).unlink(missing_ok=True)
    path.write_bytes(main)
    if log:
        path.with_name(path.name + WAL).write_bytes(log)


def look(path: Path, rows: str, last: Disk | None = None) -> Disk:
    """The disk as it is now. ``last``: how it was before; what has not changed is kept once."""
    log = path.with_name(path.name + WAL)
    main = path.read_bytes()
    if last is not None and main == last.main:
        main = last.main
    return Disk(main, log.read_bytes() if log.exists() else b"", rows)


def digest(rows: Iterable[object]) -> str:
    """Equal for equal rows."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()


# --- cuts ------------------------------------------------------------------------------------------------------------


def cut_in_log(commit: Commit, rng: random.Random) -> tuple[bytes, bytes]:
    """Main file and log when the power fails before the log is synced: this commit may be there or not."""
    before, after = commit.before.log, commit.after.log
    if before[:LOG_HEADER] != after[:LOG_HEADER]:
        # The log begins anew. SQLite syncs the header before it writes over old frames (walFrames, wal.c).
        if rng.random() < HEADER_CUTS:
            return commit.before.main, torn(before[:LOG_HEADER], after[:LOG_HEADER], rng) + before[LOG_HEADER:]
        before = after[:LOG_HEADER] + before[LOG_HEADER:]
    return commit.before.main, torn(before, after, rng)


def cut_in_checkpoint(commit: Commit, rng: random.Random) -> tuple[bytes, bytes]:
    """The same while the main file is brought up to date, after the log was synced: this commit is there."""
    return torn(commit.before.main, commit.after.main, rng), commit.after.log


def cut_behind(commit: Commit, rng: random.Random) -> tuple[bytes, bytes]:
    """The same after the commit; something that was begun then follows in the log."""
    return commit.after.main, commit.after.log + rng.choice(FILLINGS)(rng, rng.randrange(1, 9000))


def torn(before: bytes, after: bytes, rng: random.Random) -> bytes:
    """Any mixture of the two."""
    return rng.choice((_up_to_a_byte, _some_sectors))(before, after, rng)


def _up_to_a_byte(before: bytes, after: bytes, rng: random.Random) -> bytes:
    """Written from front to back, up to some byte; the file may have its new length all the same."""
    first = _first_difference(before, after)
    end = rng.randint(first, len(after))
    whole = after[:end] + before[end:]
    missing = len(after) - len(whole)
    return whole + rng.choice(FILLINGS)(rng, missing) if missing > 0 and rng.random() < 0.5 else whole


def _some_sectors(before: bytes, after: bytes, rng: random.Random) -> bytes:
    """Any of the sectors that differ, in no order."""
    there = rng.random()
    filling = rng.choice(FILLINGS)
    parts = []
    for at in range(0, len(after), SECTOR):
        new, old = after[at : at + SECTOR], before[at : at + SECTOR]
        parts.append(new if new == old or rng.random() < there else old + filling(rng, len(new) - len(old)))
    return b"".join(parts)


def _first_difference(before: bytes, after: bytes) -> int:
    """Where they begin to differ, by whole sectors."""
    for at in range(0, len(before), SECTOR):
        if before[at : at + SECTOR] != after[at : at + SECTOR]:
            return at
    return min(len(before), len(after))


def _zeros(_rng: random.Random, size: int) -> bytes:
    return bytes(max(size, 0))


def _garbage(rng: random.Random, size: int) -> bytes:
    return rng.randbytes(max(size, 0))


def _nothing(_rng: random.Random, _size: int) -> bytes:
    return b""


FILLINGS: Final[tuple[Callable[[random.Random, int], bytes], ...]] = (_zeros, _garbage, _nothing)


# --- damage: what no power cut does to a disk that keeps its word ----------------------------------------------------


def truncated(content: bytes, rng: random.Random) -> bytes:
    """Cut at any byte."""
    return content[: rng.randrange(len(content))]


def overwritten(content: bytes, rng: random.Random) -> bytes:
    """With garbage, or zeros, somewhere."""
    at, size = rng.randrange(len(content)), rng.choice((1, 4, 100, SECTOR, 4096))
    size = min(size, len(content) - at)
    return content[:at] + rng.choice((_zeros, _garbage))(rng, size) + content[at + size :]

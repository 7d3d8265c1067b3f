"""A usage document in a local file, written by the proxy core or a sidecar.

Theory of operation. Writers are of two kinds. Those that rename a finished file over the old one are safe to read at
any time. Those that write in place can be met halfway: the file is empty, cut, or one half old and one half new. So
a reading counts only if the file's mark (inode, size, mtime) is the same before and after the bytes were taken, and a
document that cannot be parsed is looked at again after a moment: if the file moved, the writer was at work and the
reading is repeated; if not, the document is wrong.

A writer that died leaves a file that looks healthy for ever. A file that neither content nor mark moves is therefore
an error after a set time: ``max_age_s`` if it is given, else five minutes for a document with a core uptime, since a
live writer moves that with every write. A document without one may rest: nothing flows at night.

The file is read in a thread, because a stuck network mount would hold the event loop. Such a thread cannot be
stopped; the one permit of the limiter keeps a stuck source at one thread.
"""

import hashlib
import math
import os
import stat
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

import trio

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.parse import DOCUMENT_LIMIT, parse_usage
from lattice_agent.usage.reading import RawUsage
from lattice_agent.usage.source import UsageSource

T = TypeVar("T")

ATTEMPTS: Final = 5
"""Looks at a file that keeps changing, before that is reported as an error."""

PAUSE_S: Final = 0.05
"""Between two looks; a writer takes milliseconds for a megabyte."""

STOPPED_UPTIME_S: Final = 300.0
"""After so many seconds a document whose core uptime stands still has no living writer."""

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK: Final = 65_536


class RunSync(Protocol):
    """Runs a blocking function away from the event loop: in a thread, or directly under a simulated clock."""

    def __call__(self, fn: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class Look:
    """A file's bytes, its mark, and whether nobody wrote while they were taken."""

    content: bytes
    mark: tuple[int, ...]
    is_settled: bool

    @property
    def written_s(self) -> float:
        """When it was written, in seconds since 1970."""
        return self.mark[-1] / 1e9

    def fingerprint(self) -> bytes:
        """Equal for two looks at a file that nobody has touched in between."""
        return hashlib.blake2b(self.content + repr(self.mark).encode(), digest_size=16).digest()


def boot_time_s() -> float:
    """When the machine was booted, in seconds since 1970, by the wall clock of now; 0 where that is not known."""
    try:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return 0.0


class FileSource(UsageSource):
    """Reads a document of one of the three shapes of ``usage.parse`` from ``path``.

    ``max_age_s`` is how long content and mtime may stand still before that is an error (see above).
    """

    collector_source = "file"

    def __init__(
        self,
        path: Path,
        *,
        timeout_s: float = 3.0,
        max_age_s: float | None = None,
        run_sync: RunSync | None = None,
        booted_s: Callable[[], float] = boot_time_s,
    ) -> None:
        super().__init__(timeout_s)
        self._path = path
        self._max_age_s = max_age_s
        self._run_sync = run_sync or in_abandonable_thread()
        self._booted_s = booted_s
        self._moved: tuple[bytes, float] | None = None

    def __str__(self) -> str:
        return f"proxy usage file {self._path}"

    async def _read(self) -> RawUsage:
        look, usage = await self._read_whole()
        self._check_boot(look)
        self._check_age(look, usage)
        return usage

    def _check_boot(self, look: Look) -> None:
        """What a core wrote before a reboot must not be taken for what one has counted since."""
        if look.written_s < self._booted_s():
            raise UsageSourceError(
                f"{self} has not been written since the machine was booted",
                hint="check that the program that writes it is running",
            )

    async def _read_whole(self) -> tuple[Look, RawUsage]:
        refused: tuple[Look, UsageSourceError] | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                await trio.sleep(PAUSE_S)
            look = await self._run_sync(partial(look_at, self._path))
            if refused is not None and refused[0] == look:
                break  # nobody is writing: the document is wrong as it stands
            try:
                if look.is_settled:
                    return look, parse_usage(look.content)
            except UsageSourceError as error:
                refused = look, error
        if refused is None:
            raise UsageSourceError(f"{self} was being written at each of {ATTEMPTS} looks")
        raise UsageSourceError(f"{self}: {refused[1]}")

    def _check_age(self, look: Look, usage: RawUsage) -> None:
        now = trio.current_time()
        fingerprint = look.fingerprint()
        if self._moved is None or self._moved[0] != fingerprint:
            self._moved = fingerprint, now
        stood_s = now - self._moved[1]
        if stood_s > self._age_limit_s(usage):
            raise UsageSourceError(
                f"{self} has not changed for {stood_s:.0f} s", hint="check that the program that writes it is running"
            )

    def _age_limit_s(self, usage: RawUsage) -> float:
        if self._max_age_s is not None:
            return self._max_age_s
        return STOPPED_UPTIME_S if usage.core_uptime_s else math.inf


def in_abandonable_thread() -> RunSync:
    """A runner with one thread at a time, left behind when its caller's deadline ends first."""
    limiter = trio.CapacityLimiter(1)

    async def run(fn: Callable[[], T], /) -> T:
        return await trio.to_thread.run_sync(fn, abandon_on_cancel=True, limiter=limiter)

    return run


def look_at(path: Path) -> Look:
    """Reads ``path`` once; ``UsageSourceError`` if it is no regular file of at most 1 MiB."""
    try:
        fd = os.open(path, _FLAGS)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise UsageSourceError(f"proxy usage file {path} is not a regular file")
            content = _read_up_to(fd, DOCUMENT_LIMIT + 1)
            after = os.fstat(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise UsageSourceError(f"proxy usage file {path} cannot be read: {error.strerror}") from None
    if len(content) > DOCUMENT_LIMIT:
        raise UsageSourceError(f"proxy usage file {path} exceeds {DOCUMENT_LIMIT} bytes")
    return Look(content, _mark(after), _mark(before) == _mark(after))


def _read_up_to(fd: int, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    while left > 0 and (part := os.read(fd, min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _mark(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

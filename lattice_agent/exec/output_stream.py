"""One output stream of a run, agent side: keeps the first bytes, counts and drains the rest. Never grows, never waits.

The end of a run is the end of its main process, not the end-of-file here: whatever inherited the pipe may hold it open
for ever (weak point 5). ``take_rest`` then reads what still is in the pipe.

Beyond what is kept, bytes go from the pipe to /dev/null with splice(2), without being copied into this process. One
turn moves at most what the pipe holds (64 KiB), then others have theirs: a flood of output costs neither memory nor a
heartbeat.
"""

import fcntl
import os
from collections.abc import Callable
from functools import partial
from typing import Final

from lattice_agent.exec.outcome import StreamCapture

BEYOND: Final = 3
"""Bytes kept past the limit: a UTF-8 character has at most three more after its first."""
CHUNK: Final = 64 * 1024
"""Bytes of one read: the usual capacity of a pipe."""
OnOutput = Callable[[str, bytes], None]
"""Called with "stdout" or "stderr" and bytes as they come, up to the limit. It must neither wait nor raise."""


def listener(on_output: OnOutput | None, name: str) -> Callable[[bytes], None] | None:
    """What one stream calls with its bytes, if anybody listens."""
    return None if on_output is None else partial(on_output, name)


class OutputStream:
    """The read end of a pipe. Owns the descriptor; ``close`` it."""

    def __init__(self, fd: int, limit: int, on_kept: Callable[[bytes], None] | None = None) -> None:
        """``limit``: bytes to keep. The descriptor becomes non-blocking (the writer's end stays as it is).

        ``on_kept`` is called with what is kept as it comes.
        """
        os.set_blocking(fd, False)
        self.fd = fd
        self._limit = limit
        self._on_kept = on_kept
        self._kept = bytearray()
        self._produced = 0
        self._null: int | None = None
        self._splice = True

    def captured(self) -> StreamCapture:
        """What was kept and counted so far."""
        kept = bytes(self._kept)
        return StreamCapture(kept[: self._limit], kept[self._limit :], self._produced)

    def take_rest(self) -> None:
        """Read what the pipe holds now, without waiting; at most its capacity, as what lingers may go on writing."""
        left = fcntl.fcntl(self.fd, fcntl.F_GETPIPE_SZ)
        while left > 0:
            before = self._produced
            if not self.take() or self._produced == before:
                return
            left -= self._produced - before

    def close(self) -> None:
        """Close the pipe; a writer that is left gets SIGPIPE."""
        os.close(self.fd)
        if self._null is not None:
            os.close(self._null)

    def take(self) -> bool:
        """Move what is there, at most one chunk; False at end-of-file."""
        room = self._limit + BEYOND - len(self._kept)
        try:
            if room > 0:
                data = os.read(self.fd, min(room, CHUNK))
                if self._on_kept is not None and data and len(self._kept) < self._limit:
                    self._on_kept(data[: self._limit - len(self._kept)])
                self._kept += data
                count = len(data)
            else:
                count = self.skip()
        except BlockingIOError:
            return True
        self._produced += count
        return count > 0

    def skip(self) -> int:
        """Drop at most one pipe's worth; the number of bytes, 0 at end-of-file. Raises BlockingIOError."""
        if self._splice:
            if self._null is None:
                self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            try:
                return os.splice(self.fd, self._null, 1 << 20, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                raise
            except OSError:
                self._splice = False  # refused by a seccomp filter or an old kernel: read and forget
        return len(os.read(self.fd, CHUNK))

"""Output of a command whose reader may have gone or stopped."""

import os
import select
import sys
import time
from typing import Final

DESCRIPTORS: Final = {"stdout": 1, "stderr": 2}
PIECE: Final = 4096
"""PIPE_BUF: a pipe that select(2) calls writable takes so much without blocking."""


class ReaderGoneError(Exception):
    """Nobody reads the output any more. No OSError: those are the sandbox's own."""


def print_whole(text: str) -> bool:
    """Print a text on standard output; False if nobody reads it any more."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its own end
        return False
    return True


class StreamThrough:
    """Passes the output of a script through while it runs: writes until a deadline, after which it drops.

    A reader that has stopped would otherwise keep the command from ending the script when its time is up.
    """

    def __init__(self, seconds: float) -> None:
        """``seconds``: how long writing may be waited for, in all, from now."""
        self._deadline = time.monotonic() + seconds
        self.dropped = 0
        """Bytes that nobody took."""

    def write(self, stream: str, data: bytes) -> None:
        """``stream``: "stdout" or "stderr". Raises ReaderGoneError."""
        fd, view = DESCRIPTORS[stream], memoryview(data)
        while view:
            left = self._deadline - time.monotonic()
            if not select.select([], [fd], [], max(left, 0.0))[1]:
                self.dropped += len(view)
                return
            try:
                view = view[os.write(fd, view[:PIECE]) :]
            except BlockingIOError:
                continue  # somebody made it non-blocking, and took the room between the two calls
            except BrokenPipeError:
                raise ReaderGoneError from None

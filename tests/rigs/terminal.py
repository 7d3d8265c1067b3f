"""A program on a pseudo terminal of its own: what reaches the screen, byte by byte, and keys for it."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

LIMIT_S: Final = 60.0
_READ: Final = 65_536
_SGR: Final = re.compile(r"\x1b\[[0-9;:]*m")
_BAR: Final = "\r\x1b[K"


@dataclass
class Terminal:
    """``screen`` is everything that was written to it so far."""

    process: "subprocess.Popen[bytes]"
    master: int
    screen: bytearray = field(default_factory=bytearray)

    def wait_for(self, text: bytes) -> None:
        """Until the text is on the screen."""
        self._read_until(lambda: text in self.screen, f"{text!r}")

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        """Until the program has ended and all it wrote is read; its exit code."""
        self._read_until(lambda: False, "its end")
        return self.process.wait(LIMIT_S)

    def _read_until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not done():
            readable, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise TimeoutError(f"waited {LIMIT_S:.0f} s for {what}; the screen has {bytes(self.screen[-500:])!r}")
            try:
                self.screen += os.read(self.master, _READ)
            except OSError:  # EIO: nobody holds the other side any more
                return


@contextmanager
def on_terminal(command: Sequence[str], environ: Mapping[str, str], *, columns: int = 100) -> Iterator[Terminal]:
    """Runs the command with all three streams on a terminal, which is its controlling one; killed at the end."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def control() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environ, "TERM": "xterm-256color"},
        start_new_session=True,
        preexec_fn=control,  # an ioctl and nothing else: threads of the test cannot hurt it
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(LIMIT_S)
        os.close(master)


def assert_only_text_and_colours(screen: bytes, *, bar: bool = False) -> str:
    """Nothing on the screen but printable UTF-8, line ends, tabs and colours (and, with ``bar``, the redrawn line).

    Returns the text without the colours.
    """
    text = screen.decode().replace("\r\n", "\n")  # the terminal driver makes two of each line feed
    if bar:
        text = text.replace(_BAR, "")
    plain = _SGR.sub("", text)
    wrong = {char for char in plain if not (char.isprintable() or char in "\n\t")}
    assert not wrong, ascii(wrong)
    return plain

"""The text databases of dpkg and apk. They are too long to be held in memory, so they are counted line by line."""

import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

FILE_LIMIT: Final = 64 * 2**20
"""Bytes of a database; the longest have a sixth of it. Beyond it nothing is counted: half a count is a wrong one."""

_LINE_LIMIT: Final = 65_536  # bytes taken at once; the rest of a longer line is met as a line of its own
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a FIFO in the way must not block us
_INSTALLED: Final = [b"installed"]


def is_dpkg_installed(line: bytes) -> bool:
    """Whether a line of dpkg's ``status`` says that its paragraph's package is installed, and not removed or broken.

    Its three words are what is wanted (``install``, ``hold``, …), an error flag, and the state.
    """
    return line.startswith(b"Status:") and line[7:].split()[2:] == _INSTALLED


def is_apk_package(line: bytes) -> bool:
    """Whether a line of apk's ``installed`` names a package, which it does once in each paragraph."""
    return line.startswith(b"P:")


def count_lines(root: Path, path: str, wanted: Callable[[bytes], bool], limit: int = FILE_LIMIT) -> int | None:
    """Lines of a file that are wanted; 0 when there is no such file, ``None`` when it cannot be read or is too long."""
    try:
        with os.fdopen(os.open(f"{root}/{path}", _FLAGS), "rb") as file:
            answer = os.fstat(file.fileno())
            if not stat.S_ISREG(answer.st_mode) or answer.st_size > limit:
                return None
            return sum(1 for line in _lines(file) if wanted(line))
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError:
        return None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    return iter(partial(file.readline, _LINE_LIMIT), b"")

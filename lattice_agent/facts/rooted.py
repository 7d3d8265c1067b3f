"""The reader of every family: bounded text from below the root of a host tree.

A source of facts is best effort, so nothing here raises: what is missing, unreadable or no file reads as empty.
"""

import os
import stat
from pathlib import Path
from typing import Final

READ_LIMIT: Final = 1_048_576
"""Bytes taken of one file. The longest we want (``/proc/stat`` with hundreds of CPUs) is a tenth of it; a longer
file is cut, which a parser meets as one broken last line."""

_CHUNK: Final = 65_536
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a FIFO in the way must not block us


def read_text(root: Path, path: str, limit: int = READ_LIMIT) -> str:
    """At most ``limit`` bytes of ``root/path`` as text, or "" when there is no such readable regular file.

    ``path`` is relative (``proc/stat``). Bytes that are not UTF-8 become U+FFFD.
    """
    try:
        fd = os.open(root / path, _FLAGS)
    except (OSError, ValueError):
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        return _read_up_to(fd, limit).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def _read_up_to(fd: int, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    while left > 0 and (part := os.read(fd, min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def exists(root: Path, path: str) -> bool:
    """Whether ``root/path`` is there, as a file, a directory or a link to anywhere."""
    return os.path.lexists(root / path)


def is_live(root: Path) -> bool:
    """Whether the tree is this machine, so that its kernel may be asked what no file says."""
    return root == Path("/")

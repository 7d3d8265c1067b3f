"""The reader of every family: bounded text, names and links from below the root of a host tree.

A source of facts is best effort, so nothing here raises but ``required_text``: what is missing, unreadable or no file
reads as empty. Paths are relative (``proc/stat``). Links of a recorded host lead to where they led on that host: an
absolute one starts at the tree's root, and none leads out of it.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from lattice_agent.facts.errors import FactsError

READ_LIMIT: Final = 1_048_576
"""Bytes taken of one file. The longest we want (``/proc/stat`` with hundreds of CPUs) is a tenth of it; a longer
file is cut, which a parser meets as one broken last line."""

NAMES_LIMIT: Final = 65_536
"""Names taken of one directory."""

LINKS_LIMIT: Final = 40
"""Links followed for one path of a recorded host, as in the kernel; more are a loop."""

_CHUNK: Final = 65_536
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a FIFO in the way must not block us


def read_text(root: Path, path: str, limit: int = READ_LIMIT) -> str:
    """At most ``limit`` bytes of ``root/path`` as text, or "" when there is no such readable regular file.

    Bytes that are not UTF-8 become U+FFFD.
    """
    try:
        return _read(root, path, limit)
    except (OSError, ValueError):
        return ""


def required_text(root: Path, path: str, limit: int = READ_LIMIT) -> str:
    """As ``read_text``, for the one source that a family cannot do without: FactsError names it and why it is missing.

    An empty file is missing, too.
    """
    try:
        text = _read(root, path, limit)
    except OSError as error:
        raise FactsError(f"/{path}: {error.strerror or error}") from None
    if not text.strip():
        raise FactsError(f"/{path}: empty")
    return text


def _read(root: Path, path: str, limit: int) -> str:
    fd = os.open(located(root, path), _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(None, "no regular file")
        return _read_up_to(fd, limit).decode("utf-8", "replace")
    finally:
        os.close(fd)


def _read_up_to(fd: int, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    while left > 0 and (part := os.read(fd, min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def names_in(root: Path, path: str) -> list[str]:
    """The names in a directory, sorted; none when it cannot be read. Names that are not UTF-8 are left out."""
    try:
        names = os.listdir(located(root, path))
    except (OSError, ValueError):
        return []
    return sorted(name for name in names if name.isprintable())[:NAMES_LIMIT]


def link_target(root: Path, path: str) -> str:
    """Where a symbolic link points, as it is written there; "" when it is none."""
    try:
        return os.readlink(located(root, path, follow_last=False))
    except (OSError, ValueError):
        return ""


def exists(root: Path, path: str) -> bool:
    """Whether ``root/path`` is there, as a file, a directory or a link to anywhere."""
    try:
        return os.path.lexists(located(root, path, follow_last=False))
    except (OSError, ValueError):
        return False


def located(root: Path, path: str, *, follow_last: bool = True) -> str:
    """Where the path is on this machine, for calls of ``os`` that none of the readers makes.

    OSError for links of a recorded host that go in circles, ValueError for a NUL.
    """
    if is_live(root):
        return f"/{path}"
    found: list[str] = []
    left = path.split("/")[::-1]
    links = 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del found[-1:]  # at the root it stays there
            continue
        place = "/".join((str(root), *found, part))
        if (left or follow_last) and os.path.islink(place):
            links += 1
            if links > LINKS_LIMIT:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(place)
            found = [] if target.startswith("/") else found
            left += target.split("/")[::-1]
            continue
        found.append(part)
    return "/".join((str(root), *found))


def is_live(root: Path) -> bool:
    """Whether the tree is this machine, so that its kernel may be asked what no file says."""
    return str(root) == "/"

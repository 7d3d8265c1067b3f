"""Empties a directory that a hostile script filled, in bounded memory and with at most six descriptors.

Nothing recurses and no path is built: a tree of any depth is flattened. A non-empty subdirectory is renamed into the
top directory, where its turn comes; so every directory is visited once and depth does not matter. Symbolic links are
removed, never followed; directories without permissions get them back through a descriptor that cannot be a link.
"""

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

ENTRIES_PER_STEP: Final = 128
"""Directory entries between two yields; on common disks well under 10 ms."""


def empty_directory(top: int) -> Iterator[None]:
    """Remove everything in the directory that descriptor ``top`` is open on, a bounded amount between two yields.

    Ends when the directory is empty, or when a whole pass could remove nothing (an immutable file, a mount point):
    the caller sees that when it cannot remove the directory. Whoever still makes files in there keeps it going, so
    the caller bounds the time. Raises nothing of OSError.
    """
    flat = _FlatNames()
    try:
        os.fchmod(top, stat.S_IRWXU)
    except OSError:
        return  # not ours (any more)
    progress = True
    while progress:
        progress = False
        for entry_is_done in _remove_entries(top, top, flat):
            progress = progress or entry_is_done is True
            if entry_is_done is None:
                yield


class _FlatNames:
    """Fresh names in the top directory that a script could not have guessed."""

    def __init__(self) -> None:
        self._prefix = f"remove-{secrets.token_hex(8)}-"
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"


def _remove_entries(directory: int, top: int, flat: _FlatNames) -> Iterator[bool | None]:
    """Remove the entries of ``directory`` (which may be ``top``): for each whether it went, and now and then None."""
    try:
        entries = os.scandir(directory)
    except OSError:
        return
    with entries:
        for number, entry in enumerate(entries, 1):
            if not _is_directory(entry):
                yield _attempt(os.unlink, entry.name, directory)
            elif _attempt(os.rmdir, entry.name, directory):
                yield True
            elif directory == top:
                yield from _remove_subdirectory(entry.name, top, flat)
            else:
                yield _flatten(entry.name, directory, top, flat)
            if number % ENTRIES_PER_STEP == 0:
                yield None


def _remove_subdirectory(name: str, top: int, flat: _FlatNames) -> Iterator[bool | None]:
    with _opened(name, top) as directory:
        if directory is not None:
            yield from _remove_entries(directory, top, flat)
    yield _attempt(os.rmdir, name, top)


def _flatten(name: str, directory: int, top: int, flat: _FlatNames) -> bool:
    """Move a non-empty subdirectory into ``top``; moving needs write permission on the moved one."""
    with _opened(name, directory):
        try:
            os.rename(name, flat.next(), src_dir_fd=directory, dst_dir_fd=top)
        except OSError:
            return False
    return True


def open_whatever_mode(name: str, parent: int | None = None) -> int:
    """A descriptor of a directory of ours, after giving it mode 0700. Follows no link in the last component."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        link = f"/proc/self/fd/{handle}"  # the one way to change the mode of an O_PATH descriptor
        os.chmod(link, stat.S_IRWXU)
        return os.open(link, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(handle)


@contextmanager
def _opened(name: str, parent: int) -> Iterator[int | None]:
    """``open_whatever_mode``, closed again at the end; None if it cannot be had."""
    try:
        directory = open_whatever_mode(name, parent)
    except OSError:
        yield None
        return
    try:
        yield directory
    finally:
        os.close(directory)


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _attempt(remove: Callable[..., None], name: str, directory: int) -> bool:
    try:
        remove(name, dir_fd=directory)
    except OSError:
        return False
    return True

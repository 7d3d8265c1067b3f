"""The work directory of a run: made, locked, and removed whatever the script did to it (protocol 3.3).

A directory is owned by the process that holds flock(2) on it. The lock goes with the process, so after a kill -9 the
next agent can tell the directories of the dead from those of a second, living agent, without a file that a script could
forge. The name differs from the Go agent's (digits only), whose directories carry no lock and are left alone.
"""

import fcntl
import logging
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Generator
from typing import Final

from lattice_agent.errors import SandboxError
from lattice_agent.exec.blueprint import CELL_IDS
from lattice_agent.exec.removal import empty_directory, open_whatever_mode

log = logging.getLogger(__name__)

PREFIX: Final = "lattice-task-"
SCRIPT_NAME: Final = "script"
CLEANUP_S: Final = 30.0
"""Bound of the clean-up at start; what is left then is left for the next start."""
_OURS: Final = re.compile(rf"{PREFIX}x[0-9a-f]{{24}}")
_ATTEMPTS: Final = 8
"""Names tried for a new directory. A clean-up that runs at the same moment may take one away; twice is bad luck."""


class WorkRootError(SandboxError):
    """The configured work root cannot be used; the message is the reference's."""

    default_hint = "correct -task-work-root"


class WorkDirectory:
    """A locked directory with the script in it; ``remove`` or ``abandon`` must be called in the end."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def create(cls, work_root: str | None, script: bytes | None) -> "WorkDirectory":
        """A fresh directory (mode 0700), with the script (0600) if there is one. Raises WorkRootError or OSError."""
        root = tempfile.gettempdir() if work_root is None else check_work_root(work_root)
        for _ in range(_ATTEMPTS):
            path = os.path.join(root, f"{PREFIX}x{secrets.token_hex(12)}")
            os.mkdir(path, stat.S_IRWXU)
            try:
                fd = _lock(path)
            except OSError:
                os.rmdir(path)  # still empty
                raise
            if fd is not None:
                directory = cls(path, fd)
                if script is not None:
                    directory._write_script(script)
                return directory
        raise WorkRootError(f"cannot keep a work directory in {root}: something removes it")

    @property
    def script_path(self) -> str:
        """Where the script is."""
        return os.path.join(self.path, SCRIPT_NAME)

    def remove(self) -> Generator[None, None, None]:
        """Remove the directory, a bounded amount between two yields; logs what cannot be removed, raises nothing."""
        yield from empty_directory(self._fd)
        self._forget()

    def abandon(self) -> None:
        """Give up removing; the next start of an agent does it."""
        os.close(self._fd)

    def _write_script(self, script: bytes) -> None:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(SCRIPT_NAME, flags, stat.S_IRUSR | stat.S_IWUSR, dir_fd=self._fd)
            with open(fd, "wb", buffering=0) as file:
                view = memoryview(script)
                while view:
                    view = view[file.write(view) :]
        except OSError:
            for _ in self.remove():
                pass
            raise

    def _forget(self) -> None:
        try:
            if _is_same(self.path, self._fd):
                os.rmdir(self.path)
            else:
                log.warning("work directory %s was moved by its script; emptied where it is", self.path)
        except OSError as error:
            log.warning("work directory %s is left: %s", self.path, error.strerror)
        finally:
            os.close(self._fd)


def check_work_root(path: str) -> str:
    """The work root, made with mode 0700 if absent. Raises WorkRootError with the texts of protocol 3.3."""
    if not os.path.isabs(path):
        raise WorkRootError(f"task work root must be absolute: {path}")
    try:
        os.makedirs(path, stat.S_IRWXU, exist_ok=True)
        status = os.stat(path)
    except (FileExistsError, NotADirectoryError):
        raise WorkRootError(f"task work root {path} is not a directory") from None
    except OSError as error:
        raise WorkRootError(f"task work root {path}: {error.strerror}") from error
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode) & 0o777
        raise WorkRootError(f"task work root {path} must not be group/world writable (mode {mode:03o})")
    if status.st_uid not in (0, os.geteuid()):
        raise WorkRootError(f"task work root {path} belongs to uid {status.st_uid}, who could exchange what is in it")
    return path


def cleanup_leftovers(work_root: str | None) -> int:
    """Remove the work directories of dead agents of this uid; how many went. Blocks up to CLEANUP_S; raises nothing.

    For the start of an agent, before it runs anything; a directory whose owner lives is locked and stays.
    """
    root = tempfile.gettempdir() if work_root is None else work_root
    deadline = time.monotonic() + CLEANUP_S
    removed = 0
    for path in _leftovers(root):
        try:
            fd = _lock(path)
        except OSError as error:
            log.warning("work directory %s cannot be looked at: %s", path, error.strerror)
            continue
        if fd is None:
            continue
        directory = WorkDirectory(path, fd)
        for _ in directory.remove():
            if time.monotonic() > deadline:
                log.warning("clean-up of %s takes too long; the rest is left for the next start", path)
                directory.abandon()
                return removed
        removed += not os.path.lexists(path)
    return removed


def _leftovers(root: str) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return [entry.path for entry in entries if _OURS.fullmatch(entry.name) and _is_own_directory(entry)]
    except OSError:
        return []


def _is_own_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        owner = entry.stat(follow_symlinks=False).st_uid
        of_a_cell = os.geteuid() == 0 and owner in CELL_IDS
        return entry.is_dir(follow_symlinks=False) and (owner == os.geteuid() or of_a_cell)
    except OSError:
        return False


def _lock(path: str) -> int | None:
    """A descriptor that holds the lock of the directory at ``path``; None if another has it or it is gone.

    After the lock was got the path is compared: a clean-up may have removed the directory between mkdir and flock.
    Raises OSError for anything else (no descriptors, no memory), which another name would not change.
    """
    try:
        fd = open_whatever_mode(path)  # a script may have taken all permissions from it
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_same(path, fd):
            return fd
    except BlockingIOError:
        pass
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _is_same(path: str, fd: int) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))

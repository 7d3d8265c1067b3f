"""Opening a file whose content has consequences: who could have written it, who can read it, how large it is.

Everything is asked of the open descriptor, so that the file that was checked is the file that is read. A named
pipe or a device is refused without waiting for it.
"""

import dataclasses
import os
import stat
from pathlib import Path

from lattice_agent.config.options import Trust
from lattice_agent.errors import ConfigError, PolicyError

MAX_FILE_BYTES = 1 << 20  # configuration and policy; a larger file is refused, not cut
MAX_SECRET_FILE_BYTES = 4096  # protocol reference, 5.2


class FileRefusedError(ConfigError):
    """A file that was named in the configuration cannot be read, or is not what it should be."""

    default_hint = "check the path, the owner and the mode of the file"


@dataclasses.dataclass(frozen=True, slots=True)
class CheckedFile:
    """Content of a regular file and what its owner and mode say about it."""

    content: bytes
    trust: Trust
    distrust: str
    """Why ``trust`` is not ROOT, for a message; "" if it is."""
    others_can_read: bool


def read_file(path: Path, *, limit: int, euid: int) -> CheckedFile:
    """The whole of a regular file of at most ``limit`` bytes. Raises FileRefusedError, whose text names the path."""
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise FileRefusedError(f"cannot read {path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileRefusedError(f"{path} is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise FileRefusedError(f"cannot read {path}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise FileRefusedError(f"{path} is larger than {limit} bytes")
    trust, distrust = judge(status.st_uid, status.st_mode, euid)
    return CheckedFile(content, trust, distrust, others_can_read=bool(status.st_mode & stat.S_IROTH))


def judge(owner: int, mode: int, euid: int) -> tuple[Trust, str]:
    """How far a file with this owner and mode can be trusted by a process of ``euid``, and why not fully.

    >>> judge(0, 0o100644, 1000)
    (<Trust.ROOT: 2>, '')
    >>> judge(1000, 0o100644, 1000)
    (<Trust.OWNER: 1>, 'it is owned by uid 1000, not by root')
    >>> judge(0, 0o100664, 0)
    (<Trust.ANYONE: 0>, 'it is writable by its group (mode 0664)')
    """
    if mode & stat.S_IWOTH:
        return Trust.ANYONE, f"it is writable by everybody (mode {mode & 0o7777:04o})"
    if mode & stat.S_IWGRP:
        return Trust.ANYONE, f"it is writable by its group (mode {mode & 0o7777:04o})"
    if owner == 0:
        return Trust.ROOT, ""
    distrust = f"it is owned by uid {owner}, not by root"
    return (Trust.OWNER if owner == euid else Trust.ANYONE), distrust


def read_trusted_file(path: Path) -> bytes:
    """Content of a file that only root can have written, at most 1 MiB: the local policy. Raises PolicyError."""
    try:
        checked = read_file(path, limit=MAX_FILE_BYTES, euid=os.geteuid())
    except FileRefusedError as error:
        raise PolicyError(f"policy: {error}") from None
    if checked.trust is not Trust.ROOT:
        raise PolicyError(
            f"policy {path} cannot be trusted: {checked.distrust}", hint=f"chown root {path} && chmod 0644 {path}"
        )
    return checked.content


def read_secret_file(path: Path, *, what: str) -> tuple[str, bool]:
    """A credential that stands alone in a file, without surrounding white space; and whether every user can read it.

    ``what`` names it in errors. Raises FileRefusedError; its text never holds the content.
    """
    checked = read_file(path, limit=MAX_SECRET_FILE_BYTES, euid=os.geteuid())
    try:
        text = checked.content.decode().strip()
    except UnicodeDecodeError:
        raise FileRefusedError(f"{what} file {path} is not UTF-8 text") from None
    if not text:
        raise FileRefusedError(f"{what} file {path} is empty")
    return text, checked.others_can_read

"""The secret that a loopback URL source shows to the proxy core's side (protocol reference 5.2)."""

import os
import re
import stat
from pathlib import Path
from typing import Final

from lattice_agent.errors import ConfigError
from lattice_agent.secret import Secret

FILE_LIMIT: Final = 4096
_SENDABLE: Final = re.compile(r"[!-~]+")  # what may follow "Bearer " in a header
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def load_local_secret(secret: Secret | None, path: Path | None) -> Secret | None:
    """The secret itself or the one in the file, ``None`` if neither is given; ``ConfigError`` if it cannot be used."""
    if secret and path is not None:
        raise ConfigError(
            "-proxy-usage-secret and -proxy-usage-secret-file are both given", hint="keep one of them, best the file"
        )
    if path is not None:
        return _checked(_read(path), f"-proxy-usage-secret-file {path}")
    return _checked(secret.reveal(), "-proxy-usage-secret") if secret else None


def _read(path: Path) -> str:
    try:
        fd = os.open(path, _FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ConfigError(f"-proxy-usage-secret-file {path} is not a regular file")
            content = os.read(fd, FILE_LIMIT + 1)
        finally:
            os.close(fd)
    except OSError as error:
        raise ConfigError(f"-proxy-usage-secret-file {path} cannot be read: {error.strerror}") from None
    if len(content) > FILE_LIMIT:
        raise ConfigError(f"-proxy-usage-secret-file {path} is longer than {FILE_LIMIT} bytes")
    return content.decode("utf-8", "replace")


def _checked(text: str, name: str) -> Secret:
    trimmed = text.strip()
    if not trimmed:
        raise ConfigError(f"{name} is empty")
    if not _SENDABLE.fullmatch(trimmed):
        raise ConfigError(f"{name} has a character that an HTTP header cannot carry")
    return Secret(trimmed)

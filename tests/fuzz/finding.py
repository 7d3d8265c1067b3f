"""An input that broke something: made small, and kept under a name of its own content."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_TRIES: Final = 2_000
_SECONDS: Final = 20.0
"""What making an input small may cost; the best one so far is kept."""


def minimised(data: bytes, is_same: Callable[[bytes], bool]) -> bytes:
    """The smallest input found of which ``is_same`` still holds: pieces are cut out, large ones first."""
    tries, size, until = 0, max(len(data) // 2, 1), time.monotonic() + _SECONDS
    while size and tries < _TRIES and time.monotonic() < until:
        at, has_shrunk = 0, False
        while at < len(data) and tries < _TRIES and time.monotonic() < until:
            shorter = data[:at] + data[at + size :]
            tries += 1
            if is_same(shorter):
                data, has_shrunk = shorter, True
            else:
                at += size
        if not has_shrunk or size > len(data):
            size //= 2
    return data


def keep(folder: Path, data: bytes) -> Path:
    """The file that holds the input from now on."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path

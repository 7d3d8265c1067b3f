"""How inputs of more than one part are written, so that a person can read them and the mutation can keep their form."""

import tempfile
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="lattice-fuzz-")


def scratch() -> Path:
    """A folder of this process for files that readers read; gone with it, and with its campaign if it is killed."""
    return Path(_scratch().name)


def headed(data: bytes) -> tuple[str, bytes]:
    """The first line as text, and the rest."""
    head, _, rest = data.partition(b"\n")
    return head.decode("utf-8", "replace"), rest


def chosen(table: Mapping[str, T], data: bytes) -> tuple[T, bytes]:
    """What the first line names, or of any other line always the same one; and the rest."""
    head, rest = headed(data)
    if head not in table:
        head = sorted(table)[zlib.crc32(head.encode()) % len(table)]
    return table[head], rest


def text(data: bytes) -> str:
    """As text files are read: what is not UTF-8 is replaced."""
    return data.decode("utf-8", "replace")


def pieces(data: bytes, size: int) -> list[bytes]:
    """The same bytes as they may come over a connection."""
    return [data[at : at + size] for at in range(0, len(data), size)]

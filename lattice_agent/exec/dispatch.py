"""The two messages between agent and cell, as bytes (native/cell.c): the task on its way in, the record of its end.

Pure. All numbers are in the machine's own order: both ends are on one machine.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lattice_agent.errors import SandboxError

MESSAGE_MOST: Final = 49151
"""Bytes of a task message; a larger one is refused here."""
ITEMS_MOST: Final = 512
LIMITS_MOST: Final = 16
RECORD_BYTES: Final = 24
_HEADER: Final = struct.Struct("=4I")
_LIMIT: Final = struct.Struct("=3Q")
_RECORD: Final = struct.Struct("=iIQQ")


@dataclass(frozen=True)
class CellRecord:
    """What the init saw: written when no process was left."""

    status: int
    """Of the main process, as wait(2) gives it."""
    killed: int
    """Processes that the init killed after the main one had ended."""
    cpu_s: float
    max_rss_bytes: int


def encode_task(argv: Sequence[bytes], environment: Sequence[bytes], limits: Sequence[tuple[int, int, int]]) -> bytes:
    """The message that makes a waiting launcher a script. Raises SandboxError for what cannot be passed."""
    items = (*argv, *environment)
    if any(b"\0" in item for item in items):
        raise SandboxError("an argument or environment entry holds a NUL byte")
    if not argv or len(items) > ITEMS_MOST or len(limits) > LIMITS_MOST:
        raise SandboxError(f"{len(items)} arguments and environment entries are more than {ITEMS_MOST}")
    data = b"".join(
        (
            _HEADER.pack(len(limits), len(argv), len(environment), 0),
            *(_LIMIT.pack(*limit) for limit in limits),
            *(item + b"\0" for item in items),
        )
    )
    if len(data) > MESSAGE_MOST:
        raise SandboxError(f"arguments and environment of {len(data)} bytes are more than {MESSAGE_MOST}")
    return data


def decode_record(data: bytes) -> CellRecord | None:
    """The init's record; None if it ended without one (it was killed)."""
    if len(data) != RECORD_BYTES:
        return None
    status, killed, cpu_us, max_rss_kib = _RECORD.unpack(data)
    return CellRecord(status, killed, cpu_us / 1e6, max_rss_kib * 1024)

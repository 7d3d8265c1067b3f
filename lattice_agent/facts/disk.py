"""The root file system: statfs of ``/`` (protocol reference 4.2)."""

import os
from dataclasses import dataclass
from pathlib import Path

from lattice_agent.facts.lexical import COUNTER_LIMIT


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes. ``used`` is total less what an unprivileged process can still write, so root's reserve counts as used."""

    used: int = 0
    total: int = 0


def read_disk(root: Path) -> Disk:
    """Size and use of the file system ``root`` is on; zeros when it cannot be asked.

    Blocks for as long as a stuck file system does: see ``facts.deadline``.
    """
    try:
        answer = os.statvfs(root)
    except OSError:
        return Disk()
    total = min(answer.f_blocks * answer.f_frsize, COUNTER_LIMIT)  # some FUSE file systems claim more
    return Disk(max(0, total - answer.f_bavail * answer.f_frsize), total)

"""Whether a file may have changed since it was last looked at, for a fraction of what reading it costs."""

import os
from pathlib import Path

from lattice_agent.facts.rooted import located

Stamp = tuple[int, int]
"""Time of last modification in ns since 1970, and size in bytes."""


def file_stamp(root: Path, path: str) -> Stamp | None:
    """The stamp of a file or directory, of what a link leads to; ``None`` when it is not there or cannot be asked.

    That of a directory changes when a name in it comes or goes, not with what is in the files.
    """
    try:
        answer = os.stat(located(root, path))
    except (OSError, ValueError):
        return None
    return answer.st_mtime_ns, answer.st_size

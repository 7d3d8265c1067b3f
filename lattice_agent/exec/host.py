"""Looks at the node for what ``policy.decide`` needs to know: interpreters that are there, threads of a uid."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lattice_agent.exec.policy import INTERPRETERS, LocalPolicy, expected_path

_STATUS_LIMIT: Final = 8192


def find_interpreters(search_path: str, policy: LocalPolicy) -> Mapping[str, str]:
    """Name to path of each allowlisted interpreter that can be executed.

    ``search_path`` is the agent's own PATH (protocol 3.1); relative entries of it are passed over.
    """
    found = {}
    for name in INTERPRETERS:
        path = expected_path(name, policy)
        candidates = [path] if path else [os.path.join(place, name) for place in search_path.split(":")]
        executable = next((candidate for candidate in candidates if _executable(candidate)), None)
        if executable:
            found[name] = executable
    return found


def count_uid_threads(uid: int, proc: Path = Path("/proc")) -> int | None:
    """Threads whose real uid is ``uid``, which is what RLIMIT_NPROC counts; None if /proc cannot be read.

    Costs about 20 us per process of the machine. From ``status``, not from the owner of the directory: that is root
    for a process that is not dumpable.
    """
    total = 0
    try:
        with os.scandir(proc) as entries:
            for entry in entries:
                if entry.name.isdigit():
                    total += _threads_of(Path(entry.path, "status"), uid)
    except OSError:
        return None
    return total


def parse_status(text: str) -> tuple[int, int]:
    """Real uid and number of threads from /proc/<pid>/status."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(fields["Uid"].split()[0]), int(fields["Threads"])


def _threads_of(path: Path, uid: int) -> int:
    try:
        with path.open("rb") as status:
            owner, threads = parse_status(status.read(_STATUS_LIMIT).decode("utf-8", "replace"))
    except (OSError, KeyError):
        return 0  # ended while we looked
    return threads if owner == uid else 0


def _executable(path: str) -> bool:
    return path.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK)

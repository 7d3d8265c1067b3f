"""Looks at the node for what ``policy.decide`` needs to know: interpreters that are there, threads of a uid."""

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from lattice_agent.exec.local_policy import INTERPRETERS, LocalPolicy
from lattice_agent.exec.plan import Level
from lattice_agent.exec.template import ETC_DIRECTORIES, SYSTEM_DIRECTORIES

CONFINED_PLACES: Final = ("/usr/bin", "/bin", "/usr/local/bin")
"""Where interpreters are looked for inside a cell: the start of the script's own PATH, not the agent's."""
_IN_EVERY_CELL: Final = (*SYSTEM_DIRECTORIES, *(f"/etc/{name}" for name in ETC_DIRECTORIES))
_MOST_LINKS: Final = 40  # as the kernel follows
_STATUS_LIMIT: Final = 8192


def find_interpreters(search_path: str, policy: LocalPolicy) -> Mapping[str, str]:
    """Name to path of each allowlisted interpreter that can be executed.

    ``search_path`` is the agent's own PATH (protocol 3.1); relative entries of it are passed over.
    """
    candidates = ((name, _candidates(name, search_path.split(":"), policy)) for name in INTERPRETERS)
    return {name: paths[0] for name, paths in candidates if paths}


def find_confined_interpreters(
    policy: LocalPolicy, places: Sequence[str] = CONFINED_PLACES
) -> Mapping[Level, Mapping[str, str]]:
    """For each level that has cells, name to path of each allowlisted interpreter that can be executed inside one.

    A cell shows the system's directories and the level's ``read_only`` paths. Links are followed: one that leads out of
    them leads nowhere inside. Costs about 0.4 ms.
    """
    found: dict[Level, dict[str, str]] = {level: {} for level in Level if level is not Level.HOST}
    for name in INTERPRETERS:
        located = [(path, list(_links(path))) for path in _candidates(name, places, policy)]
        for level, paths in found.items():
            shown = (*_IN_EVERY_CELL, *policy.level_rule(level).read_only)
            inside = (_path_inside(path, links, shown) for path, links in located)
            if first := next(filter(None, inside), None):
                paths[name] = first
    return found


def _candidates(name: str, places: Iterable[str], policy: LocalPolicy) -> list[str]:
    """Where an interpreter can be executed, the preferred path first."""
    path = policy.expected_path(name)
    paths = [path] if path else [os.path.join(place, name) for place in places]
    return [path for path in paths if _executable(path)]


def _path_inside(path: str, links: Sequence[str], shown: Sequence[str]) -> str | None:
    """How a program is reached inside a cell that shows these paths; None if not at all.

    By its own path if it, and every link on the way, is shown: some programs look at the name they are called by
    (busybox, virtual environments). Else by where it really is.
    """
    if not _below(links[-1], shown):
        return None
    if not all(_below(link, shown) for link in links):
        return links[-1]
    return path if _below(posixpath.normpath(path), shown) else links[0]


def _links(path: str) -> Iterator[str]:
    """Where the program and each link that leads to it really lie, the program itself last."""
    for _ in range(_MOST_LINKS):
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        yield path
        if not os.path.islink(path):
            return
        path = os.path.join(os.path.dirname(path), os.readlink(path))


def _below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(place + "/") for place in places)


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

"""Tables of the kernel that can fill up: open files, processes, threads (proc(5))."""

import os
from pathlib import Path

from lattice_agent.facts.lexical import parse_count
from lattice_agent.facts.look import Look
from lattice_agent.wire.metrics_detail import Kernel


def kernel_tables(look: Look) -> Kernel | None:
    """The group; ``None`` when nothing of it is known."""
    open_files, limit = parse_file_handles(look.text("proc/sys/fs/file-nr"))
    stat = look.text("proc/stat")
    group = Kernel(
        open_files=open_files,
        open_files_limit=limit,
        processes=count_processes(look.root),
        threads=parse_threads(look.text("proc/loadavg")),
        running=_count_of(stat, "procs_running"),
        blocked=_count_of(stat, "procs_blocked"),
    )
    return group if group != Kernel() else None


def parse_file_handles(file_nr: str) -> tuple[int | None, int | None]:
    """Open handles and their limit: columns 1 and 3 of ``allocated free limit``."""
    fields = file_nr.split()
    if len(fields) != 3:
        return None, None
    return parse_count(fields[0]), parse_count(fields[2])


def parse_threads(loadavg: str) -> int | None:
    """The second figure of ``2/345``, the fourth field of ``/proc/loadavg``."""
    fields = loadavg.split()
    return parse_count(fields[3].partition("/")[2]) if len(fields) > 3 else None


def count_processes(root: Path) -> int | None:
    """Directories below ``/proc`` that are named by a number; ``None`` where there is none."""
    try:
        names = os.listdir(f"{root}/proc")
    except OSError:
        return None
    return sum(1 for name in names if name.isdecimal()) or None


def _count_of(stat: str, name: str) -> int | None:
    start = stat.rfind(f"\n{name} ")
    return parse_count(stat[start + len(name) + 2 :].partition("\n")[0].strip()) if start >= 0 else None

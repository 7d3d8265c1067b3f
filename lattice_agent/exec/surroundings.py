"""Looks at the host for what bears on the sandbox (``findings.Surroundings``). Changes nothing, raises nothing."""

import os
from pathlib import Path

from lattice_agent.exec import id_mapping
from lattice_agent.exec.cells import SUBORDINATE_IDS
from lattice_agent.exec.findings import Surroundings
from lattice_agent.exec.host import find_interpreters
from lattice_agent.exec.kernel import cgroup_place, landlock
from lattice_agent.exec.local_policy import LocalPolicy

CELL_PROGRAM = Path(__file__).parent / "native" / "cell"
_KIB = 1024


def look_around(search_path: str, proc: Path = Path("/proc")) -> Surroundings:
    """``search_path``: the PATH by which interpreters of the host are found."""
    cgroup, refusal = _cgroup()
    return Surroundings(
        uid=os.geteuid(),
        kernel=os.uname().release,
        landlock_abi=landlock.abi(),
        native_cell=_native_cell(),
        libseccomp=_libseccomp(),
        user_namespaces=_setting(proc, "user/max_user_namespaces"),
        unprivileged_user_namespaces=_setting(proc, "kernel/unprivileged_userns_clone"),
        apparmor_user_namespaces=_setting(proc, "kernel/apparmor_restrict_unprivileged_userns"),
        typing_into_terminals=_setting(proc, "dev/tty/legacy_tiocsti"),
        masked_proc=masks_of(_text(proc / "self/mountinfo")),
        cgroup=cgroup,
        cgroup_refusal=refusal,
        swap_bytes=swap_of(_text(proc / "swaps")),
        subordinate_ids=_subordinate_ids(),
        interpreters=find_interpreters(search_path, LocalPolicy()),
    )


def masks_of(mountinfo: str) -> tuple[str, ...]:
    """Mount points below /proc that keep a user namespace from mounting another; binfmt_misc is an ordinary one."""
    points = [fields[4] for line in mountinfo.splitlines() if len(fields := line.split(" ")) > 4]
    return tuple(point for point in points if point.startswith("/proc/") and "binfmt_misc" not in point)


def swap_of(swaps: str) -> int:
    """Bytes of all areas in /proc/swaps, whose third column has KiB: proc(5)."""
    columns = [line.split() for line in swaps.splitlines()[1:]]
    return sum(int(fields[2]) for fields in columns if len(fields) > 2 and fields[2].isdigit()) * _KIB


def _native_cell() -> str:
    if not CELL_PROGRAM.exists():
        return f"{CELL_PROGRAM} is missing: it is built when the package is installed, with a C compiler"
    return "" if os.access(CELL_PROGRAM, os.X_OK) else f"{CELL_PROGRAM} cannot be executed"


def _libseccomp() -> str:
    try:
        import pyseccomp  # noqa: F401 - it looks for the library when it is imported
    except (ImportError, RuntimeError, OSError) as error:
        return str(error)
    return ""


def _cgroup() -> tuple[str, str]:
    try:
        return cgroup_place.survey()
    except OSError as error:
        return "", f"{error.filename}: {error.strerror}"


def _subordinate_ids() -> str:
    if os.geteuid() == 0:
        return ""
    try:
        id_mapping.look(SUBORDINATE_IDS)
    except id_mapping.NoMappingError as error:
        return str(error)
    return ""


def _setting(proc: Path, name: str) -> int | None:
    text = _text(proc / "sys" / name).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""

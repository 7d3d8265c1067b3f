"""How much software is installed, by the package manager's own database.

A host may have the tools of several managers; the first of ``_MANAGERS`` whose database has a package in it is the
one that the host is built from. A database that is there and cannot be counted counts as one with packages.
"""

import os
from collections.abc import Callable, Hashable
from itertools import islice
from pathlib import Path
from typing import Final

from lattice_agent.facts.package_lists import count_lines, is_apk_package, is_dpkg_installed
from lattice_agent.facts.rooted import NAMES_LIMIT
from lattice_agent.facts.stamp import file_stamp
from lattice_agent.wire.host_inventory import Packages

_DPKG: Final = "var/lib/dpkg/status"
_RPM: Final = ("var/lib/rpm", "usr/lib/sysimage/rpm")
_RPM_SQLITE: Final = "rpmdb.sqlite"
_RPM_OLDER: Final = ("Packages", "Packages.db")  # Berkeley DB, which rpm 4.16 began to replace, and SUSE's ndb
_APK: Final = ("lib/apk/db/installed", "usr/lib/apk/db/installed")  # the second since /lib is merged into /usr
_PACMAN: Final = "var/lib/pacman/local"
_PORTAGE: Final = "var/db/pkg"
_FILES: Final = (_DPKG, *(f"{place}/{name}" for place in _RPM for name in (_RPM_SQLITE, *_RPM_OLDER)), *_APK, _PACMAN)


def fingerprint(root: Path) -> Hashable:
    """Stamps of all databases. Portage's is a directory for each category, and only Gentoo has any."""
    stamps = tuple(file_stamp(root, path) for path in _FILES)
    portage = file_stamp(root, _PORTAGE)
    if portage is None:
        return stamps
    return stamps, portage, tuple(file_stamp(root, f"{_PORTAGE}/{name}") for name in _folders(root, _PORTAGE))


def read(root: Path) -> Packages:
    """Never raises: a host without any of these databases has no package manager that we know."""
    for manager, count in _MANAGERS:
        installed = count(root)
        if installed != 0:
            return Packages(manager=manager, installed=installed)
    return Packages()


def _dpkg(root: Path) -> int | None:
    return count_lines(root, _DPKG, is_dpkg_installed)


def _rpm(root: Path) -> int | None:
    """Packages in rpm's database, 0 when there is none, ``None`` when it is older than sqlite or broken."""
    for place in _RPM:
        if _has_content(root, f"{place}/{_RPM_SQLITE}"):
            return _count_rpm_sqlite(root / place / _RPM_SQLITE)
    older = (f"{place}/{name}" for place in _RPM for name in _RPM_OLDER)
    return None if any(_has_content(root, path) for path in older) else 0


def _has_content(root: Path, path: str) -> bool:
    """Whether it is a file, which a FIFO in its place is not, and not an empty one."""
    try:
        return os.path.isfile(f"{root}/{path}") and os.path.getsize(f"{root}/{path}") > 0
    except OSError:
        return False


def _count_rpm_sqlite(path: Path) -> int | None:
    """Rows of ``Packages`` less the keys that signatures are checked with, which rpm keeps as packages gpg-pubkey.

    Opened as immutable, so that no lock and no file beside it is made. That leaves out SQLite's log, which rpm writes
    back into the file when it is done; what we see while it works may be old or broken, and its end changes the stamp.
    """
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            (packages,) = database.execute("SELECT count(*) FROM Packages").fetchone()
            (keys,) = database.execute("SELECT count(*) FROM Name WHERE key = 'gpg-pubkey'").fetchone()
    except (sqlite3.Error, ValueError):
        return None
    return max(0, int(packages) - int(keys))


def _apk(root: Path) -> int | None:
    counts = [count_lines(root, path, is_apk_package) for path in _APK]
    return next((count for count in counts if count != 0), 0)


def _pacman(root: Path) -> int:
    """A directory for each package, beside the file ALPM_DB_VERSION."""
    return len(_folders(root, _PACMAN))


def _portage(root: Path) -> int:
    """A directory for each package in one for each category; ``-MERGING-`` stands before one that is not done."""
    return sum(len(_folders(root, f"{_PORTAGE}/{category}")) for category in _folders(root, _PORTAGE))


def _folders(root: Path, path: str) -> list[str]:
    """Names of the directories in a directory, without those no package or category can have."""
    try:
        with os.scandir(f"{root}/{path}") as entries:
            names = [entry.name for entry in islice(entries, NAMES_LIMIT) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(name for name in names if not name.startswith((".", "-")))


_MANAGERS: Final[tuple[tuple[str, Callable[[Path], int | None]], ...]] = (
    ("dpkg", _dpkg),
    ("rpm", _rpm),
    ("apk", _apk),
    ("pacman", _pacman),
    ("portage", _portage),
)

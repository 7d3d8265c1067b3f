import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.packages import fingerprint, read
from lattice_agent.facts.package_lists import count_lines, is_apk_package, is_dpkg_installed
from lattice_agent.wire.host_inventory import Packages
from tests.unit.facts.trees import write_tree

DPKG = """\
Package: bash
Status: install ok installed
Version: 5.2
Description: shell
 Status: install ok installed

Package: gone
Status: deinstall ok config-files

Package: held
Status: hold ok installed

Package: broken
Status: install reinstreq half-installed
"""
APK = "C:Q1x=\nP:musl\nV:1.2\np:so:libc.musl\n\nC:Q1y=\nP:busybox\nV:1.36\n"
PACMAN = {
    "var/lib/pacman/local/ALPM_DB_VERSION": "9\n",
    "var/lib/pacman/local/bash-5.2.026-2/": "",
    "var/lib/pacman/local/zlib-1:1.3-1/": "",
}
PORTAGE = {
    "var/db/pkg/sys-apps/portage-3.0.63/": "",
    "var/db/pkg/sys-apps/sed-4.9/": "",
    "var/db/pkg/sys-apps/-MERGING-gawk-5.3/": "",
    "var/db/pkg/sys-apps/.sed-4.9.portage_lockfile": "",
    "var/db/pkg/dev-lang/python-3.12.3/": "",
    "var/db/pkg/world": "",
}
Tree = dict[str, str | bytes]


def write_rpm(path: Path, *names: str) -> None:
    """A database with rpm's tables, as far as they are counted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        database.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        for number, name in enumerate(names):
            database.execute("INSERT INTO Packages VALUES (?, ?)", (number, b"header"))
            database.execute("INSERT INTO Name VALUES (?, ?, 0)", (name, number))
        database.commit()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"var/lib/dpkg/status": DPKG}, Packages(manager="dpkg", installed=2)),
        ({"var/lib/dpkg/status": DPKG.replace("\n", "\r\n")}, Packages(manager="dpkg", installed=2)),
        ({"lib/apk/db/installed": APK}, Packages(manager="apk", installed=2)),
        ({"usr/lib/apk/db/installed": APK}, Packages(manager="apk", installed=2)),
        (PACMAN, Packages(manager="pacman", installed=2)),
        (PORTAGE, Packages(manager="portage", installed=3)),
        ({"var/lib/rpm/Packages": b"\0\0bdb"}, Packages(manager="rpm")),
        ({"usr/lib/sysimage/rpm/Packages.db": b"RpmP"}, Packages(manager="rpm")),
        ({"var/lib/rpm/rpmdb.sqlite": b"no database"}, Packages(manager="rpm")),
        ({"var/db/pkg/local.sqlite": b"another system's"}, Packages()),
        ({"var/lib/rpm/Packages": b"", "var/lib/rpm/rpmdb.sqlite": b""}, Packages()),
        ({}, Packages()),
    ],
)
def test_each_manager_is_counted_by_its_database(tmp_path: Path, files: Tree, expected: Packages) -> None:
    assert read(write_tree(tmp_path, files)) == expected


@pytest.mark.parametrize("place", ["var/lib/rpm", "usr/lib/sysimage/rpm"])
def test_rpm_is_counted_without_its_keys(tmp_path: Path, place: str) -> None:
    write_rpm(tmp_path / place / "rpmdb.sqlite", "bash", "glibc", "gpg-pubkey", "gpg-pubkey", "zlib")
    assert read(tmp_path) == Packages(manager="rpm", installed=3)


def test_counting_rpm_leaves_nothing_behind(tmp_path: Path) -> None:
    write_rpm(tmp_path / "var/lib/rpm/rpmdb.sqlite", "bash")
    before = fingerprint(tmp_path)
    assert read(tmp_path).installed == 1
    assert os.listdir(tmp_path / "var/lib/rpm") == ["rpmdb.sqlite"]
    assert fingerprint(tmp_path) == before


def test_a_path_of_a_database_is_no_query(tmp_path: Path) -> None:
    write_rpm(tmp_path / "a?mode=memory#b%20c" / "var/lib/rpm/rpmdb.sqlite", "bash")
    assert read(tmp_path / "a?mode=memory#b%20c") == Packages(manager="rpm", installed=1)


def test_rpm_with_an_older_file_left_over_is_counted_by_the_new_one(tmp_path: Path) -> None:
    write_rpm(tmp_path / "var/lib/rpm/rpmdb.sqlite", "bash")
    assert read(write_tree(tmp_path, {"var/lib/rpm/Packages": b"old"})).installed == 1


def test_the_first_manager_with_packages_wins(tmp_path: Path) -> None:
    order = []
    write_tree(tmp_path, {**PORTAGE, **PACMAN, "lib/apk/db/installed": APK, "var/lib/dpkg/status": DPKG})
    write_rpm(tmp_path / "var/lib/rpm/rpmdb.sqlite", "bash")
    for emptied in ("var/lib/dpkg/status", "var/lib/rpm/rpmdb.sqlite", "lib/apk/db/installed", "var/lib/pacman/local"):
        order.append(read(tmp_path).manager)
        (tmp_path / emptied).rename(tmp_path / emptied.replace("/", "-"))
    assert [*order, read(tmp_path).manager] == ["dpkg", "rpm", "apk", "pacman", "portage"]


@pytest.mark.parametrize("status", ["", "Package: gone\nStatus: deinstall ok config-files\n"])
def test_tools_without_packages_are_not_the_manager(tmp_path: Path, status: str) -> None:
    write_rpm(tmp_path / "var/lib/rpm/rpmdb.sqlite", "dpkg")
    assert read(write_tree(tmp_path, {"var/lib/dpkg/status": status})).manager == "rpm"


def test_an_rpm_database_of_keys_alone_is_empty(tmp_path: Path) -> None:
    write_rpm(tmp_path / "var/lib/rpm/rpmdb.sqlite", "gpg-pubkey")
    assert read(tmp_path) == Packages()


def test_a_database_beyond_the_limit_is_not_counted(tmp_path: Path) -> None:
    write_tree(tmp_path, {"status": DPKG})
    assert count_lines(tmp_path, "status", is_dpkg_installed, limit=len(DPKG)) == 2
    assert count_lines(tmp_path, "status", is_dpkg_installed, limit=len(DPKG) - 1) is None


def test_a_directory_in_the_place_of_a_database_is_not_counted(tmp_path: Path) -> None:
    assert read(write_tree(tmp_path, {"var/lib/dpkg/status/": ""})) == Packages(manager="dpkg")


async def test_a_fifo_in_the_place_of_a_database_does_not_block(tmp_path: Path) -> None:
    for path in ("var/lib/dpkg/status", "var/lib/rpm/rpmdb.sqlite", "lib/apk/db/installed"):
        (tmp_path / path).parent.mkdir(parents=True)
        os.mkfifo(tmp_path / path)
    with trio.fail_after(5):
        packages = await trio.to_thread.run_sync(read, tmp_path, abandon_on_cancel=True)
    assert packages == Packages(manager="dpkg")


@pytest.mark.parametrize(
    ("line", "installed"),
    [
        (b"Status: install ok installed\n", True),
        (b"Status:install ok installed\n", True),
        (b"Status: hold ok installed", True),
        (b"Status: install ok unpacked\n", False),
        (b"Status: install ok not-installed\n", False),
        (b"Status: install ok half-configured\n", False),
        (b"Status: install ok installed extra\n", False),
        (b" Status: install ok installed\n", False),
        (b"Status: installed\n", False),
        (b"Status:\n", False),
    ],
)
def test_the_third_word_of_a_status_counts(line: bytes, installed: bool) -> None:
    assert is_dpkg_installed(line) is installed


def install(path: str, content: str = "P:x\n") -> Callable[[Path], object]:
    return lambda root: write_tree(root, {path: content})


@pytest.mark.parametrize(
    "change",
    [
        install("var/lib/dpkg/status"),
        install("lib/apk/db/installed"),
        install("usr/lib/apk/db/installed"),
        install("var/lib/pacman/local/a-1-1/"),
        install("var/db/pkg/app-misc/a-1/"),
        install("var/db/pkg/sys-apps/a-1/"),
        install("var/lib/rpm/Packages"),
        install("usr/lib/sysimage/rpm/Packages.db"),
        lambda root: write_rpm(root / "var/lib/rpm/rpmdb.sqlite", "bash"),
    ],
)
def test_the_fingerprint_follows_each_database(tmp_path: Path, change: Callable[[Path], object]) -> None:
    root = write_tree(tmp_path, {"var/db/pkg/sys-apps/sed-4.9/": "", "var/lib/pacman/local/": ""})
    os.utime(root / "var/db/pkg/sys-apps", ns=(1, 1))  # else the change may fall into the same tick of the clock
    os.utime(root / "var/db/pkg", ns=(1, 1))
    os.utime(root / "var/lib/pacman/local", ns=(1, 1))
    before = fingerprint(root)
    assert fingerprint(root) == before
    change(root)
    assert fingerprint(root) != before


@given(st.binary())
def test_no_line_raises(line: bytes) -> None:
    is_dpkg_installed(b"Status:" + line)
    is_apk_package(line)


@given(st.binary(min_size=1, max_size=64))
def test_no_database_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    names = ("var/lib/dpkg/status", "var/lib/rpm/rpmdb.sqlite", "lib/apk/db/installed", "var/db/pkg", "var/lib/pacman")
    root = write_tree(tmp_path_factory.mktemp("host"), {**dict.fromkeys(names, content)})
    (root / "var/lib/dpkg/status").unlink()
    fingerprint(root)
    assert read(root) == Packages(manager="rpm")


@given(st.binary(max_size=64))
def test_a_broken_header_of_sqlite_is_no_count(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = "var/lib/rpm/rpmdb.sqlite"
    root = write_tree(tmp_path_factory.mktemp("host"), {path: b"SQLite format 3\0" + content})
    assert read(root) == Packages(manager="rpm")

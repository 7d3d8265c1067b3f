import platform
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.system import (
    Distribution,
    go_arch,
    go_os,
    parse_os_release,
    read_arch,
    read_distribution,
    read_hostname,
    read_kernel_version,
)
from tests.unit.facts.trees import plain_host, write_tree


@pytest.mark.parametrize(
    ("machine", "bits", "order", "arch"),
    [
        ("x86_64", 64, "little", "amd64"),
        ("x86_64", 32, "little", "386"),  # 32-bit user land under a 64-bit kernel
        ("i686", 32, "little", "386"),
        ("aarch64", 64, "little", "arm64"),
        ("aarch64", 32, "little", "arm"),
        ("armv6l", 32, "little", "arm"),
        ("armv7l", 32, "little", "arm"),
        ("riscv64", 64, "little", "riscv64"),
        ("ppc64le", 64, "little", "ppc64le"),
        ("ppc64", 64, "big", "ppc64"),
        ("s390x", 64, "big", "s390x"),
        ("loongarch64", 64, "little", "loong64"),
        ("mips", 32, "little", "mipsle"),
        ("mips64", 64, "big", "mips64"),
        ("AMD64", 64, "little", "amd64"),
        ("something-new", 64, "little", "something-new"),
        ("", 64, "little", ""),
    ],
)
def test_arch_has_gos_name(machine: str, bits: int, order: str, arch: str) -> None:
    assert go_arch(machine, bits, order) == arch


@pytest.mark.parametrize(
    ("platform_name", "name"),
    [("linux", "linux"), ("darwin", "darwin"), ("freebsd14", "freebsd"), ("win32", "windows")],
)
def test_os_has_gos_name(platform_name: str, name: str) -> None:
    assert go_os(platform_name) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"\n', Distribution("debian", "12")),
        ("NAME='x'\nID='alpine'\nVERSION_ID=3.20.1\n", Distribution("alpine", "3.20.1")),
        ("ID=arch\nID_LIKE=other\n", Distribution("arch", "")),
        ('ID="\nVERSION_ID=""\n', Distribution('"', "")),
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME=x\n', Distribution(name="Debian GNU/Linux 12 (bookworm)")),
        ("", Distribution()),
    ],
)
def test_os_release_values_lose_their_quotes(text: str, expected: Distribution) -> None:
    assert parse_os_release(text) == expected


def test_the_vendors_os_release_stands_in(tmp_path: Path) -> None:
    write_tree(tmp_path, {"usr/lib/os-release": "ID=nixos\n"})
    assert read_distribution(tmp_path) == Distribution("nixos", "")


def test_names_of_a_recorded_tree_are_its_own(tmp_path: Path) -> None:
    root = plain_host(tmp_path)
    assert (read_hostname(root), read_kernel_version(root), read_arch(root)) == ("node-1", "6.1.0-18-amd64", "amd64")


def test_an_empty_tree_does_not_borrow_this_machines_names(tmp_path: Path) -> None:
    assert (read_hostname(tmp_path), read_kernel_version(tmp_path), read_arch(tmp_path)) == ("", "", "")


def test_names_of_this_machine_agree_with_uname() -> None:
    root = Path("/")
    assert read_hostname(root) == socket.gethostname()
    assert read_kernel_version(root) == platform.release()
    assert read_arch(root) == go_arch(platform.machine(), 64 if sys.maxsize > 2**32 else 32, sys.byteorder)


@given(st.binary().map(lambda raw: raw.decode("utf-8", "replace")))
def test_no_text_raises(text: str) -> None:
    parse_os_release("ID=" + text)
    go_arch(text, 64, "little")

"""Names: host, distribution, kernel and architecture (protocol reference 4.1)."""

import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lattice_agent.facts.lexical import clean_text
from lattice_agent.facts.rooted import is_live, read_text

NAME_LIMIT: Final = 96
_SHORT: Final = 4096  # bytes; none of these files is longer

_DISTRIBUTION_KEYS: Final = ("ID", "VERSION_ID", "PRETTY_NAME")
_GO_ARCH: Final = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "aarch64": "arm64",
    "arm64": "arm64",
    "ppc64le": "ppc64le",
    "ppc64": "ppc64",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
    "mips": "mips",
    "mips64": "mips64",
}
_OF_32_BIT: Final = {"amd64": "386", "arm64": "arm"}
_GO_OS: Final = {"win32": "windows", "sunos5": "solaris", "cygwin": "windows"}


@dataclass(frozen=True, slots=True)
class Distribution:
    """``ID``, ``VERSION_ID`` and ``PRETTY_NAME`` of os-release(5); rolling distributions have no version."""

    id: str = ""
    version: str = ""
    name: str = ""


def parse_os_release(text: str) -> Distribution:
    """The three fields out of ``os-release``, whose values may be quoted as in a shell."""
    pairs = (line.strip().partition("=") for line in text.splitlines())
    values = {key: clean_text(_unquoted(value), NAME_LIMIT) for key, _, value in pairs if key in _DISTRIBUTION_KEYS}
    return Distribution(*(values.get(key, "") for key in _DISTRIBUTION_KEYS))


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def read_distribution(root: Path) -> Distribution:
    """``/etc/os-release``, or the vendor's file that it links to."""
    return parse_os_release(read_text(root, "etc/os-release", _SHORT) or read_text(root, "usr/lib/os-release", _SHORT))


def read_hostname(root: Path) -> str:
    """The kernel's host name; the one of ``uname`` where there is no ``/proc``."""
    return clean_text(read_text(root, "proc/sys/kernel/hostname", _SHORT), NAME_LIMIT) or _uname(root).nodename


def read_kernel_version(root: Path) -> str:
    """``/proc/sys/kernel/osrelease``; the release of ``uname`` where there is no ``/proc``."""
    return clean_text(read_text(root, "proc/sys/kernel/osrelease", _SHORT), NAME_LIMIT) or _uname(root).release


def read_arch(root: Path) -> str:
    """The architecture in Go's spelling; of a recorded tree only if its kernel was 6.1 or newer and says it."""
    if is_live(root):
        return go_arch(_uname(root).machine, struct.calcsize("P") * 8, sys.byteorder)
    return go_arch(read_text(root, "proc/sys/kernel/arch", _SHORT).strip(), 64, "little")


def go_arch(machine: str, pointer_bits: int, byte_order: str) -> str:
    """Go's name of what ``uname -m`` calls ``machine``, for a program with pointers of that many bits.

    The server picks an agent's binary by it, and a 64-bit kernel under a 32-bit user land needs the 32-bit one.

    >>> go_arch("x86_64", 64, "little"), go_arch("armv7l", 32, "little"), go_arch("mips64", 64, "little")
    ('amd64', 'arm', 'mips64le')
    """
    name = clean_text(machine.lower(), NAME_LIMIT)
    arch = _GO_ARCH.get(name, "arm" if name.startswith("arm") else name)
    if pointer_bits == 32:
        arch = _OF_32_BIT.get(arch, arch)
    if arch in ("mips", "mips64") and byte_order == "little":
        arch += "le"
    return arch


def go_os(platform: str) -> str:
    """Go's name of the system that ``sys.platform`` names.

    >>> go_os("linux"), go_os("freebsd14"), go_os("darwin")
    ('linux', 'freebsd', 'darwin')
    """
    return _GO_OS.get(platform, platform.rstrip("0123456789"))


@dataclass(frozen=True, slots=True)
class _Uname:
    nodename: str = ""
    release: str = ""
    machine: str = ""


def _uname(root: Path) -> _Uname:
    if not is_live(root):
        return _Uname()
    answer = os.uname()
    return _Uname(*(clean_text(text, NAME_LIMIT) for text in (answer.nodename, answer.release, answer.machine)))

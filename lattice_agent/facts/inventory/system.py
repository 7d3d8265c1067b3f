"""The operating system: distribution, kernel, boot, and a name of the installation that does not give it away."""

import hmac
import os
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from lattice_agent.facts.lexical import clean_text
from lattice_agent.facts.rooted import located, read_text, required_text
from lattice_agent.facts.stamp import file_stamp
from lattice_agent.facts.system import read_arch, read_distribution, read_kernel_version
from lattice_agent.wire.host_inventory import TEXT_BYTES, System

_SHORT: Final = 4096  # bytes; each of these files is one line
_KERNEL: Final = "proc/sys/kernel/osrelease"
_BOOT_ID: Final = "proc/sys/kernel/random/boot_id"
_MACHINE_IDS: Final = ("etc/machine-id", "var/lib/dbus/machine-id")  # the second from before systemd, or without it
_STAMPED: Final = ("etc/os-release", "usr/lib/os-release", *_MACHINE_IDS)

_MACHINE_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
_NO_MACHINE: Final = "0" * 32  # machine-id(5) rules it out
_PURPOSE: Final = b"lattice-agent host inventory v1"


def fingerprint(root: Path) -> Hashable:
    """The boot, the kernel (a container may move to another without a boot of its own), and stamps of the files."""
    stamps = tuple(file_stamp(root, path) for path in _STAMPED)
    return read_text(root, _BOOT_ID, _SHORT), read_kernel_version(root), stamps, read_systemd(root)


def read(root: Path) -> System:
    """FactsError when neither the kernel nor the distribution says its name."""
    distribution, kernel = read_distribution(root), read_kernel_version(root)
    if not (distribution.id or distribution.name or kernel):
        required_text(root, _KERNEL)
    return System(
        name=distribution.name,
        id=distribution.id,
        version=distribution.version,
        kernel=kernel,
        arch=read_arch(root),
        boot_id=clean_text(read_text(root, _BOOT_ID, _SHORT), TEXT_BYTES),
        machine_id_hash=read_machine_id_hash(root),
        systemd=read_systemd(root),
    )


def read_machine_id_hash(root: Path) -> str:
    """The hash of the first file that has a machine id, or ""."""
    hashes = (machine_id_hash(read_text(root, path, _SHORT)) for path in _MACHINE_IDS)
    return next((found for found in hashes if found), "")


def machine_id_hash(text: str) -> str:
    """64 hex digits made from a machine id, or "" when the text is none (``uninitialized``, until the first boot).

    machine-id(5) asks for it: the id itself is a secret of the host, so what leaves is keyed by it and by our purpose,
    and can neither be turned back nor be compared with what other programs derive.
    """
    machine_id = text.strip()
    if not _MACHINE_ID.fullmatch(machine_id) or machine_id == _NO_MACHINE:
        return ""
    return hmac.digest(bytes.fromhex(machine_id), _PURPOSE, "sha256").hex()


def read_systemd(root: Path) -> bool:
    """Whether systemd is the init, by the rule of sd_booted(3)."""
    try:
        return os.path.isdir(located(root, "run/systemd/system"))
    except OSError:
        return False

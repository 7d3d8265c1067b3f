"""Subordinate ids for an ordinary user of a test: files in the place of the host's, in a mount namespace of its own."""

import os
import tempfile
from pathlib import Path

from lattice_agent.exec import id_mapping
from lattice_agent.exec.cells import SUBORDINATE_IDS
from lattice_agent.exec.kernel import mounts, namespaces

USER = 64_321
"""Nobody's on this host until a test gives it a name."""
GIVEN = range(2_000_000, 2_065_536)
LINE = f"lattice-test:{GIVEN.start}:{len(GIVEN)}\n".encode()
TOO_FEW = f"lattice-test:{GIVEN.start}:{SUBORDINATE_IDS - 1}\n".encode()


def give_here(line: bytes = LINE, uid: int = USER) -> None:
    """A login name for the uid, and what stands in /etc/subuid and /etc/subgid: for this process, which gets a mount
    namespace, and for what it starts."""
    passwd = f"lattice-test:x:{uid}:{uid}::/:/bin/sh\n".encode() + Path("/etc/passwd").read_bytes()
    namespaces.unshare(namespaces.NEWNS)
    mounts.make_private()
    for path, data in {"/etc/passwd": passwd, **dict.fromkeys(id_mapping.FILES, line)}.items():
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            os.chmod(file.name, 0o644)
            mounts.bind(file.name, path)

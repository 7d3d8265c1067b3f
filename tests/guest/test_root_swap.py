"""Swap is no way out of a memory limit. Needs root to have swap."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lattice_agent.exec.kernel import cgroup

from .test_cgroup_limits import ENOUGH, LIMIT, ONE_PROCESS, run


@pytest.fixture
def swap() -> Iterator[None]:
    """Enough swap."""
    with tempfile.NamedTemporaryFile(dir="/opt") as file:
        file.write(bytes(2 * ENOUGH))
        file.flush()
        subprocess.run(["mkswap", "--quiet", file.name], check=True)
        subprocess.run(["swapon", file.name], check=True)
        yield
        subprocess.run(["swapoff", file.name], check=True)


@pytest.mark.usefixtures("swap")
def test_a_cell_does_not_grow_into_swap(cell: cgroup.Group) -> None:
    cell.limit(memory_bytes=LIMIT)
    allowed = Path(cell.path, "memory.swap.max")
    assert allowed.read_text() == "0\n"
    allowed.write_text("max")
    assert run(cell, "sh", "-c", ONE_PROCESS)[0] == 0
    cell.limit(memory_bytes=LIMIT)
    assert run(cell, "sh", "-c", ONE_PROCESS)[0] == -signal.SIGKILL

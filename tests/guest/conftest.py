"""Collected in the guest only: these tests need a kernel with all cgroup v2 controllers to themselves."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lattice_agent.exec.kernel import cgroup
from tests.rigs.cgroups import members, own_group, temporary_group, wait_unpopulated

if "LATTICE_GUEST" not in os.environ:
    collect_ignore_glob = ["test_*.py"]
elif os.geteuid() != 0:
    collect_ignore_glob = ["test_root_*.py"]


class Taken:
    """The unit's group before and after it was taken into use."""

    def __init__(self) -> None:
        self.base = Path("/sys/fs/cgroup" + own_group())
        self.members_before = members(self.base)
        groups = cgroup.open_groups()
        assert groups is not None
        self.groups = groups


@pytest.fixture(scope="session")
def taken() -> Iterator[Taken]:
    """The unit's group, taken into use by this process."""
    taken = Taken()
    yield taken
    assert taken.groups.close()


@pytest.fixture
def cell(taken: Taken) -> Iterator[cgroup.Group]:
    """A group for one cell; removed at the end, with everything in it."""
    cell = taken.groups.create("cell")
    yield cell
    cell.kill()
    if Path(cell.path).exists():
        wait_unpopulated(Path(cell.path))
    assert cell.remove()


@pytest.fixture
def memory_only(taken: Taken) -> Iterator[Path]:
    """A group of its own, to which only the memory controller is passed on."""
    with temporary_group(taken.base) as above:
        (above / "cgroup.subtree_control").write_text("+memory")
        group = above / "delegated"
        group.mkdir()
        os.setxattr(group, "user.delegate", b"1")
        yield group

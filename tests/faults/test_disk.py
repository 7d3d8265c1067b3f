"""The disk of the state directory: full, without inodes, read-only."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.mounts import Mounts, fill, own_mounts, small_disk, use_up_inodes
from tests.faults.observed import Watch
from tests.faults.table import apart, note
from tests.rigs.extent import extent
from tests.rigs.real_processes import COMMAND, LIMIT_S, Site
from tests.rigs.steered_plane import SteeredPlane
from tests.rigs.troubled_wire import TroubledWire

pytestmark = pytest.mark.needs_root

EX_IOERR = 74
AS_ROOT = "-allow-root-exec=true"


@dataclass(frozen=True)
class Disk:
    """A file system of the test's own at ``place``, with the state directory of ``site`` on it."""

    mounts: Mounts
    place: Path
    site: Site

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--state-dir", str(self.place / "state"), AS_ROOT, "--slots", "2")

    @property
    def outside(self) -> Path:
        """The directory as the test reaches it."""
        return self.mounts.path(self.place)

    def start(self) -> "subprocess.CompletedProcess[str]":
        """A start that is expected to be useless, to its end."""
        command = [*self.mounts.enter, COMMAND, *self.site.command(*self.flags)]
        return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=LIMIT_S)


@contextmanager
def a_disk(plane: SteeredPlane, wire: TroubledWire, tmp_path: Path, *commands: str) -> Iterator[Disk]:
    place = tmp_path / "disk"
    with own_mounts(*(command.replace("DISK", str(place)) for command in commands)) as mounts:
        yield Disk(mounts, place, Site(tmp_path, wire.url, plane.add_node(), prefix=mounts.enter))


@pytest.mark.sized
def test_disk_full(plane: SteeredPlane, wire: TroubledWire, tmp_path: Path) -> None:
    with a_disk(plane, wire, tmp_path, small_disk(Path("DISK"))) as disk, disk.site.agent(*disk.flags) as agent:
        site = disk.site
        gate = site.gate("first")
        first = plane.create(site.node, site.script(f"{gate.wait}; echo done"))
        site.wait_starts(1)
        filler = fill(disk.outside)
        watch = Watch(agent, wire)
        later = [plane.create(site.node, site.script("echo later")) for _ in range(3)]
        gate.open()
        seen = watch.beats(extent(3, 12))
        seen.assert_calm(lines=3)
        assert seen.gap_s < LIMIT_S / 4
        assert any("database or disk is full" in line and "free space" in line for line in seen.said)
        assert [start.task_id for start in site.starts()] == [first]
        assert not plane.stored(site.node)
        filler.unlink()
        assert [plane.result(task)["stdout"] for task in (first, *later)] == ["done\n", *["later\n"] * 3]
        assert plane.stored(site.node) == dict.fromkeys((first, *later), 1)
        assert site.started_once_at_most()
        assert agent.stop() == 0
    note(
        "disk full",
        during=f"heartbeats go on; nothing new starts; a finished result is kept in memory ({seen})",
        after="goes on by itself; every result delivered once, every task started once",
    )


@pytest.mark.long
def test_an_end_while_the_disk_is_full(plane: SteeredPlane, wire: TroubledWire, tmp_path: Path) -> None:
    """What was in memory only is told as interrupted by the next start: neither lost in silence nor run again."""
    with a_disk(plane, wire, tmp_path, small_disk(Path("DISK"))) as disk:
        site = disk.site
        with site.agent(*disk.flags) as agent:
            gate = site.gate("only")
            task = plane.create(site.node, site.script(f"{gate.wait}; echo done"))
            site.wait_starts(1)
            filler = fill(disk.outside)
            gate.open()
            agent.wait_log("result kept in memory, not stored yet")
            assert agent.stop() == EX_IOERR
            assert f"the results of {task} could not be stored" in agent.log_text()
        filler.unlink()
        with site.agent(*disk.flags) as agent:
            assert plane.result(task)["outcome"] == "interrupted"
            assert agent.stop() == 0
        assert len(site.starts()) == 1


@pytest.mark.long
def test_inode_exhaustion(plane: SteeredPlane, wire: TroubledWire, tmp_path: Path) -> None:
    with a_disk(plane, wire, tmp_path, small_disk(Path("DISK"), inodes=100)) as disk:
        site = disk.site
        flags = (*disk.flags, "-task-work-root", str(disk.place / "work"))
        with site.agent(*flags) as agent:
            plane.result(plane.create(site.node, site.script("echo before")))
            fillers = use_up_inodes(disk.outside)
            watch = Watch(agent, wire)
            failed = plane.result(plane.create(site.node, site.script("echo during")))
            assert failed["outcome"] == "not_started"
            assert "No space left on device" in failed["error"]
            seen = watch.beats(5)
            seen.assert_calm(lines=1)
            for filler in fillers:
                filler.unlink()
            assert plane.result(plane.create(site.node, site.script("echo after")))["stdout"] == "after\n"
            assert len(site.starts()) == 2
            assert agent.stop() == 0
            _assert_no_start_without_inodes(disk)
    note(
        "inode exhaustion",
        during="the journal's files are there and work; a task that needs a work directory there is told as not started"
        f" (`No space left on device`; {seen}); a start ends with code 74",
        after="the next task runs, without a restart",
    )
    apart("inode exhaustion", "its files are made at the start and kept; without them, code 74 as for the agent")


def _assert_no_start_without_inodes(disk: Disk) -> None:
    """The journal's second file is made anew by every start."""
    use_up_inodes(disk.outside)
    ended = disk.start()
    assert ended.returncode == EX_IOERR
    assert "state.db" in ended.stderr
    assert "free space" in ended.stderr


EXT4 = (
    "truncate -s 16M DISK.img; mkfs.ext4 -q -O ^has_journal DISK.img; mkdir -p DISK",
    "mount -o loop,errors=remount-ro DISK.img DISK",
)
FAIL = 'echo 1 > /sys/fs/ext4/$(basename $(findmnt -n -o SOURCE "$1"))/trigger_fs_error'
"""What ext4 does at the first error that it finds: the file system is read-only at once, open files included."""
REPAIR = 'umount "$1"; e2fsck -fy "$1.img" > /dev/null; mount -o loop "$1.img" "$1"'


@pytest.mark.long
def test_the_disk_becomes_read_only(plane: SteeredPlane, wire: TroubledWire, tmp_path: Path) -> None:
    with a_disk(plane, wire, tmp_path, *EXT4) as disk:
        site = disk.site
        with site.agent(*disk.flags) as agent:
            gate = site.gate("only")
            done = plane.create(site.node, site.script("echo before"))
            plane.result(done)
            task = plane.create(site.node, site.script(f"{gate.wait}; echo done"))
            site.wait_starts(2)
            disk.mounts.run("sh", "-c", FAIL, "sh", disk.place)
            watch = Watch(agent, wire)
            later = plane.create(site.node, site.script("echo later"))
            gate.open()
            seen = watch.beats(12)
            seen.assert_calm(lines=4)
            assert len(site.starts()) == 2
            assert agent.stop() == EX_IOERR
        ended = disk.start()
        assert ended.returncode == EX_IOERR
        assert str(disk.place) in ended.stderr
        disk.mounts.run("sh", "-c", REPAIR, "sh", disk.place)
        plane.let_leases_die()  # the one of ``later`` came when nothing could be written; nothing has started
        with site.agent(*disk.flags) as agent:
            assert plane.result(task)["outcome"] == "interrupted"
            assert plane.result(later)["stdout"] == "later\n"
            assert agent.stop() == 0
        assert plane.stored(site.node) == dict.fromkeys((done, task, later), 1)
        assert site.started_once_at_most()
    note(
        "read-only state directory",
        during=f"as with a full disk ({seen}); a start ends with code 74 and names the file",
        after="a failed file system wants a repair, and the agent a start; what was in memory only: interrupted",
    )

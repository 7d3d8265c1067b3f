"""Work directories: how they are made, and that they go whatever a script did to them."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lattice_agent.exec import workdir
from lattice_agent.exec.workdir import WorkDirectory, WorkRootError, check_work_root, cleanup_leftovers
from tests.hostile.rig import REPOSITORY

NOBODY = 65534


def remove(directory: WorkDirectory) -> None:
    for _ in directory.remove():
        pass


def test_a_fresh_directory_is_private_and_holds_the_script_unchanged(tmp_path: Path) -> None:
    script = b"#!/bin/false\r\n\0\xff"
    tmp_path.chmod(0o700)
    directory = WorkDirectory.create(str(tmp_path), script)
    path = Path(directory.path)
    assert path.parent == tmp_path
    assert path.name.startswith("lattice-task-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert [entry.name for entry in path.iterdir()] == ["script"]
    assert stat.S_IMODE((path / "script").stat().st_mode) == 0o600
    assert Path(directory.script_path).read_bytes() == script
    remove(directory)
    assert list(tmp_path.iterdir()) == []


def test_without_a_root_it_is_in_the_systems_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    directory = WorkDirectory.create(None, b"")
    assert Path(directory.path).parent == tmp_path
    remove(directory)


# --- the work root (texts of protocol 3.3) ---


def test_an_absent_root_is_made_private(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    assert check_work_root(str(root)) == str(root)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_a_relative_root_is_refused() -> None:
    with pytest.raises(WorkRootError, match=r"^task work root must be absolute: tasks/here$"):
        check_work_root("tasks/here")


def test_a_root_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(WorkRootError) as caught:
        check_work_root(str(file))
    assert str(caught.value) == f"task work root {file} is not a directory"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o720, 0o702])
def test_a_root_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(WorkRootError) as caught:
        check_work_root(str(tmp_path))
    expected = f"task work root {tmp_path} must not be group/world writable (mode {mode & 0o777:03o})"
    assert str(caught.value) == expected


@pytest.mark.needs_root
def test_a_root_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    tmp_path.chmod(0o755)
    with pytest.raises(WorkRootError, match="belongs to uid 65534"):
        check_work_root(str(tmp_path))


# --- removal ---


def deep_tree(path: Path) -> None:
    """Deeper than Python's recursion limit, than PATH_MAX and than the number of descriptors."""
    back = os.getcwd()
    os.chdir(path)
    for _ in range(1050):
        os.mkdir("deep")
        os.chdir("deep")
    os.chdir(back)


def locked_tree(path: Path) -> None:
    inner = path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    for directory in (inner, inner.parent, inner.parent.parent, path):
        directory.chmod(0)


def many_files(path: Path) -> None:
    for number in range(400):
        (path / f"file{number}").touch()


def every_byte(path: Path) -> None:
    for byte in range(1, 256):
        if byte != ord("/"):
            os.mkdir(os.fsencode(path) + b"/x" + bytes([byte]))


def special_files(path: Path) -> None:
    os.mkfifo(path / "fifo")
    (path / "dangling").symlink_to("/nowhere")
    (path / "loop").symlink_to("loop")


@pytest.fixture
def shared_path() -> Iterator[Path]:
    """A directory that other uids reach: pytest's own temporary directories are closed to them."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.mark.parametrize("spoil", [deep_tree, locked_tree, many_files, every_byte, special_files])
@pytest.mark.parametrize("uid", [0, NOBODY])
def test_what_a_script_made_goes_away(shared_path: Path, spoil: Callable[[Path], None], uid: int) -> None:
    if os.geteuid() != 0:
        uid = os.geteuid()
    root = shared_path / "root"
    root.mkdir(mode=0o700)
    os.chown(root, uid, uid)
    as_uid(uid, lambda: make_spoil_remove(root, spoil))
    assert list(root.iterdir()) == []


def make_spoil_remove(root: Path, spoil: Callable[[Path], None]) -> None:
    directory = WorkDirectory.create(str(root), b"")
    spoil(Path(directory.path))
    remove(directory)


def as_uid(uid: int, work: Callable[[], None]) -> None:
    """Do the work in a fork with that uid."""
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            os.chdir("/")
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o750)
    (precious / "file").touch()
    root = tmp_path / "root"
    directory = WorkDirectory.create(str(root), b"")
    (Path(directory.path) / "link").symlink_to(precious)
    nested = Path(directory.path) / "a" / "b"
    nested.mkdir(parents=True)
    (nested / "link").symlink_to(precious)
    remove(directory)
    assert list(root.iterdir()) == []
    assert (precious / "file").exists()
    assert stat.S_IMODE(precious.stat().st_mode) == 0o750


def test_a_directory_that_was_exchanged_for_a_link_leaves_the_target_alone(tmp_path: Path) -> None:
    directory = WorkDirectory.create(str(tmp_path / "root"), b"x")
    moved = tmp_path / "root" / "moved"
    os.rename(directory.path, moved)
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").touch()
    os.symlink(target, directory.path)
    remove(directory)
    assert (target / "file").exists()
    assert list(moved.iterdir()) == []


def test_removal_takes_few_descriptors_and_little_memory(tmp_path: Path) -> None:
    directory = WorkDirectory.create(str(tmp_path / "root"), b"")
    deep_tree(Path(directory.path))
    before = len(os.listdir("/proc/self/fd"))
    most = 0
    tracemalloc.start()
    for _ in directory.remove():
        most = max(most, len(os.listdir("/proc/self/fd")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most <= before + 6
    assert peak < 1 << 20


def test_removal_gives_others_a_turn_within_a_bounded_number_of_entries(tmp_path: Path) -> None:
    directory = WorkDirectory.create(str(tmp_path / "root"), b"")
    many_files(Path(directory.path))
    removal = directory.remove()
    next(removal)
    assert len(os.listdir(directory.path)) >= 400 - 128
    for _ in removal:
        pass
    assert not os.path.exists(directory.path)


@pytest.mark.needs_root
def test_what_cannot_be_removed_ends_the_removal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = WorkDirectory.create(str(tmp_path / "root"), b"")
    if subprocess.run(["chattr", "+i", directory.script_path], stderr=subprocess.DEVNULL, check=False).returncode:
        subprocess.run(["mount", "--bind", directory.path, directory.path], check=True)
        undo = ["umount", directory.path]
    else:
        undo = ["chattr", "-i", directory.script_path]
    try:
        remove(directory)
    finally:
        subprocess.run(undo, check=True)
    assert f"{directory.path} is left" in caplog.text
    shutil.rmtree(directory.path)


# --- leftovers of dead agents ---


def leftover(root: Path) -> Path:
    """A directory whose owner is dead: its lock goes with the process."""
    code = f"""if True:
        import os, sys
        from lattice_agent.exec.workdir import WorkDirectory
        directory = WorkDirectory.create({str(root)!r}, b"secret")
        os.chmod(directory.path, 0)
        print(directory.path, flush=True)
        os._exit(9)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return Path(done.stdout.strip())


def test_weak_point_09_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    root = tmp_path / "root"
    dead = leftover(root)
    living = WorkDirectory.create(str(root), b"")
    go_agents = root / "lattice-task-1234567890"
    go_agents.mkdir()
    stranger = root / "lattice-task-x0"
    stranger.mkdir()
    assert dead.exists()
    assert cleanup_leftovers(str(root)) == 1
    assert not dead.exists()
    assert os.path.exists(living.script_path)
    assert go_agents.exists()
    assert stranger.exists()
    remove(living)


@pytest.mark.needs_root
def test_leftovers_of_another_uid_and_links_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / f"lattice-task-x{'0' * 24}"
    foreign.mkdir()
    os.chown(foreign, NOBODY, NOBODY)
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").touch()
    (tmp_path / f"lattice-task-x{'1' * 24}").symlink_to(target)
    assert cleanup_leftovers(str(tmp_path)) == 0
    assert foreign.exists()
    assert (target / "file").exists()


def test_cleanup_stops_at_its_bound_and_goes_on_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    dead = leftover(root)
    dead.chmod(0o700)
    many_files(dead)
    with monkeypatch.context() as patch:
        patch.setattr(workdir, "CLEANUP_S", -1.0)
        assert cleanup_leftovers(str(root)) == 0
    assert dead.exists()
    assert cleanup_leftovers(str(root)) == 1


def test_cleanup_of_an_absent_root_is_nothing(tmp_path: Path) -> None:
    assert cleanup_leftovers(str(tmp_path / "absent")) == 0

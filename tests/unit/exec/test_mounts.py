"""Mounts in a mount namespace of one's own, each story in a process apart: nothing of it is ever seen outside."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lattice_agent.exec.kernel import libc, mounts, namespaces
from tests.rigs.cells import apart

pytestmark = pytest.mark.needs_root


def alone(story: Callable[[], object]) -> list[str]:
    """What the story returns when it is told with mounts of its own."""

    def told() -> str:
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        return json.dumps(story())

    found: list[str] = json.loads(apart(told))
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with some things in it."""
    (tmp_path / "target").mkdir()
    (tmp_path / "source" / "below").mkdir(parents=True)
    (tmp_path / "source" / "file").write_text("text")
    (tmp_path / "source" / "below" / "deep").write_text("deep")
    return tmp_path


@contextmanager
def noting(errors: list[str]) -> Iterator[None]:
    """Note how it ends."""
    try:
        yield
    except OSError as error:
        errors.append(errno.errorcode[error.errno or 0])
    else:
        errors.append("done")


def options(path: Path) -> set[str]:
    """The options of the mount at a path, as the kernel lists them."""
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return set([fields[5] for fields in lines if fields[4] == os.fspath(path)][-1].split(","))


def test_a_fresh_file_system_has_the_size_that_was_asked_for(place: Path) -> None:
    def story() -> list[str]:
        mounts.mount("tmpfs", f"{place}/target", mounts.NOSUID | mounts.NODEV, "size=65536,nr_inodes=4")
        seen: list[str] = [*sorted(options(place / "target") & {"nosuid", "nodev", "ro"})]
        with noting(seen):
            (place / "target" / "big").write_bytes(b"x" * 100_000)
        for name in "ab":
            with noting(seen):
                (place / "target" / name).touch()
        with noting(seen):
            (place / "target" / "c").touch()
        return seen

    assert alone(story) == ["nodev", "nosuid", "ENOSPC", "done", "done", "ENOSPC"]
    assert os.listdir(place / "target") == []


def test_a_kind_that_cannot_be_mounted_is_named(place: Path) -> None:
    def story() -> list[str]:
        try:
            mounts.mount("nothing-like-it", f"{place}/target", 0)
        except OSError as error:
            return [errno.errorcode[error.errno or 0], str(error.filename)]
        return []

    assert alone(story) == ["ENODEV", "nothing-like-it"]


def test_a_directory_or_a_file_appears_at_another_place(place: Path) -> None:
    def story() -> list[str]:
        (place / "file-target").touch()
        mounts.bind(f"{place}/source", f"{place}/target")
        mounts.bind(f"{place}/source/file", f"{place}/file-target")
        (place / "target" / "new").write_text("new")
        return [(place / "target" / "file").read_text(), (place / "file-target").read_text()]

    assert alone(story) == ["text", "text"]
    assert (place / "source" / "new").read_text() == "new"
    assert os.listdir(place / "target") == []


@pytest.mark.parametrize(("recursive", "seen"), [(False, ["deep"]), (True, ["inner"])])
def test_what_is_mounted_below_comes_along_on_demand(place: Path, recursive: bool, seen: list[str]) -> None:
    def story() -> list[str]:
        mounts.mount("tmpfs", f"{place}/source/below", 0)
        (place / "source" / "below" / "inner").touch()
        mounts.bind(f"{place}/source", f"{place}/target", recursive=recursive)
        return os.listdir(place / "target" / "below")

    assert alone(story) == seen


def test_a_mount_that_hangs_nowhere_can_be_put_into_another_namespace(place: Path) -> None:
    def story() -> list[str]:
        mounts.mount("tmpfs", f"{place}/source/below", 0)
        (place / "source" / "below" / "inner").touch()
        fd = mounts.detach(f"{place}/source/below")
        seen = [str(os.get_inheritable(fd))]
        namespaces.unshare(namespaces.NEWNS)
        mounts.attach(fd, f"{place}/target")
        os.close(fd)
        return [*seen, *os.listdir(place / "target")]

    assert alone(story) == ["False", "inner"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"ro", "nosuid", "nodev"}),
        ({"read_only": False}, {"rw", "nosuid", "nodev"}),
        ({"devices": True}, {"ro", "nosuid"}),
    ],
)
def test_a_restricted_mount_and_those_below_it(place: Path, changes: dict[str, bool], expected: set[str]) -> None:
    def story() -> list[list[str]]:
        mounts.bind(f"{place}/source", f"{place}/target")
        mounts.mount("tmpfs", f"{place}/target/below", 0)
        mounts.restrict(f"{place}/target", **changes)
        known = {"ro", "rw", "nosuid", "nodev"}
        return [sorted(options(path) & known) for path in (place / "target", place / "target" / "below")]

    assert alone(story) == [sorted(expected)] * 2


def test_a_restricted_mount_cannot_be_written_to_and_others_can(place: Path) -> None:
    def story() -> list[str]:
        mounts.bind(f"{place}/source", f"{place}/target")
        mounts.restrict(f"{place}/target")
        seen: list[str] = []
        with noting(seen):
            (place / "target" / "new").touch()
        with noting(seen):
            (place / "source" / "new").touch()
        return seen

    assert alone(story) == ["EROFS", "done"]


def test_devices_do_not_open_where_they_are_not_the_point(place: Path) -> None:
    def story() -> list[str]:
        seen: list[str] = []
        for devices in (False, True):
            mounts.mount("tmpfs", f"{place}/target", 0)
            os.mknod(f"{place}/target/null", 0o20666, os.makedev(1, 3))
            mounts.restrict(f"{place}/target", devices=devices)
            with noting(seen):
                os.close(os.open(f"{place}/target/null", os.O_RDONLY))
        return seen

    assert alone(story) == ["EACCES", "done"]


def test_a_sealed_mount_leaves_those_below_it_writable(place: Path) -> None:
    def story() -> list[str]:
        mounts.bind(f"{place}/source", f"{place}/target")
        mounts.mount("tmpfs", f"{place}/target/below", 0)
        mounts.seal(f"{place}/target")
        seen: list[str] = []
        for name in ("new", "below/new"):
            with noting(seen):
                (place / "target" / name).touch()
        return seen

    assert alone(story) == ["EROFS", "done"]


def test_after_a_pivot_the_old_root_is_gone(place: Path) -> None:
    def story() -> list[list[str]]:
        mounts.bind(f"{place}/source", f"{place}/source")
        mounts.pivot(f"{place}/source")
        return [sorted(os.listdir("/")), [os.getcwd()], sorted(os.listdir("/.."))]

    assert alone(story) == [["below", "file"], ["/"], ["below", "file"]]


def test_a_root_that_is_no_mount_is_refused(place: Path) -> None:
    def story() -> list[str]:
        seen: list[str] = []
        with noting(seen):
            mounts.pivot(f"{place}/source")
        return seen

    assert alone(story) in (["EINVAL"], ["EBUSY"])


@pytest.mark.parametrize(("cut", "seen"), [(True, []), (False, ["inside"])])
def test_only_after_the_cut_nothing_propagates(place: Path, cut: bool, seen: list[str]) -> None:
    (place / "target" / "below").mkdir()

    def story() -> str:
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        mounts.bind(f"{place}/target", f"{place}/target")
        make_shared(f"{place}/target")
        told, tell = os.pipe()
        inner = os.fork()
        if inner == 0:
            namespaces.unshare(namespaces.NEWNS)
            if cut:
                mounts.make_private()
            mounts.mount("tmpfs", f"{place}/target/below", 0)
            (place / "target" / "below" / "inside").touch()
            os.write(tell, b".")
            os._exit(0)
        os.waitpid(inner, 0)
        assert os.read(told, 1) == b"."
        return json.dumps(os.listdir(place / "target" / "below"))

    assert json.loads(apart(story)) == seen


def make_shared(path: str) -> None:
    """Make a mount share what happens below it: the default of most hosts."""
    libc.call("mount", None, os.fsencode(path), None, 1 << 20, None)  # MS_SHARED

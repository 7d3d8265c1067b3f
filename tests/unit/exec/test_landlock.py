"""Landlock on real files and sockets. Every act is seen to pass where its one right is not taken away."""

import errno
import fcntl
import functools
import os
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lattice_agent.exec.kernel import landlock, libc, mounts, namespaces, privileges

OUTER_LIMIT_S = 10
RNDGETENTCNT = 0x8004_5200
"""An ioctl of /dev/urandom that anybody may make."""
ANY_DEVICE = os.makedev(1, 3)
EVERYWHERE = "/"

Act = Callable[[], object]
Confine = Callable[[], object]


def inside(confine: Confine, act: Act) -> str:
    """What became of an act in a fork that confined itself before: ``ok`` or the name of the errno."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(OUTER_LIMIT_S)
            os.write(theirs, _outcome(confine, act).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours) as end:
        said = end.read()
    os.waitpid(pid, 0)
    return said or "died"


def _outcome(confine: Confine, act: Act) -> str:
    privileges.no_new_privileges()
    try:
        confine()
    except OSError as error:
        return f"not confined: {error}"
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except Exception as error:
        return repr(error)
    return "ok"


def unconfined() -> None:
    """No domain at all."""


def domain(files: int = landlock.ALL_FILES, *allowed: tuple[str | Path, int], **options: bool) -> Confine:
    """Enters a domain that handles ``files`` and allows rights on paths."""

    def confine() -> None:
        rules = landlock.Ruleset(files, **options)
        for path, rights in allowed:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rules.allow(fd, rights)
            os.close(fd)
        rules.restrict()

    return confine


@pytest.fixture
def places() -> Iterator[Callable[[], Path]]:
    """Makes directories to act in, each new: what an act did to one is not in the way of the next."""
    made: list[Path] = []

    def make() -> Path:
        place = Path(tempfile.mkdtemp())
        made.append(place)
        for name in ("directory", "other"):
            place.joinpath(name).mkdir()
        for name in ("file", "directory/file"):
            place.joinpath(name).write_text("text")
        shutil.copy("/bin/true", place / "program")
        return place

    yield make
    for place in made:
        shutil.rmtree(place)


@pytest.fixture
def place(places: Callable[[], Path]) -> Path:
    return places()


# --- each right ---


def _open(path: Path | str, flags: int) -> None:
    os.close(os.open(path, flags))


def _execute(path: Path | int) -> None:
    """Run a program, by path or by descriptor (execveat with an empty path); its failure to start is raised."""
    pid = os.fork()
    if pid == 0:
        try:
            os.execve(path, ["program"], {})
        except OSError as error:
            os._exit(error.errno or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))


def _bind_path(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def _device_ioctl(_place: Path) -> None:
    with open("/dev/urandom", "rb", buffering=0) as device:
        fcntl.ioctl(device, RNDGETENTCNT, bytes(4))


ACTS: dict[str, tuple[int, Callable[[Path], object]]] = {
    "execute": (landlock.EXECUTE, lambda place: _execute(place / "program")),
    "write-file": (landlock.WRITE_FILE, lambda place: _open(place / "file", os.O_WRONLY)),
    "read-file": (landlock.READ_FILE, lambda place: _open(place / "file", os.O_RDONLY)),
    "read-dir": (landlock.READ_DIR, lambda place: os.listdir(place)),
    "remove-dir": (landlock.REMOVE_DIR, lambda place: os.rmdir(place / "other")),
    "remove-file": (landlock.REMOVE_FILE, lambda place: os.unlink(place / "file")),
    "make-char": (landlock.MAKE_CHAR, lambda place: os.mknod(place / "new", stat.S_IFCHR | 0o600, ANY_DEVICE)),
    "make-block": (landlock.MAKE_BLOCK, lambda place: os.mknod(place / "new", stat.S_IFBLK | 0o600, ANY_DEVICE)),
    "make-dir": (landlock.MAKE_DIR, lambda place: os.mkdir(place / "new")),
    "make-file": (landlock.MAKE_REG, lambda place: os.mknod(place / "new", stat.S_IFREG | 0o600)),
    "make-socket": (landlock.MAKE_SOCK, lambda place: _bind_path(place / "new")),
    "make-fifo": (landlock.MAKE_FIFO, lambda place: os.mkfifo(place / "new")),
    "make-symlink": (landlock.MAKE_SYM, lambda place: os.symlink("file", place / "new")),
    "refer": (landlock.REFER, lambda place: os.rename(place / "directory/file", place / "other/file")),
    "truncate": (landlock.TRUNCATE, lambda place: os.truncate(place / "file", 0)),
    "ioctl": (landlock.IOCTL_DEV, _device_ioctl),
}
REFUSED = {"refer": "EXDEV"}
"""Everything else is refused with EACCES."""
ALSO_NEEDED = {"execute": ("/usr",), "ioctl": ("/dev/urandom",)}
"""What the act touches beyond its own directory: the dynamic loader is run as well."""
DEVICE_NODES = ("make-char", "make-block")


def test_every_right_has_an_act() -> None:
    rights = 0
    for right, _ in ACTS.values():
        rights |= right
    assert rights == landlock.ALL_FILES


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.needs_root if name in DEVICE_NODES else ()) for name in ACTS]
)
class TestOneRight:
    def test_passes_without_a_domain(self, name: str, place: Path) -> None:
        assert inside(unconfined, lambda: ACTS[name][1](place)) == "ok"

    def test_is_refused_where_it_is_handled(self, name: str, place: Path) -> None:
        right, act = ACTS[name]
        assert inside(domain(right), lambda: act(place)) == REFUSED.get(name, "EACCES")

    def test_passes_where_it_is_allowed(self, name: str, place: Path) -> None:
        right, act = ACTS[name]
        allowed = [(path, right) for path in (place, *ALSO_NEEDED.get(name, ()))]
        assert inside(domain(right, *allowed), lambda: act(place)) == "ok"

    def test_is_what_is_missing_where_all_others_are_allowed(self, name: str, place: Path) -> None:
        right, act = ACTS[name]
        rest = landlock.ALL_FILES & ~right
        assert inside(domain(landlock.ALL_FILES, (EVERYWHERE, rest)), lambda: act(place)) == REFUSED.get(name, "EACCES")

    def test_passes_when_it_is_taken_out_of_the_domain(self, name: str, place: Path) -> None:
        right, act = ACTS[name]
        rest = landlock.ALL_FILES & ~right
        expected = REFUSED.get(name, "ok")  # REFER is refused also by a domain that does not mention it
        assert inside(domain(rest, (EVERYWHERE, rest)), lambda: act(place)) == expected


# --- groups and kinds of files ---


@pytest.mark.parametrize("name", [name for name in ACTS if name not in (*DEVICE_NODES, "execute", "ioctl")])
def test_a_work_directory_can_do_all_but_run_programs_and_make_devices(name: str, place: Path) -> None:
    act = ACTS[name][1]
    writable = domain(landlock.ALL_FILES, (place, landlock.READ_ONLY | landlock.WRITE))
    assert inside(writable, lambda: act(place)) == "ok"


@pytest.mark.needs_root
@pytest.mark.parametrize("name", DEVICE_NODES)
def test_a_work_directory_cannot_make_devices(name: str, place: Path) -> None:
    everything = landlock.READ_EXECUTE | landlock.WRITE
    assert inside(domain(landlock.ALL_FILES, (place, everything)), lambda: ACTS[name][1](place)) == "EACCES"


def test_what_may_be_read_may_not_be_run(place: Path) -> None:
    for rights, expected in ((landlock.READ_ONLY, "EACCES"), (landlock.READ_EXECUTE, "ok")):
        confine = domain(landlock.ALL_FILES, ("/usr", landlock.READ_EXECUTE), (place, rights))
        assert inside(confine, lambda: _execute(place / "program")) == expected


def test_a_rule_on_a_file_opens_that_file_only(place: Path) -> None:
    confine = domain(landlock.ALL_FILES, (place / "file", landlock.READ_EXECUTE | landlock.WRITE))
    assert inside(confine, lambda: _open(place / "file", os.O_RDWR | os.O_TRUNC)) == "ok"
    assert inside(confine, lambda: _open(place / "program", os.O_RDONLY)) == "EACCES"


def test_rights_of_directories_on_a_file_would_be_refused_by_the_kernel(place: Path) -> None:
    rules = landlock.Ruleset()
    fd = os.open(place / "file", os.O_PATH)
    with pytest.raises(OSError, match="Invalid argument"):
        libc.call("landlock_add_rule", rules.fd, *landlock.path_beneath(fd, landlock.READ_DIR))
    rules.allow(fd, landlock.READ_DIR)  # nothing of it is left, so no rule
    os.close(fd)
    rules.close()


def test_a_descriptor_without_a_rule_does_not_run_and_with_one_it_does(place: Path) -> None:
    program = os.open(place / "program", os.O_PATH)
    system = ("/usr", landlock.READ_EXECUTE)
    named = f"/proc/self/fd/{program}"
    assert inside(unconfined, lambda: _execute(program)) == "ok"
    assert inside(domain(landlock.ALL_FILES, system), lambda: _execute(program)) == "EACCES"
    with_rule = domain(landlock.ALL_FILES, system, (named, landlock.READ_EXECUTE))
    assert inside(with_rule, lambda: _execute(program)) == "ok"
    os.close(program)


def test_a_device_with_a_rule_for_reading_cannot_be_written() -> None:
    for rights, expected in ((landlock.READ_FILE, "EACCES"), (landlock.READ_FILE | landlock.WRITE_FILE, "ok")):
        confine = domain(landlock.ALL_FILES, ("/dev/zero", rights))
        assert inside(confine, lambda: _open("/dev/zero", os.O_RDONLY)) == "ok"
        assert inside(confine, lambda: _open("/dev/zero", os.O_RDWR)) == expected


def test_a_redirection_to_the_null_device_needs_no_more_than_writing() -> None:
    confine = domain(landlock.ALL_FILES, ("/dev/null", landlock.WRITE_FILE))
    assert inside(confine, lambda: _open("/dev/null", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)) == "ok"


def test_pipes_are_reopened_by_name_without_any_rule() -> None:
    def reopen() -> None:
        end, start = os.pipe()
        os.dup2(start, 1)
        fd = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)  # as a shell opens /dev/stdout
        os.write(fd, b"through")
        assert os.read(end, 7) == b"through"

    assert inside(domain(), reopen) == "ok"


# --- TCP ---


def _listener() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


def _connect(address: tuple[str, int]) -> None:
    with socket.socket() as sock:
        sock.connect(address)


def _bind() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))


def test_tcp_is_refused_where_it_is_denied_and_only_there() -> None:
    with _listener() as listener:
        address = listener.getsockname()
        for deny, expected in ((True, "EACCES"), (False, "ok")):
            confine = domain(landlock.EXECUTE, deny_tcp=deny)
            assert inside(confine, lambda: _connect(address)) == expected
            assert inside(confine, _bind) == expected


# --- rules and mounts ---


COVERS = ("seen/other", "covered")
"""Where a file system of its own is mounted, below a directory with a rule and over one."""


def _read_in_a_root_of_its_own(rules: landlock.Ruleset, stage: Path, sources: dict[str, Path], path: str) -> None:
    """Enter the rules in another mount namespace, whose root is a tmpfs with the sources bound by name; read there."""
    namespaces.unshare(namespaces.NEWNS)
    mounts.make_private()
    mounts.mount("tmpfs", str(stage), 0, "size=64k,nr_inodes=64")
    for name, source in sources.items():
        stage.joinpath(name).mkdir()
        mounts.bind(str(source), str(stage / name))
    for name in COVERS:
        mounts.mount("tmpfs", str(stage / name), 0, "size=64k,nr_inodes=64")
        stage.joinpath(name, "file").touch()
    mounts.pivot(str(stage))
    landlock.enter(rules.fd)
    _open(path, os.O_RDONLY)


@pytest.mark.needs_root
def test_a_rule_holds_for_the_same_directory_through_other_mounts(places: Callable[[], Path]) -> None:
    stage, allowed, covered, other = places(), places(), places(), places()
    rules = landlock.Ruleset()
    for place in (allowed, covered):
        fd = os.open(place, os.O_PATH)
        rules.allow(fd, landlock.READ_ONLY)
        os.close(fd)
    sources = {"seen": allowed, "part": allowed / "directory", "covered": covered, "other": other}
    expected = {
        "/seen/file": "ok",
        "/seen/directory/file": "ok",
        "/seen/other/file": "ok",  # a file system mounted below
        "/part/file": "EACCES",  # what lies above a bound directory is not above it here
        "/covered/file": "EACCES",
        "/other/file": "EACCES",
    }
    outcomes = {}
    for path in expected:
        act = functools.partial(_read_in_a_root_of_its_own, rules, stage, sources, path)
        outcomes[path] = inside(unconfined, act)
    rules.close()
    assert outcomes == expected


# --- one ruleset, many processes ---


def test_a_prepared_ruleset_serves_many_forks(place: Path) -> None:
    rules = landlock.Ruleset()
    fd = os.open(place, os.O_PATH)
    rules.allow(fd, landlock.READ_ONLY)
    os.close(fd)
    for _ in range(3):
        assert inside(lambda: landlock.enter(rules.fd), lambda: _open(place / "file", os.O_RDONLY)) == "ok"
        assert inside(lambda: landlock.enter(rules.fd), lambda: _open(place / "file", os.O_WRONLY)) == "EACCES"
    rules.close()


def test_forks_that_entered_the_same_ruleset_cannot_signal_each_other() -> None:
    rules = landlock.Ruleset(0, scope_signals=True)
    ours, theirs = os.pipe()
    first = os.fork()
    if first == 0:
        try:
            signal.alarm(OUTER_LIMIT_S)
            privileges.no_new_privileges()
            landlock.enter(rules.fd)
            os.write(theirs, b"x")
            signal.pause()
        finally:
            os._exit(0)
    os.read(ours, 1)
    assert inside(unconfined, lambda: os.kill(first, 0)) == "ok"
    assert inside(lambda: landlock.enter(rules.fd), lambda: os.kill(first, 0)) == "EPERM"
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    for fd in (ours, theirs):
        os.close(fd)
    rules.close()


def test_restrict_closes_the_ruleset_and_enter_does_not() -> None:
    rules = landlock.Ruleset()

    def enter_and_look() -> None:
        landlock.enter(rules.fd)
        os.fstat(rules.fd)

    assert inside(unconfined, enter_and_look) == "ok"
    assert inside(rules.restrict, lambda: os.fstat(rules.fd)) == "EBADF"
    assert os.get_inheritable(rules.fd) is False
    rules.close()


def test_a_domain_that_only_scopes_leaves_files_alone_also_with_another_one_below(place: Path) -> None:
    def both() -> None:
        landlock.scope_signals()
        domain(landlock.ALL_FILES, (place, landlock.READ_ONLY | landlock.WRITE))()

    def across() -> None:
        os.rename(place / "directory/file", place / "other/file")
        os.rename(place / "other/file", place / "directory/file")

    assert inside(landlock.scope_signals, across) == "ok"
    assert inside(both, across) == "ok"


# --- errors ---


def test_what_cannot_have_a_rule_is_named() -> None:
    rules = landlock.Ruleset()
    end, start = os.pipe()
    with pytest.raises(OSError, match=r"landlock_add_rule\(pipe:.*: read-file\)") as caught:
        rules.allow(end, landlock.READ_ONLY)
    assert caught.value.errno == errno.EBADFD
    for fd in (end, start):
        os.close(fd)
    rules.close()


@pytest.mark.needs_root
def test_what_cannot_have_a_rule_is_named_also_without_proc(place: Path) -> None:
    def allow_a_pipe() -> None:
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        mounts.mount("tmpfs", str(place), 0, "size=64k")
        mounts.pivot(str(place))
        end, _start = os.pipe()
        with pytest.raises(OSError, match=rf"landlock_add_rule\(descriptor {end}: read-file\)"):
            landlock.Ruleset().allow(end, landlock.READ_ONLY)

    assert inside(unconfined, allow_a_pipe) == "ok"


def test_a_rule_may_name_more_than_is_handled(place: Path) -> None:
    confine = domain(landlock.READ_FILE, (place, landlock.READ_EXECUTE | landlock.WRITE))
    assert inside(confine, lambda: _open(place / "file", os.O_RDONLY)) == "ok"
    assert inside(confine, lambda: _open("/etc/passwd", os.O_RDONLY)) == "EACCES"


def test_a_ruleset_that_restricts_nothing_is_an_error() -> None:
    with pytest.raises(OSError, match="landlock_create_ruleset") as caught:
        landlock.Ruleset(0)
    assert caught.value.errno == errno.ENOMSG


@pytest.mark.needs_root
def test_entering_needs_no_new_privs() -> None:
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            domain()()
        except OSError as error:
            os._exit(error.errno or 255)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == errno.EPERM


def test_a_kernel_that_cannot_scope_signals_is_an_error_not_a_silent_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 5)
    with pytest.raises(OSError, match="ABI 6 scopes signals, this kernel has 5"):
        landlock.scope_signals()


# --- versions ---

WANTED = (landlock.ALL_FILES, landlock.BIND_TCP | landlock.CONNECT_TCP, landlock.ABSTRACT_SOCKET | landlock.SIGNAL)
THIRTEEN = 0x1FFF
"""The rights of ABI 1, EXECUTE to MAKE_SYM."""


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (0, (0, 0, 0, 0)),
        (1, (THIRTEEN, 0, 0, 8)),
        (2, (THIRTEEN | landlock.REFER, 0, 0, 8)),
        (3, (THIRTEEN | landlock.REFER | landlock.TRUNCATE, 0, 0, 8)),
        (4, (THIRTEEN | landlock.REFER | landlock.TRUNCATE, 3, 0, 16)),
        (5, (landlock.ALL_FILES, 3, 0, 16)),
        (6, (landlock.ALL_FILES, 3, 3, 24)),
        (7, (landlock.ALL_FILES, 3, 3, 24)),
        (9, (landlock.ALL_FILES, 3, 3, 24)),
    ],
)
def test_what_is_wanted_is_cut_to_what_the_kernel_knows(version: int, expected: tuple[int, int, int, int]) -> None:
    assert landlock.cut(version, *WANTED) == expected
    assert landlock.cut(version, 0, 0, 0)[:3] == (0, 0, 0)


@pytest.mark.parametrize(("version", "expected"), [(0, 0), (6, 0), (7, 5), (9, 5)])
def test_audit_records_are_turned_off_where_they_can_be(version: int, expected: int) -> None:
    assert landlock.restrict_flags(version) == expected


@pytest.mark.parametrize("version", range(1, 10))
def test_the_kernel_takes_the_structure_of_every_abi_up_to_its_own(
    version: int, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    present = landlock.abi()
    monkeypatch.setattr(landlock, "abi", lambda: min(version, present) if version <= landlock.NEWEST_ABI else version)
    rules = landlock.Ruleset(deny_tcp=True, scope_abstract=True, scope_signals=True)
    assert (rules.files, rules.net, rules.scopes) == landlock.cut(version, *WANTED)[:3]
    assert inside(rules.restrict, lambda: _open(place / "file", os.O_RDONLY)) == "EACCES"
    rules.close()


def test_this_kernel_has_landlock() -> None:
    assert landlock.abi() >= landlock.SCOPING_ABI


def test_without_landlock_the_version_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(libc.NUMBERS, "landlock_create_ruleset")
    assert landlock.abi() == 0
    with pytest.raises(OSError, match="landlock_create_ruleset"):
        landlock.Ruleset()


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        (0, "nothing"),
        (landlock.READ_ONLY, "read"),
        (landlock.READ_EXECUTE, "read, execute"),
        (landlock.READ_EXECUTE | landlock.WRITE, "read, execute, write"),
        (landlock.READ_ONLY | landlock.WRITE_FILE, "read, write-file"),
        (landlock.READ_FILE, "read-file"),
        (landlock.WRITE & ~landlock.REFER, "write-file, truncate, remove-dir, remove-file, make-dir, make-file, "
         "make-socket, make-fifo, make-symlink"),
    ],
)  # fmt: skip
def test_rights_in_words(rights: int, words: str) -> None:
    assert landlock.describe(rights) == words


def test_every_right_has_a_word_of_its_own() -> None:
    words = {landlock.describe(1 << bit) for bit in range(16)}
    assert len(words) == 16
    assert "nothing" not in words

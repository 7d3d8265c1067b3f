"""Recipes, carried out by the real maker: what is written down here happens there, and nothing else."""

import errno
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lattice_agent.exec import cell
from lattice_agent.exec.kernel import cgroup_place, files, libc, namespaces, seqpacket
from lattice_agent.exec.kernel.recipe import ANY_ERROR, PASSED_MOST, RECIPE_MOST, Recipe
from tests.hostile.rig import OUTER_LIMIT_S
from tests.rigs.cgroups import members, temporary_group

CREATE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
ANSWER_MOST = 64


class Maker:
    """The native program with a recipe; ``hear`` is what it says, ``wait`` how it ends."""

    def __init__(self, text: bytes, passed: tuple[int, ...] = ()) -> None:
        self._ours, theirs = seqpacket.pair()
        program = cell.open_program()
        with theirs:
            self._ours.sendmsg([text], seqpacket.rights(list(passed)))
            in_place = (os.POSIX_SPAWN_DUP2, theirs.fileno(), cell.RECIPE_FD)
            self.pid = os.posix_spawn(f"/proc/self/fd/{program}", ["maker"], {}, file_actions=[in_place])
        os.close(program)

    def hear(self) -> tuple[bytes, list[int]]:
        """The next answer and its descriptors; nothing at the end."""
        assert select.select([self._ours], [], [], OUTER_LIMIT_S)[0]
        received = seqpacket.receive(self._ours, ANSWER_MOST)
        assert received is not None
        return received

    def wait(self) -> int:
        """Its exit code."""
        pidfd = os.pidfd_open(self.pid)
        assert select.select([pidfd], [], [], OUTER_LIMIT_S)[0]
        os.close(pidfd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """Let it go."""
        self._ours.close()


Start = Callable[..., Maker]


@pytest.fixture
def start() -> Iterator[Start]:
    """Carries out a recipe."""
    makers: list[Maker] = []

    def begin(recipe: Recipe, *passed: int) -> Maker:
        makers.append(Maker(recipe.to_bytes(), passed))
        return makers[-1]

    yield begin
    for maker in makers:
        maker.close()


def in_the_end(recipe: Recipe) -> Recipe:
    """Say that everything was done."""
    recipe.begin("end")
    recipe.hand_over([])
    return recipe


def create(recipe: Recipe, path: Path) -> int:
    """Open a new file there."""
    return recipe.call("openat", files.AT_FDCWD, os.fsencode(path), CREATE, 0o600)


def test_a_result_is_an_argument_of_what_follows(start: Start, tmp_path: Path) -> None:
    recipe = Recipe()
    fd = create(recipe, tmp_path / "new")
    recipe.call("write", fd, b"some text", 9)
    recipe.call("close", fd)
    maker = start(in_the_end(recipe))
    assert maker.hear() == (b"+", [])
    assert (tmp_path / "new").read_text() == "some text"


def test_the_same_function_does_a_thing_or_writes_it_down(start: Start, tmp_path: Path) -> None:
    recipe = Recipe()
    for name, call in (("now", libc.call), ("later", recipe.call)):
        (tmp_path / name).touch()
        files.write(os.fspath(tmp_path / name), "text", call)
    assert (tmp_path / "later").read_text() == ""
    assert start(in_the_end(recipe)).hear() == (b"+", [])
    assert (tmp_path / "now").read_text() == (tmp_path / "later").read_text() == "text"


def test_a_structure_holds_results_and_pointers(start: Start, tmp_path: Path) -> None:
    """writev(2) takes pointers; what it wrote is read back through a pair of descriptors."""
    recipe = Recipe()
    read, write = recipe.pair("pipe2", os.O_CLOEXEC)
    recipe._add(
        libc.NUMBERS["write"] + (19 if os.uname().machine == "x86_64" else 2),  # writev
        [(2, int(write)), (1, recipe._packed(libc.Packed("@PQPQ", b"one ", 4, b"two", 3))), (0, 2)],
        "writev",
    )
    recipe.hand_over([read])
    text, [pipe] = start(recipe).hear()
    assert text == b"+"
    assert os.read(pipe, 100) == b"one two"
    os.close(pipe)


def test_the_structure_of_a_call_made_at_once_is_the_same() -> None:
    packed = libc.Packed("@HP", 3, b"text")
    assert packed.offsets() == [0, struct.calcsize("@P")]
    count, address = struct.unpack("@HP", packed.to_bytes())
    assert count == 3
    assert address


def test_descriptors_that_are_passed_on_have_a_place(start: Start, tmp_path: Path) -> None:
    recipe = Recipe()
    first, second = recipe.pass_on(), recipe.pass_on()
    recipe.call("write", second, b"second", 6)
    recipe.call("write", first, b"first", 5)
    recipe.hand_over([second])
    one, two = (os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("one", "two"))
    _, [back] = start(recipe, one, two).hear()
    assert ((tmp_path / "one").read_text(), (tmp_path / "two").read_text()) == ("first", "second")
    assert os.path.samestat(os.fstat(back), os.fstat(two))
    for fd in (one, two, back):
        os.close(fd)


def test_what_fails_is_told_with_its_step_and_nothing_more_is_done(start: Start, tmp_path: Path) -> None:
    recipe = Recipe()
    recipe.begin("first")
    create(recipe, tmp_path / "made")
    recipe.begin("second")
    recipe.call("openat", files.AT_FDCWD, b"/nowhere/at/all", os.O_RDONLY, 0)
    recipe.begin("third")
    create(recipe, tmp_path / "never")
    maker = start(in_the_end(recipe))
    text, _ = maker.hear()
    assert text[:1] == cell.FAILED
    assert recipe.failure(text) == "second: No such file or directory (openat /nowhere/at/all)"
    assert maker.hear() == (b"", [])
    assert maker.wait() == 1
    assert os.listdir(tmp_path) == ["made"]


@pytest.mark.parametrize("text", [b"", b"-", b"-" * 11, b"-" * 13])
def test_what_is_no_failure_is_not_taken_for_one(text: bytes) -> None:
    assert Recipe().failure(text) == "its maker died"


def test_a_failure_of_what_was_never_asked_for_still_has_a_reason() -> None:
    assert Recipe().failure(struct.pack("=4sII", b"-", 99, errno.EPERM)) == ": Operation not permitted ()"


@pytest.mark.parametrize("tolerated", [(errno.ENOENT,), (errno.EPERM, errno.ENOENT), (ANY_ERROR,)])
def test_after_a_tolerated_error_it_goes_on(tolerated: tuple[int, ...], start: Start, tmp_path: Path) -> None:
    recipe = Recipe()
    words = (files.AT_FDCWD, b"/nowhere", os.O_RDONLY, 0)
    recipe.attempt("openat", *words, tolerate=tolerated, skip_on_error=1, skip_on_success=2)
    create(recipe, tmp_path / "skipped")
    create(recipe, tmp_path / "made")
    assert start(in_the_end(recipe)).hear() == (b"+", [])
    assert os.listdir(tmp_path) == ["made"]


def test_another_error_is_none_that_is_tolerated(start: Start) -> None:
    recipe = Recipe()
    recipe.call("openat", files.AT_FDCWD, b"/nowhere", os.O_RDONLY, 0, tolerate=(errno.EPERM, errno.EACCES))
    assert start(in_the_end(recipe)).hear()[0][:1] == cell.FAILED


def test_success_can_leave_the_other_way_out(start: Start, tmp_path: Path) -> None:
    recipe = Recipe()
    recipe.attempt("openat", files.AT_FDCWD, b"/", os.O_PATH, 0, tolerate=(ANY_ERROR,), skip_on_success=1)
    create(recipe, tmp_path / "skipped")
    create(recipe, tmp_path / "made")
    assert start(in_the_end(recipe)).hear() == (b"+", [])
    assert os.listdir(tmp_path) == ["made"]


def test_the_result_of_a_tolerated_failure_is_nothing(start: Start, tmp_path: Path) -> None:
    recipe = Recipe()
    length = recipe.call("openat", files.AT_FDCWD, b"/nowhere", os.O_RDONLY, 0, tolerate=(ANY_ERROR,))
    recipe.call("write", create(recipe, tmp_path / "new"), b"not this", length)
    assert start(in_the_end(recipe)).hear() == (b"+", [])
    assert (tmp_path / "new").read_bytes() == b""


@pytest.mark.needs_root
def test_the_rest_is_done_by_a_child_of_whoever_started_it(start: Start) -> None:
    recipe = Recipe()
    recipe.born_again(namespaces.NEWPID | namespaces.PARENT)
    read, write = recipe.pair("pipe2", os.O_CLOEXEC)
    recipe.hand_over([write])
    recipe.call("read", read, bytes(1), 1)  # until the test is done with it
    maker = start(recipe)
    text, [pidfd] = maker.hear()
    assert text[:1] == cell.BORN
    child = cell.born(text)
    assert maker.wait() == 0
    text, [held] = maker.hear()
    assert text == cell.FINISHED
    fields = dict(line.split(":\t") for line in Path(f"/proc/{child}/status").read_text().splitlines() if ":\t" in line)
    assert fields["PPid"] == str(os.getpid())
    assert fields["NSpid"].split()[-1] == "1"
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    os.close(held)
    os.close(pidfd)


@pytest.mark.needs_root
def test_a_child_is_born_in_its_cgroup(start: Start) -> None:
    mounts = cgroup_place.parse_mounts(Path("/proc/self/mountinfo").read_text())
    with temporary_group(Path(next(point for root, point in mounts if root == "/"))) as group:
        recipe = Recipe()
        recipe.born_again(namespaces.PARENT, recipe.pass_on())
        read, write = recipe.pair("pipe2", os.O_CLOEXEC)
        recipe.hand_over([write])
        recipe.call("read", read, bytes(1), 1)  # until the test is done with it
        directory = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
        maker = start(recipe, directory)
        text, [pidfd] = maker.hear()
        maker.wait()
        _, [held] = maker.hear()
        assert members(group) == {cell.born(text)}
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(cell.born(text), 0)
        for fd in (pidfd, held, directory):
            os.close(fd)


def test_a_birth_that_fails_is_told(start: Start) -> None:
    recipe = Recipe()
    recipe.begin("birth")
    recipe.born_again(0x8000_0000_0000_0000)  # no such flag
    assert recipe.failure(start(recipe).hear()[0]) == "birth: Invalid argument (clone3)"


def test_it_holds_nothing_but_what_it_was_given(start: Start, tmp_path: Path) -> None:
    leaked = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leaked, True)
    recipe = Recipe()
    read, _write = recipe.pair("pipe2", os.O_CLOEXEC)
    recipe.hand_over([read])
    recipe.call("read", read, bytes(1), 1)  # until the test is done with it
    maker = start(recipe)
    _, [pipe] = maker.hear()
    held = {int(name): os.readlink(f"/proc/{maker.pid}/fd/{name}") for name in os.listdir(f"/proc/{maker.pid}/fd")}
    assert os.fspath(tmp_path) not in held.values()
    assert not [fd for fd in held if fd > 5 and held[fd].split(":")[0] not in ("socket", "pipe")]
    os.kill(maker.pid, signal.SIGKILL)
    maker.wait()
    os.close(pipe)
    os.close(leaked)


def whole(**changes: int) -> bytes:
    """A recipe of one operation, with a head that may say otherwise."""
    text = in_the_end(Recipe()).to_bytes()
    names = ("magic", "operations", "data_bytes", "unused")
    head = dict(zip(names, struct.unpack_from("=4I", text), strict=True)) | changes
    return struct.pack("=4I", *head.values()) + text[16:]


@pytest.mark.parametrize(
    "text",
    [
        b"x",
        whole(magic=1),
        whole(operations=2),
        whole(operations=0),
        whole(operations=2**32 - 1),
        whole(data_bytes=2**32 - 1),
        whole()[:-8],
        whole() + bytes(8),
    ],
)
def test_what_is_no_recipe_is_refused(text: bytes) -> None:
    maker = Maker(text)
    assert maker.hear() == (b"", [])
    assert maker.wait() == 1
    maker.close()


def test_one_that_the_maker_would_not_take_is_not_sent() -> None:
    recipe = Recipe()
    recipe.call("write", 1, bytes(RECIPE_MOST), 1)
    with pytest.raises(OSError, match="recipe"):
        recipe.to_bytes()
    recipe = Recipe()
    for _ in range(PASSED_MOST + 1):
        recipe.pass_on()
    with pytest.raises(OSError, match="recipe"):
        recipe.to_bytes()


def test_a_call_that_this_architecture_has_not_is_told_before_anything_runs() -> None:
    with pytest.raises(OSError, match="not known"):
        Recipe().call("no_such_call")


def test_a_socket_that_is_closed_ends_it() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = cell.open_program()
    in_place = (os.POSIX_SPAWN_DUP2, theirs.fileno(), cell.RECIPE_FD)
    pid = os.posix_spawn(f"/proc/self/fd/{program}", ["maker"], {}, file_actions=[in_place])
    theirs.close()
    ours.close()
    os.close(program)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1

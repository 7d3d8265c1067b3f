"""native/cell by itself, without any confinement: the task in, the script, the record out.

It runs as the first process of a pid namespace of its own: elsewhere its kill(-1) would reach the whole machine.
"""

import ctypes
import errno
import os
import resource
import select
import signal
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import prctl
import pytest

from lattice_agent.exec.dispatch import MESSAGE_MOST, CellRecord, decode_record, encode_task
from lattice_agent.exec.kernel import descriptors, mounts, namespaces
from tests.hostile.rig import OUTER_LIMIT_S
from tests.rigs.cells import descriptors_of, status_of

pytestmark = pytest.mark.needs_root

PROGRAM = Path(__file__).parents[3] / "lattice_agent/exec/native/cell"
NOT_STARTED = 126
PATH = b"PATH=/usr/bin:/bin"


class Program:
    """The program in a pid namespace, and the agent's ends of its channels."""

    def __init__(self, arguments: Sequence[str] = ("0", "0", "0", "0", "0"), ruleset: int | None = None) -> None:
        self.task, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.task.settimeout(OUTER_LIMIT_S)
        (self.stdout, out), (self.stderr, err), (self.status, status), (told, tell) = [os.pipe() for _ in range(4)]
        self._holder = os.fork()
        if self._holder == 0:
            null = os.open(os.devnull, os.O_RDONLY)
            kept = [null, out, err, theirs.fileno(), status] + ([] if ruleset is None else [ruleset])
            _hold(kept, tell, arguments)
        for fd in (out, err, status, tell):
            os.close(fd)
        theirs.close()
        with open(told, "rb") as pipe:
            self.init = int(pipe.read())
        self._held = True

    def close(self) -> None:
        """End everything."""
        self.task.close()
        self.wait(kill=True)
        for fd in (self.stdout, self.stderr, self.status):
            os.close(fd)

    def wait(self, *, kill: bool = False) -> None:
        """Until its first process, and with it the namespace, is gone."""
        if not self._held:
            return
        if kill:
            os.kill(self._holder, signal.SIGKILL)
        pidfd = os.pidfd_open(self._holder)
        ended = select.select([pidfd], [], [], OUTER_LIMIT_S)[0]
        os.close(pidfd)
        assert ended
        os.waitpid(self._holder, 0)
        self._held = False

    def run(
        self, *argv: bytes | str, environment: Sequence[bytes] = (PATH,), limits: Sequence[tuple[int, ...]] = ()
    ) -> None:
        """Give it a task."""
        items = [os.fsencode(item) for item in argv]
        self.task.send(encode_task(items, environment, limits))  # type: ignore[arg-type]  # triples

    def shell(self, script: str, **options: Sequence[bytes]) -> None:
        """Give it a shell script as its task."""
        self.run("/bin/sh", "-c", script, **options)  # type: ignore[arg-type]  # environment only

    def output(self) -> bytes:
        """Everything that was written to standard output; waits for its end-of-file."""
        return _read_all(self.stdout)

    def line(self) -> bytes:
        """The next line of standard output."""
        line = b""
        while not line.endswith(b"\n"):
            assert select.select([self.stdout], [], [], OUTER_LIMIT_S)[0], line
            piece = os.read(self.stdout, 1)
            assert piece, line
            line += piece
        return line

    def record(self) -> CellRecord | None:
        """What it leaves at its end; waits for that."""
        data = _read_all(self.status)
        self.wait()
        return decode_record(data)

    def answer(self) -> int:
        """The error number it sends back; 0 if it hangs up without one."""
        data = self.task.recv(64)
        assert len(data) in (0, 4)
        return int.from_bytes(data, "little")

    def errors(self) -> bytes:
        """Everything that was written to standard error."""
        return _read_all(self.stderr)

    def code(self) -> int:
        """How the main process exited; waits for the end."""
        record = self.record()
        assert record is not None
        return os.waitstatus_to_exitcode(record.status)


def _hold(kept: list[int], tell: int, arguments: Sequence[str]) -> None:
    """The life of the fork that holds the namespace; it ends when the program does, and the other way round."""
    try:
        prctl.set_pdeathsig(signal.SIGKILL)
        namespaces.unshare(namespaces.NEWPID | namespaces.NEWNS)
        mounts.make_private()
        pid = os.fork()
        if pid == 0:
            _become_the_program(kept, arguments)
        os.write(tell, str(pid).encode())
        os.closerange(3, 4096)
        os.dup2(0, 1)
        os.waitpid(pid, 0)
    finally:
        os._exit(0)


def _become_the_program(kept: list[int], arguments: Sequence[str]) -> None:
    try:
        prctl.set_pdeathsig(signal.SIGKILL)
        mounts.mount("proc", "/proc", mounts.NOSUID)
        assert os.getpid() == 1
        descriptors.place(tuple(kept))
        os.closerange(len(kept), 4096)
        os.execve(PROGRAM, ["lattice-cell", *arguments], {"LEFT": "over"})
    finally:
        os._exit(99)


def _read_all(fd: int) -> bytes:
    data = b""
    while select.select([fd], [], [], OUTER_LIMIT_S)[0]:
        piece = os.read(fd, 65_536)
        if not piece:
            return data
        data += piece
    raise AssertionError(f"no end of {data!r}")


@pytest.fixture
def program() -> Iterator[Program]:
    program = Program()
    yield program
    program.close()


def test_arguments_and_environment_are_exactly_those_that_were_sent(program: Program) -> None:
    odd = [b"", b"two words", b"\xff\xfe\n", b"-"]
    environment = [b"A=b", b"EMPTY=", b"ODD=\xff=\n", b"A=again"]
    show = [b"/usr/bin/head", b"-c", b"9999", b"-q", b"/proc/self/cmdline", b"/proc/self/environ"]
    program.run(*show, *odd, environment=environment)
    assert program.output().split(b"\0") == [*show, *odd, *environment, b""]


def test_no_variable_at_all(program: Program) -> None:
    program.run("/usr/bin/env", environment=[])
    assert program.output() == b""
    assert program.code() == 0


def test_the_largest_task_arrives_whole(program: Program) -> None:
    argv = ["/bin/sh", "-c", 'echo "${#1} $#"; [ "$1" = "$2$3" ] && echo same', "name"]
    room = MESSAGE_MOST - len(encode_task([*map(str.encode, argv), b"", b"", b""], [PATH], []))
    half = room // 4
    program.run(*argv, "x" * 2 * half, "x" * half, "x" * (half + room % 4))
    assert program.output() == f"{2 * half} 3\n".encode() + b"same\n" * (room % 4 == 0)


def test_as_many_items_as_can_be(program: Program) -> None:
    variables = [f"V{number}=".encode() for number in range(512 - 5)]
    program.run("/bin/sh", "-c", "env | grep -c ^V", "name", environment=[PATH, b"X=y", *variables[:506]])
    assert program.output() == b"506\n"


def test_the_limits_are_in_force_and_cannot_be_raised_again(program: Program) -> None:
    limits = [
        (resource.RLIMIT_CPU, 5, 6),
        (resource.RLIMIT_FSIZE, 4096, 8192),
        (resource.RLIMIT_NOFILE, 33, 44),
        (resource.RLIMIT_AS, 2**64 - 1, 2**64 - 1),
    ]
    script = "import resource as r, sys; print([r.getrlimit(int(number)) for number in sys.argv[1:]])"
    program.run("/usr/bin/python3", "-c", script, *(str(number) for number, _, _ in limits), limits=limits)
    assert program.output() == b"[(5, 6), (4096, 8192), (33, 44), (-1, -1)]\n"


def test_a_limit_the_kernel_refuses_is_an_error_and_nothing_is_executed(program: Program) -> None:
    program.run("/bin/sh", "-c", "echo ran", limits=[(99, 1, 1)])
    assert program.answer() == errno.EINVAL
    assert program.output() == b""
    assert program.code() == NOT_STARTED


def test_a_soft_limit_above_the_hard_one_is_an_error(program: Program) -> None:
    program.run("/bin/sh", "-c", "echo ran", limits=[(resource.RLIMIT_NOFILE, 44, 33)])
    assert program.answer() == errno.EINVAL
    assert program.output() == b""


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -SEGV $$", -11),
        ("kill -KILL $$", -9),
        ("kill -TERM $$", -15),
    ],
)
def test_the_record_has_the_status_of_the_main_process(program: Program, script: str, code: int) -> None:
    program.shell(script)
    record = program.record()
    assert record is not None
    assert os.waitstatus_to_exitcode(record.status) == code
    assert record.killed == 0


def test_the_record_has_processor_time_and_memory_of_the_main_process(program: Program) -> None:
    script = "x = bytearray(48 << 20)\nimport time\nwhile time.process_time() < 0.3: pass"
    program.run("/usr/bin/python3", "-c", script)
    record = program.record()
    assert record is not None
    assert 0.3 <= record.cpu_s < 1.5
    assert 48 << 20 <= record.max_rss_bytes < 128 << 20


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("/nowhere/sh", errno.ENOENT),
        ("/etc/passwd", errno.EACCES),
        ("/usr", errno.EACCES),
        ("/etc/passwd/x", errno.ENOTDIR),
    ],
)
def test_what_cannot_be_executed_is_told_with_its_error(program: Program, what: str, error: int) -> None:
    program.run(what)
    assert program.answer() == error
    assert program.code() == NOT_STARTED


def test_a_task_that_starts_hangs_up_without_an_error(program: Program) -> None:
    program.shell("echo; exec sleep 60")
    program.line()
    assert program.answer() == 0


HEADER = struct.Struct("=4I")
SHELL = b"/bin/sh\0-c\0echo ran\0"


@pytest.mark.parametrize(
    "message",
    [
        HEADER.pack(0, 0, 0, 0),
        HEADER.pack(0, 0, 1, 0) + b"A=b\0",
        HEADER.pack(0, 513, 0, 0) + b"x\0" * 513,
        HEADER.pack(0, 500, 13, 0) + b"x\0" * 513,
        HEADER.pack(0, 2**32 - 1, 3, 0) + SHELL,
        HEADER.pack(0, 3, 2**32 - 1, 0) + SHELL,
        HEADER.pack(0, 4, 0, 0) + SHELL,
        HEADER.pack(0, 3, 1, 0) + SHELL,
        HEADER.pack(17, 3, 0, 0) + struct.pack("=3Q", resource.RLIMIT_CORE, 0, 0) * 17 + SHELL,
        HEADER.pack(2**32 - 1, 3, 0, 0) + SHELL,
        HEADER.pack(3, 3, 0, 0) + SHELL,
        HEADER.pack(1, 3, 0, 0) + b"x" * 23,
        HEADER.pack(0, 1, 0, 0),
    ],
    ids=[
        "nothing", "no-arguments", "too-many", "too-many-together", "wraps-around", "wraps-around-again", "one-missing",
        "variable-missing", "too-many-limits", "limits-wrap-around", "limits-missing", "limit-cut", "no-items",
    ],
)  # fmt: skip
def test_a_message_that_is_not_whole_is_refused_and_nothing_is_executed(program: Program, message: bytes) -> None:
    program.task.send(message)
    assert program.answer() == errno.E2BIG
    assert program.output() == b""
    assert program.code() == NOT_STARTED


@pytest.mark.parametrize("length", [1, 4, 15])
def test_a_message_shorter_than_its_header_ends_it(program: Program, length: int) -> None:
    program.task.send((HEADER.pack(0, 3, 0, 0) + SHELL)[:length])
    assert program.output() == b""
    assert program.code() == NOT_STARTED


def test_a_last_item_without_its_end_is_taken_as_it_is(program: Program) -> None:
    program.task.send(HEADER.pack(0, 3, 0, 0) + SHELL[:-1])
    assert program.output() == b"ran\n"


def test_hanging_up_before_a_task_ends_it(program: Program) -> None:
    program.task.close()
    assert program.output() == b""
    assert program.code() == NOT_STARTED


@pytest.mark.parametrize("arguments", [("0",) * 4, ("0",) * 6])
def test_other_than_five_arguments_are_refused(arguments: tuple[str, ...]) -> None:
    program = Program(arguments)
    program.task.settimeout(OUTER_LIMIT_S)
    assert program.task.recv(4) == b""
    assert program.record() is None
    program.close()


def test_a_script_inherits_three_descriptors(program: Program) -> None:
    program.run(
        "/usr/bin/python3", "-c", "import os; print(os.listdir('/proc/self/fd')); print(os.readlink('/proc/self/fd/0'))"
    )
    numbers, stdin = program.output().decode().splitlines()
    # The fourth is the one that listdir itself has open.
    assert numbers == "['0', '1', '2', '3']"
    assert stdin == os.devnull


def test_who_waits_holds_what_it_needs_and_nothing_else(program: Program) -> None:
    program.shell("echo; kill -STOP $$")  # at rest: a program that starts has its libraries open for a moment
    program.line()
    _until_state(program, "T")
    init = program.init
    assert set(descriptors_of(init)) == {0, 1, 2, 4}  # the pipes end with the cell, not with the script
    [script] = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    assert set(descriptors_of(int(script))) == {0, 1, 2}


def test_standard_error_is_apart(program: Program) -> None:
    program.shell("echo out; echo err >&2")
    assert (program.output(), program.errors()) == (b"out\n", b"err\n")


def test_a_request_to_end_reaches_the_whole_tree(program: Program) -> None:
    child = "trap 'echo child; exit' TERM; echo up; while :; do sleep 0.02; done"
    program.shell(
        f"trap 'sleep 0.1; echo main; exit 5' TERM; (setsid sh -c \"{child}\") & echo up; while :; do sleep 0.02; done"
    )
    assert program.line() + program.line() == b"up\nup\n"
    os.kill(program.init, signal.SIGTERM)
    assert sorted(program.output().split()) == [b"child", b"main"]
    assert program.code() == 5


def test_a_stopped_script_gets_the_request_too(program: Program) -> None:
    program.shell("trap 'echo asked; exit 6' TERM; echo up; kill -STOP $$; echo on")
    program.line()
    _until_state(program, "T")
    os.kill(program.init, signal.SIGTERM)
    assert b"asked\n" in program.output()
    assert program.code() == 6


def _until_state(program: Program, letter: str) -> None:
    """Until the main process is in that state. Looks, because /proc sends no events."""
    init = program.init
    [script] = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    while not status_of(int(script))["State"].startswith(letter):
        assert select.select([program.status], [], [], 0.001)[0] == []


def test_a_script_that_ignores_the_request_goes_on(program: Program) -> None:
    program.shell("trap '' TERM; echo up; while [ ! -e /proc/self/nothing ]; do sleep 0.02; done")
    program.line()
    os.kill(program.init, signal.SIGTERM)
    assert select.select([program.status], [], [], 0.2)[0] == []
    os.kill(program.init, signal.SIGUSR2)
    assert program.code() == -signal.SIGKILL


def test_the_other_request_kills_the_whole_tree(program: Program) -> None:
    program.shell("trap '' TERM; (setsid sleep 60 &); sleep 60 & echo up; wait")
    program.line()
    os.kill(program.init, signal.SIGUSR2)
    record = program.record()
    assert record is not None
    assert os.waitstatus_to_exitcode(record.status) == -signal.SIGKILL
    assert program.output() == b""


def test_whoever_waits_can_be_told_to_end_before_a_task_too(program: Program) -> None:
    _until_waiting(program)
    os.kill(program.init, signal.SIGUSR2)
    assert program.code() == -signal.SIGKILL


def _until_waiting(program: Program) -> None:
    """Until the init has its handlers; the launcher is there by then. Looks, because /proc sends no events."""
    while not int(status_of(program.init)["SigCgt"], 16) & 1 << (signal.SIGUSR2 - 1):
        assert select.select([program.status], [], [], 0.001)[0] == []


def test_what_the_main_process_leaves_is_killed_and_counted(program: Program) -> None:
    program.shell("for n in 1 2 3; do setsid sleep 60 & done; (sleep 60 & (sleep 60 & exit) & wait) & echo up; exit 4")
    record = program.record()
    assert record is not None
    assert os.waitstatus_to_exitcode(record.status) == 4
    assert 3 <= record.killed <= 6  # those that were born by then


def test_exactly_those_that_were_alive_are_counted(program: Program) -> None:
    wait = "while [ $(cat /proc/[0-9]*/comm | grep -c '^sleep$') -lt 5 ]; do :; done"
    program.shell(f"for n in 1 2 3 4 5; do setsid sleep 60 & done; {wait}; exit 0")
    record = program.record()
    assert record is not None
    assert record.killed == 5


def test_orphans_that_end_by_themselves_are_reaped_and_not_counted(program: Program) -> None:
    few = "until set -- /proc/[0-9]*; [ $# -le 2 ]; do :; done"  # init and this shell
    program.shell(f"for n in 1 2 3 4 5; do (sh -c 'exit 3' & exit 0); done; {few}; exit 7")
    record = program.record()
    assert record is not None
    assert (os.waitstatus_to_exitcode(record.status), record.killed) == (7, 0)


def test_a_tree_that_forks_on_is_dead_when_the_record_comes(program: Program) -> None:
    # Bounded by the namespace, which dies with its first process, and by the number of children each may have.
    two = "f $(($1 - 1)) & f $(($1 - 1)) &"
    program.shell(f"f() {{ if [ $1 -gt 0 ]; then {two} fi; sleep 60; }}; f 5 & sleep 0.05; exit 0")
    init = program.init
    record = program.record()
    assert record is not None
    assert record.killed > 0
    assert not Path(f"/proc/{init}").exists()


def test_a_held_pipe_does_not_delay_the_record(program: Program) -> None:
    program.shell("setsid sleep 60 & exec >&- 2>&-; exit 0")
    assert program.code() == 0


def test_a_mask_or_an_ignored_signal_of_who_waits_does_not_reach_the_script(program: Program) -> None:
    program.shell("exec cat /proc/self/status")
    said = dict(line.split(b":\t", 1) for line in program.output().splitlines())
    assert said[b"SigBlk"] == said[b"SigCgt"] == said[b"ShdPnd"] == b"0" * 16


def test_both_cannot_be_looked_into(program: Program) -> None:
    _until_waiting(program)
    init = program.init
    [launcher] = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    for pid in (init, int(launcher)):
        assert Path(f"/proc/{pid}/exe").resolve() == PROGRAM
        assert _attach_as_owner(pid) == errno.EPERM


def _attach_as_owner(pid: int) -> int:
    """The error of ptrace(2) by somebody with the same uid and no capability at all."""
    pipe = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            header, empty = struct.pack("=Ii", 0x2008_0522, 0), bytes(24)
            assert libc.capset(header, empty) == 0
            failed = libc.ptrace(16, pid, 0, 0) != 0  # PTRACE_ATTACH
            os.write(pipe[1], bytes([ctypes.get_errno() if failed else 0]))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    number = os.read(pipe[0], 1)[0]
    os.close(pipe[0])
    os.close(pipe[1])
    return number


def test_it_takes_other_ids_and_gives_its_capabilities_up() -> None:
    program = Program(("70001", "70002", "0", "1", "1"))
    _until_waiting(program)
    init = program.init
    program.shell("echo; exec sleep 60")
    program.line()
    [script] = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    seen = status_of(int(script))
    assert (seen["Uid"].split(), seen["Gid"].split()) == (["70001"] * 4, ["70002"] * 4)
    assert {seen[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
    kept = status_of(init)
    assert kept["CapPrm"] == kept["CapEff"] == f"{1 << 5:016x}"  # CAP_KILL: its children have another uid
    os.kill(init, signal.SIGUSR2)
    assert program.code() == -signal.SIGKILL
    program.close()


def test_a_ruleset_that_is_none_is_an_error_and_nothing_is_executed() -> None:
    program = Program(("0", "0", "5", "0", "0"))
    assert program.answer() in (errno.EBADF, errno.EBADFD)
    assert program.output() == b""
    assert program.code() == NOT_STARTED
    program.close()

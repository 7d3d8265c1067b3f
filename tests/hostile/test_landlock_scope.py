"""Signals, abstract sockets and memory of processes outside of a Landlock domain, and the end of a tree by kill(-1).

Trees that fork without end live in a pid namespace of their own, whose first process dies with the test: a protection
that fails costs the test and not the machine.
"""

import contextlib
import fcntl
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lattice_agent.exec.kernel import landlock, libc, mounts, namespaces, privileges, wait
from tests.rigs.extent import extent
from tests.unit.exec.test_landlock import Confine, domain, inside, unconfined

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root]

OUTER_LIMIT_S = 60
RUN_LIMIT_S = 5
NOBODY = 65534
RUNS = extent(2, 20)
CHAINS = 4
GENERATIONS = 100
"""Forks that are seen before the reaper strikes: the chains are well under way."""
SET_DUMPABLE = 4

SCOPED = domain(0, scope_abstract=True, scope_signals=True)
SIGNALS_ONLY = domain(0, scope_signals=True)
SOCKETS_ONLY = domain(0, scope_abstract=True)


def as_user(uid: int, confine: Confine) -> Confine:
    """Take other ids, then confine."""

    def both() -> None:
        drop_to(uid)
        confine()

    return both


def drop_to(uid: int) -> None:
    """To an unprivileged user, as open to others of the same one as a program that it started itself."""
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        libc.call("prctl", SET_DUMPABLE, 1, 0, 0, 0)


# --- signals ---


@contextmanager
def victim(uid: int) -> Iterator[int]:
    """A process outside, of its own group, in which every signal stays pending to be looked at."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(OUTER_LIMIT_S)
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
            drop_to(uid)
            os.write(theirs, b"x")
            signal.sigwait({signal.SIGALRM})
        finally:
            os._exit(0)
    os.close(theirs)
    os.read(ours, 1)
    os.close(ours)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def pending(pid: int) -> set[int]:
    """Signals that wait in a process that blocks them."""
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":\t") for line in status if ":\t" in line)
    bits = int(fields["ShdPnd"], 16) | int(fields["SigPnd"], 16)
    return {number for number in range(1, 65) if bits >> (number - 1) & 1}


def by_process_descriptor(pid: int) -> None:
    fd = os.pidfd_open(pid)
    signal.pidfd_send_signal(fd, signal.SIGUSR1)


def by_ownership_of_a_socket(pid: int) -> None:
    """Input on a socket whose owner is somebody else raises a signal there (F_SETOWN). Nobody is told of a refusal."""
    ours, theirs = socket.socketpair()
    fcntl.fcntl(ours, fcntl.F_SETOWN, pid)
    fcntl.fcntl(ours, fcntl.F_SETSIG, signal.SIGUSR1)
    fcntl.fcntl(ours, fcntl.F_SETFL, fcntl.fcntl(ours, fcntl.F_GETFL) | os.O_ASYNC)
    theirs.send(b"x")


WAYS: dict[str, tuple[Callable[[int], object], str]] = {
    "kill": (lambda pid: os.kill(pid, signal.SIGUSR1), "EPERM"),
    "group": (lambda pid: os.killpg(pid, signal.SIGUSR1), "EPERM"),
    "pidfd": (by_process_descriptor, "EPERM"),
    "socket-owner": (by_ownership_of_a_socket, "ok"),
}
"""A way to signal a process, and what the caller sees when it is refused."""


@pytest.mark.parametrize("uid", [0, NOBODY])
@pytest.mark.parametrize("way", WAYS)
def test_no_signal_leaves_the_domain(way: str, uid: int) -> None:
    act, refusal = WAYS[way]
    for confine, reaches in ((unconfined, True), (SOCKETS_ONLY, True), (SIGNALS_ONLY, False), (SCOPED, False)):
        with victim(uid) as pid:
            said = inside(as_user(uid, confine), lambda pid=pid: act(pid))  # type: ignore[misc]
            assert (signal.SIGUSR1 in pending(pid), said) == (reaches, "ok" if reaches else refusal)


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_signals_reach_what_was_started_inside_also_in_a_domain_below(uid: int) -> None:
    def signal_a_child() -> None:
        for confine in (unconfined, SCOPED):
            assert inside(confine, lambda: os.kill(os.getpid(), 0)) == "ok"
            child = os.fork()
            if child == 0:
                confine()
                signal.pause()
                os._exit(0)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    assert inside(as_user(uid, landlock.scope_signals), signal_a_child) == "ok"


# --- abstract sockets ---

KINDS = {"stream": socket.SOCK_STREAM, "datagram": socket.SOCK_DGRAM, "seqpacket": socket.SOCK_SEQPACKET}


@contextmanager
def abstract_socket(kind: socket.SocketKind) -> Iterator[str]:
    """Somebody who waits at an abstract name."""
    name = f"\0{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(name)
        if kind != socket.SOCK_DGRAM:
            sock.listen()
        yield name


def reach(kind: socket.SocketKind, name: str) -> None:
    with socket.socket(socket.AF_UNIX, kind) as sock:
        if kind == socket.SOCK_DGRAM:
            sock.sendto(b"hello", name)
        sock.connect(name)


def reach_one_made_inside(kind: socket.SocketKind) -> None:
    with abstract_socket(kind) as name:
        reach(kind, name)


@pytest.mark.parametrize("uid", [0, NOBODY])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_no_abstract_socket_outside_is_reached(kind: socket.SocketKind, uid: int) -> None:
    with abstract_socket(kind) as name:
        for confine, expected in ((unconfined, "ok"), (SIGNALS_ONLY, "ok"), (SOCKETS_ONLY, "EPERM"), (SCOPED, "EPERM")):
            assert inside(as_user(uid, confine), lambda: reach(kind, name)) == expected
            assert inside(as_user(uid, confine), lambda: reach_one_made_inside(kind)) == "ok"


# --- memory ---


def read_memory_of(pid: int) -> None:
    with open(f"/proc/{pid}/environ", "rb") as environment:
        environment.read(1)
    with open(f"/proc/{pid}/mem", "rb"):
        pass


def test_no_memory_of_the_same_user_outside_is_read() -> None:
    """Any domain does that. Root is another matter: CAP_PERFMON reads /proc/<pid>/environ all the same."""
    with victim(NOBODY) as pid:
        for confine, expected in ((unconfined, "ok"), (SCOPED, "EACCES"), (landlock.scope_signals, "EACCES")):
            assert inside(as_user(NOBODY, confine), lambda: read_memory_of(pid)) == expected


# --- the end of a tree ---


def in_a_pid_namespace(program: Callable[[], str]) -> str:
    """What a program says that runs as the first process of its own pid namespace, with a proc that shows it."""
    ours, theirs = os.pipe()
    outer = os.fork()
    if outer == 0:
        try:
            signal.alarm(OUTER_LIMIT_S)
            namespaces.unshare(namespaces.NEWPID | namespaces.NEWNS)
            first = os.fork()
            if first == 0:
                privileges.die_with_parent(signal.SIGKILL)
                mounts.make_private()
                mounts.mount("proc", "/proc", 0)
                os.write(theirs, program().encode())
            else:
                os.waitpid(first, 0)
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours) as end:
        said = end.read()
    os.waitpid(outer, 0)
    return said


def started(act: Callable[[], object]) -> int:
    """A process that does this and nothing else."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    return pid


def fork_for_ever(counter: int) -> None:
    """Every parent ends as soon as its child is there, every child opens a session of its own."""
    while True:
        os.setsid()
        os.write(counter, b"x")
        if os.fork():
            os._exit(0)


def daemon_that_ignores_everything(counter: int) -> None:
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    os.write(counter, b"x")
    signal.sigwait({signal.SIGALRM})


def hostile_script(counter: int, reaper: int) -> None:
    """Tries to kill its reaper and to stop it, then leaves a tree behind."""
    for number in (signal.SIGKILL, signal.SIGSTOP):
        with contextlib.suppress(PermissionError):
            os.kill(reaper, number)
    for _ in range(CHAINS):
        started(lambda: fork_for_ever(counter))
    started(lambda: daemon_that_ignores_everything(counter))
    started(lambda: os.kill(os.getpid(), signal.SIGSTOP))


def run_and_reap(uid: int, outer: Confine, inner: Confine, strike: Callable[[int], object]) -> None:
    """As the reaper: start the script below, let it fork for a while, strike once, reap until nobody is left."""
    signal.alarm(RUN_LIMIT_S)
    drop_to(uid)
    privileges.no_new_privileges()
    privileges.become_subreaper()
    outer()
    ours, theirs = os.pipe()
    reaper = os.getpid()

    def script() -> None:
        os.setpgid(0, 0)
        inner()
        hostile_script(theirs, reaper)

    group = started(script)
    os.close(theirs)
    for _ in range(GENERATIONS):
        os.read(ours, 1)
    strike(group)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, wait.ANY_CHILD & ~os.WNOHANG)


def survivors_of(uid: int, outer: Confine, inner: Confine, strike: Callable[[int], object]) -> tuple[int, bool, int]:
    """Processes left when the reaper is done, whether a bystander of the same uid lives, and how the reaper ended."""
    bystander = started(lambda: (drop_to(uid), signal.pause()))
    reaper = started(lambda: run_and_reap(uid, outer, inner, strike))
    status = os.waitstatus_to_exitcode(os.waitpid(reaper, 0)[1])
    lives = os.waitpid(bystander, os.WNOHANG) == (0, 0)
    others = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {1, bystander}
    left = sum(not is_zombie(pid) for pid in others)
    for pid in (*others, bystander):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left, lives, status


def is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill_all(_group: int) -> None:
    os.kill(-1, signal.SIGKILL)


def kill_group(group: int) -> None:
    os.killpg(group, signal.SIGKILL)
    signal.alarm(1)


def ends(uid: int, runs: int, outer: Confine, inner: Confine, strike: Callable[[int], object]) -> list[str]:
    """How each of several runs ended, in words."""

    def program() -> str:
        said = []
        for _ in range(runs):
            left, lives, status = survivors_of(uid, outer, inner, strike)
            said.append(f"{'some' if left else 'none'} left, bystander {'lives' if lives else 'dead'}, reaper {status}")
        return "\n".join(said)

    return in_a_pid_namespace(program).splitlines()


@pytest.mark.slow
@pytest.mark.sized
@pytest.mark.parametrize("uid", [0, NOBODY])
def test_one_kill_of_all_ends_every_tree_and_nothing_else(uid: int) -> None:
    outcomes = ends(uid, RUNS, landlock.scope_signals, SCOPED, kill_all)
    assert outcomes == ["none left, bystander lives, reaper 0"] * RUNS


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_without_the_domain_of_the_reaper_the_bystander_dies(uid: int) -> None:
    assert ends(uid, 1, unconfined, SCOPED, kill_all) == ["none left, bystander dead, reaper 0"]


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_without_the_domain_of_the_script_the_reaper_dies(uid: int) -> None:
    [outcome] = ends(uid, 1, landlock.scope_signals, unconfined, kill_all)
    assert outcome == f"some left, bystander lives, reaper {-signal.SIGKILL}"


@pytest.mark.slow
@pytest.mark.parametrize("uid", [0, NOBODY])
def test_killing_the_group_of_the_script_is_not_enough(uid: int) -> None:
    """The reaper then waits for ever, which its alarm ends."""
    [outcome] = ends(uid, 1, landlock.scope_signals, SCOPED, kill_group)
    assert outcome == f"some left, bystander lives, reaper {-signal.SIGALRM}"

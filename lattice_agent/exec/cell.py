"""Makes one cell: the place, the launcher that waits in it, the init that ends it.

Who is who, by parent, at the levels with namespaces::

    spawner --clone--> maker (pid 1 of the cell) --exec--> init (native/cell.c)
                                                             |  fork
                                                           launcher --exec--> interpreter

* The maker is born in a new pid namespace and makes the rest of the place itself, so several cells are built at a time
  and the spawner never waits for one. Not root: it goes through the template's user namespace first and is born from
  there (``_through_user_namespace``), still as the spawner's child.
* Init and launcher are executed afresh: nothing of the spawner's memory is left in them.
* The maker sends the descriptors of the place to the spawner over a socket of their own. That socket's end-of-file,
  when native/cell was executed, says that the cell is complete. What fails is sent there as the name of the step.
* The agent's ends of the channels go to the agent. The task does not pass through the spawner: what the agent sends
  reaches the launcher directly, and the end of the init (its pidfd) tells the agent that the cell is empty.

Level landlock: the same without namespaces; the maker is a child subreaper in an enclosing Landlock domain.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket

import prctl

from lattice_agent.exec import blueprint, cell_steps, template
from lattice_agent.exec.blueprint import Blueprint, Build
from lattice_agent.exec.kernel import descriptors, namespaces, seqpacket, signals
from lattice_agent.exec.step import StepError, carry_out

REASON_MOST = 512
FREE_FD = 16
"""From here on descriptors have no fixed meaning."""
HANDED_OVER = 5
"""Descriptors for the agent: control socket, script file, status, stdout, stderr. Of a cell with namespaces the
spawner's come after them: tmpfs, /proc, and what is held."""
FINISHED, THROUGH, FAILED = b"+", b"=", b"-"
"""First byte of what a maker says: cell finished; born through a user namespace (pid follows); failed (why follows)."""


def start(build: Build, cgroup: int | None = None) -> tuple[int, int, socket.socket, int]:
    """Begin to make a cell: process id and pidfd of its maker, a socket that will tell, process id of a helper or 0.

    Without root the maker is born through a helper: 0 and -1 for now, the socket tells (THROUGH). Raises OSError if not
    even a process can be made.
    """
    ours, theirs = seqpacket.pair()
    through = build.user_namespace >= 0
    try:
        flags = namespaces.NEWPID if build.blueprint.namespaces and not through else 0
        pid, pidfd = namespaces.clone(flags, cgroup)
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        _make(build, theirs.detach(), through)
    theirs.close()
    if through:
        os.close(pidfd)
        return 0, -1, ours, pid
    return pid, pidfd, ours, 0


def _make(build: Build, report_fd: int, through: bool) -> None:
    """The maker's life; never returns."""
    report = _keep_needed(build, report_fd)
    try:
        signals.unblock_all()
        prctl.set_dumpable(1)  # the spawner's files in /proc/self belong to root; native/cell undoes this
        steps = cell_steps.steps_for(build)
        carry_out(tuple(step for step in steps if step.name in cell_steps.ON_HOST), build)
        if through:
            _through_user_namespace(build, report)
        carry_out(tuple(step for step in steps if step.name not in cell_steps.ON_HOST), build)
        handed = [build.control[0], build.script, build.status[0], build.stdout[0], build.stderr[0]]
        own = [fd for fd in (build.tmpfs, build.proc, build.held) if fd >= 0]
        report.sendmsg([FINISHED], seqpacket.rights(handed + own))
        ruleset = blueprint.RULESET_FD if build.ruleset >= 0 else 0
        words = (*build.script_ids, ruleset, build.clear_capabilities, build.empty_bounding_set)
        _become_init(build.program, [b"lattice-cell", *(str(word).encode() for word in words)])
    except (StepError, OSError) as error:
        report.send(FAILED + str(error).encode("utf-8", "replace")[:REASON_MOST])
    finally:
        os._exit(1)


def _become_init(program: int, argv: list[bytes]) -> None:
    try:
        signals.hold_back((signal.SIGTERM, signal.SIGUSR2))
        os.execve(program, argv, {})  # noqa: S606 - an exec without a shell is the point
    except OSError as error:
        raise StepError(f"exec of native/cell: {error.strerror}") from error


def open_program() -> int:
    """The built native/cell. Raises StepError where it was not built."""
    path = os.path.join(os.path.dirname(__file__), "native", "cell")
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StepError(f"{path} is missing: it is built when the package is installed, with a C compiler") from None


def _keep_needed(build: Build, report_fd: int) -> socket.socket:
    """Close every descriptor that the build does not need; the needed ones move out of the way of fixed numbers."""
    needed = [report_fd, build.program, build.mount_namespace, build.user_namespace]
    report_fd, build.program, build.mount_namespace, build.user_namespace = (
        fd if fd < 0 else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FREE_FD) for fd in needed
    )
    kept = (report_fd, build.program, build.mount_namespace, build.user_namespace)
    descriptors.keep_only({0, 1, 2, *(fd for fd in kept if fd >= 0)})
    for taken in range(3, blueprint.RULESET_FD + 1):
        os.dup2(0, taken, inheritable=False)  # so that nothing else gets the numbers of native/cell
    return socket.socket(fileno=report_fd)


def _through_user_namespace(build: Build, report: socket.socket) -> None:
    """Become the namespace's owner, then be born again inside it as the spawner's child; the first self ends."""
    namespaces.enter(build.user_namespace, namespaces.NEWUSER)
    os.close(build.user_namespace)
    namespaces.enter(build.mount_namespace, namespaces.NEWNS)
    pid, pidfd = namespaces.clone(namespaces.NEWUSER | namespaces.NEWPID | namespaces.PARENT)
    if pid:
        report.sendmsg([THROUGH + str(pid).encode()], seqpacket.rights([pidfd]))
        os._exit(0)


class Template:
    """A template, made by a child of its own (template). Ready after ``finish``; until then ``fileno`` tells when."""

    def __init__(self, plan: Blueprint, script_ids: range, inside: tuple[int, int] | None) -> None:
        """``script_ids``: those that scripts may have. ``inside``: for an unprivileged spawner, what its own user and
        group id are called inside."""
        self.plan = plan
        self.mount_namespace = self.user_namespace = -1
        ours, theirs = seqpacket.pair()
        self._socket: socket.socket | None = ours
        outside = (os.geteuid(), os.getegid())
        self.pid, pidfd = namespaces.clone(namespaces.NEWUSER if inside else 0)
        if self.pid == 0:
            _make_template(plan, script_ids, inside, outside, theirs)
        os.close(pidfd)
        theirs.close()

    @property
    def ready(self) -> bool:
        """Whether cells can be built from it."""
        return self.mount_namespace >= 0

    def fileno(self) -> int:
        """Readable when the maker has finished; -1 afterwards."""
        return -1 if self._socket is None else self._socket.fileno()

    def finish(self) -> str:
        """Take what the maker has sent; empty, or why there is no template."""
        assert self._socket is not None
        data, passed = seqpacket.receive(self._socket, REASON_MOST) or (b"", [])
        self._socket.close()
        self._socket = None
        if data != FINISHED:
            seqpacket.close_all(passed)
            return data[1:].decode("utf-8", "replace") or "the template's maker died"
        self.mount_namespace, self.user_namespace = (*passed, -1)[:2]
        return ""

    def close(self) -> None:
        """Let it go; cells that were built from it stay."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        seqpacket.close_all([fd for fd in (self.mount_namespace, self.user_namespace) if fd >= 0])
        self.mount_namespace = self.user_namespace = -1


def _make_template(
    plan: Blueprint,
    script_ids: range,
    inside: tuple[int, int] | None,
    outside: tuple[int, int],
    report: socket.socket,
) -> None:
    try:
        report_fd = fcntl.fcntl(report, fcntl.F_DUPFD_CLOEXEC, FREE_FD)
        descriptors.keep_only({0, 1, 2, report_fd})
        report.detach()
        report = socket.socket(fileno=report_fd)
        prctl.set_dumpable(1)
        if inside:
            namespaces.map_single_ids(inside, outside)
        stage = template.Stage(plan, script_ids, user_namespace=inside is not None)
        # After the root is sealed there is no /proc to open these from.
        carry_out(template.TEMPLATE_STEPS[:1], stage)
        held = [os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)]
        if inside:
            held.append(os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC))
        carry_out(template.TEMPLATE_STEPS[1:], stage)
        report.sendmsg([FINISHED], seqpacket.rights(held))
    except (StepError, OSError) as error:
        report.send(FAILED + str(error).encode("utf-8", "replace")[:REASON_MOST])
    finally:
        os._exit(0)

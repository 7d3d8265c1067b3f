"""Makes one cell: the place, the launcher that waits in it, the init that ends it.

Who is who, by parent::

    spawner --posix_spawn--> helper, which makes the maker and ends
            --clone3--> maker (pid 1 of the cell) --exec--> init (native/cell.c)
                                                              |  fork
                                                            launcher --exec--> interpreter

* Helper and maker are native/maker.c. What they do is written down here (``cell_steps``, ``kernel.recipe``) and sent to
  the helper with the descriptors that it needs: the spawner never waits for it, and several cells are built at a time.
* The maker is born in a new pid namespace, as the spawner's child. Without root the helper enters the template's user
  namespace before that, so that the maker is born from there; with one id only, into a user namespace of its own.
* Nothing of the spawner's memory is in any of them.
* The maker sends the descriptors of the place to the spawner over a socket of their own. That socket's end-of-file,
  when native/cell was executed, says that the cell is complete. What fails is sent there as well.
* The agent's ends of the channels go to the agent. The task does not pass through the spawner: what the agent sends
  reaches the launcher directly, and the end of the init (its pidfd) tells the agent that the cell is empty.

Level landlock: the same without namespaces; the maker is a child subreaper in an enclosing Landlock domain.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Sequence

import prctl

from lattice_agent.exec import blueprint, cell_steps, template
from lattice_agent.exec.blueprint import Blueprint, Build
from lattice_agent.exec.id_mapping import NoMappingError
from lattice_agent.exec.kernel import descriptors, libc, namespaces, seqpacket
from lattice_agent.exec.step import StepError, carry_out

REASON_MOST = 512
FREE_FD = 16
"""From here on descriptors have no fixed meaning."""
MAKER = "lattice-maker"
RECIPE_FD = 3
"""Where native/maker.c finds its socket."""
HANDED_OVER = 5
"""Descriptors for the agent: control socket, script file, status, stdout, stderr. Of a cell with namespaces the
spawner's come after them: tmpfs, /proc, and what is held."""
FINISHED, BORN, FAILED, UNMAPPED = b"+", b"=", b"-", b"~"
"""First byte of what a maker says: finished; the maker is born (its process id follows); failed (why follows); of a
template, no subordinate ids can be had (why follows)."""
_BORN = struct.Struct("=4sI")
_AT_EMPTY_PATH = 0x1000


class Order:
    """A cell as it is ordered from a maker: the recipe, for any number of cells that differ in nothing."""

    def __init__(self, build: Build, *, grouped: bool) -> None:
        """Raises StepError if a step cannot be written down. ``grouped``: the cell is born in a cgroup of its own."""
        self.recipe = build.recipe
        self._bytes = _write_down(build, grouped=grouped)

    def start(self, passed: list[int], *, at_once: bool = False) -> tuple[socket.socket, int]:
        """Begin to make a cell: a socket that will tell, process id of the helper.

        posix_spawn(3) waits until its child is executed, which is soon unless the processors are full of others.
        ``at_once``: do not wait; that costs a copy of this process.

        ``passed``: descriptors of native/cell, the template's mount namespace and user namespace, and the cgroup, as
        far as there are any. Raises OSError if not even a process can be made.
        """
        assert len(passed) == self.recipe.passed
        ours, theirs = seqpacket.pair()
        try:
            ours.sendmsg([self._bytes], seqpacket.rights(passed))
            program = f"/proc/self/fd/{passed[0]}"
            if at_once:
                return ours, _fork_and_execute(program, theirs.fileno())
            in_place = (os.POSIX_SPAWN_DUP2, theirs.fileno(), RECIPE_FD)
            pid = os.posix_spawn(program, [MAKER], {}, file_actions=[in_place])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours, pid


def _fork_and_execute(program: str, channel: int) -> int:
    pid, pidfd = namespaces.clone(0)
    if pid:
        os.close(pidfd)
        return pid
    try:
        os.dup2(channel, RECIPE_FD)
        os.execve(program, [MAKER], {})  # noqa: S606 - an exec without a shell is the point
    finally:
        os._exit(1)


def _write_down(build: Build, *, grouped: bool) -> bytes:
    """The recipe of a whole cell. The descriptors of the build become places in it."""
    recipe, through = build.recipe, build.in_user_namespace
    program = recipe.pass_on()
    if build.mount_namespace >= 0:
        build.mount_namespace = recipe.pass_on()
    if through:
        build.user_namespace = recipe.pass_on()
    group = recipe.pass_on() if grouped else None
    steps = cell_steps.steps_for(build)
    recipe.begin("birth")
    if not through:
        recipe.born_again(namespaces.PARENT | (namespaces.NEWPID if build.blueprint.namespaces else 0), group)
    if through:
        namespaces.enter(build.user_namespace, namespaces.NEWUSER, recipe.call)
    cell_steps.write_down(tuple(step for step in steps if step.name in cell_steps.ON_HOST), build)
    if through:
        recipe.begin("birth")
        if build.own_user_namespace:  # from inside of that there would be no way into the template
            namespaces.enter(build.mount_namespace, namespaces.NEWNS, recipe.call)
        own = namespaces.NEWUSER if build.own_user_namespace else 0
        recipe.born_again(own | namespaces.NEWPID | namespaces.PARENT, group)
    cell_steps.write_down(tuple(step for step in steps if step.name not in cell_steps.ON_HOST), build)
    recipe.begin("hand-over")
    for_the_agent = (build.control[0], build.script, build.status[0], build.stdout[0], build.stderr[0])
    recipe.hand_over([fd for fd in (*for_the_agent, build.tmpfs, build.proc, build.held) if fd >= 0])
    recipe.begin("exec of native/cell")
    _become_init(build, program)
    return recipe.to_bytes()


def _become_init(build: Build, program: int) -> None:
    ruleset = blueprint.RULESET_FD if build.ruleset >= 0 else 0
    words = (*build.script_ids, ruleset, build.clear_capabilities, build.empty_bounding_set)
    arguments = [b"lattice-cell", *(str(word).encode() for word in words)]
    argv = libc.Packed("@" + "P" * (len(arguments) + 1), *arguments, 0)
    build.recipe.call("execveat", program, b"", argv, libc.Packed("@P", 0), _AT_EMPTY_PATH)


def born(told: bytes) -> int:
    """The maker's process id, from what its helper says."""
    return int(_BORN.unpack(told)[1])


def open_program() -> int:
    """The built native/cell. Raises StepError where it was not built."""
    path = os.path.join(os.path.dirname(__file__), "native", "cell")
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StepError(f"{path} is missing: it is built when the package is installed, with a C compiler") from None


class Template:
    """A template, made by a child of its own (template). Ready after ``finish``; until then ``fileno`` tells when."""

    def __init__(self, plan: Blueprint, script_ids: Sequence[int], ids: int, in_range: int = 0) -> None:
        """``script_ids``: those that scripts may have. ``ids``: HOST_IDS, ONE_ID or ID_RANGE, and then how many."""
        self.plan = plan
        self.ids = ids
        self.unmapped = False
        """It failed because no subordinate ids can be had."""
        self.mount_namespace = self.user_namespace = -1
        self.system_directories: tuple[str, ...] = ()
        """Those that are mounts of their own."""
        ours, theirs = seqpacket.pair()
        self._socket: socket.socket | None = ours
        self.pid, pidfd = namespaces.clone(0)
        if self.pid == 0:
            _make_template(template.Stage(plan, script_ids, ids=ids, in_range=in_range), theirs)
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
        try:
            data, passed = seqpacket.receive(self._socket, REASON_MOST) or (b"", [])
        except seqpacket.CutMessageError as error:  # no descriptor left: it is made again for the next cell
            return str(error)
        finally:
            self._socket.close()
            self._socket = None
        if data[:1] != FINISHED:
            seqpacket.close_all(passed)
            self.unmapped = data[:1] == UNMAPPED
            return data[1:].decode("utf-8", "replace") or "the template's maker died"
        self.system_directories = tuple(os.fsdecode(data[1:]).split("\0")) if data[1:] else ()
        self.mount_namespace, self.user_namespace = (*passed, -1)[:2]
        return ""

    def close(self) -> None:
        """Let it go; cells that were built from it stay."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        seqpacket.close_all([fd for fd in (self.mount_namespace, self.user_namespace) if fd >= 0])
        self.mount_namespace = self.user_namespace = -1


def _make_template(stage: template.Stage, report: socket.socket) -> None:
    try:
        report_fd = fcntl.fcntl(report, fcntl.F_DUPFD_CLOEXEC, FREE_FD)
        descriptors.keep_only({0, 1, 2, report_fd})
        report.detach()
        report = socket.socket(fileno=report_fd)
        prctl.set_dumpable(1)
        steps = template.steps_for(stage)
        carry_out(tuple(step for step in steps if step.name in template.MAKE_NAMESPACES), stage)
        # After the root is sealed there is no /proc to open these from.
        held = [os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)]
        if stage.user_namespace:
            held.append(os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC))
        carry_out(tuple(step for step in steps if step.name not in template.MAKE_NAMESPACES), stage)
        places = os.fsencode("\0".join(template.overlay_places(stage)))
        report.sendmsg([FINISHED + places], seqpacket.rights(held))
    except (StepError, OSError, NoMappingError) as error:
        kind = UNMAPPED if isinstance(error, NoMappingError) else FAILED
        report.send((kind + str(error).encode("utf-8", "replace"))[:REASON_MOST])
    finally:
        os._exit(0)

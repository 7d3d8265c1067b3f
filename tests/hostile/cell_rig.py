"""What tests of hostile scripts in cells share: a world to fight in, an agent in it, the corpus, looks from outside.

Every fight takes place in a world: pid, mount, network, ipc and uts namespaces of its own with a private /tmp, all of
which are gone when the world is closed or its time is over, whatever the scripts did. The agent lives in there, and so
do the scripts that are run plainly to see that they would succeed. A protection that fails costs the test and not the
machine.
"""

import fcntl
import json
import os
import pty
import re
import resource
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).parent / "corpus"
PYTHON = "/usr/bin/python3"
"""The one that cells see."""
WORLD_S = 300
"""No world is older than this."""
WORLD_FILES = 512 * 1024 * 1024
PLACES = ("/tmp", "/dev/shm", "/run")
"""Directories that every world has its own of, each of WORLD_FILES bytes."""
QUEUES = "/run/queues"
"""Where a world shows its POSIX message queues (mq_overview(7))."""
NUMBERS_APART = "echo 5000 > /proc/sys/kernel/ns_last_pid"
"""Process ids in the world are not those in a cell, so that a script cannot take its own child for the agent."""
SETTLE_S = 10
"""How long whatever is left gets to be gone. Looks, because /proc sends no events."""
ANSWER_S = 45
"""For an outcome, on top of the script's own clock."""
ROOT, NOBODY = 0, 62_000 + os.getpid() % 2_000
"""An id that is nobody's, also not that of tests that run beside: the kernel counts a user's processes, whoever made
them."""
RANGED = 64_000 + os.getpid() % 1_500
"""An ordinary user who has a login name, subordinate ids and supplementary groups."""
AGENTS = {"root": ROOT, "nobody": NOBODY, "ranged": RANGED}
SOME_GROUPS = (4, 27)
MIB = 1 << 20
GIVEN = range(2_000_000, 2_065_536)
"""Subordinate ids of RANGED: above those of this host's own accounts."""
_RANGE = f"rm -f /run/given; echo lattice-test:{GIVEN.start}:{len(GIVEN)} > /run/given"
GIVEN_FILES = {
    "/etc/passwd": f"(echo lattice-test:x:{RANGED}:{RANGED}::/:/bin/sh; cat /etc/passwd) > /run/given",
    "/etc/subuid": _RANGE,
    "/etc/subgid": _RANGE,
}
"""Files that every world has its own of, and how each is made."""
OUTSIDE_LIMITS = {
    resource.RLIMIT_CPU: 20,
    resource.RLIMIT_AS: 4 << 30,
    resource.RLIMIT_FSIZE: 64 * MIB,
    resource.RLIMIT_NPROC: 1000,
    resource.RLIMIT_CORE: 0,
}


# --- the corpus ---


def script(name: str) -> str:
    """A script of the corpus. What it imports from ``attempts`` is put in front of it: a cell sees only the script."""
    text = (CORPUS / name).read_text()
    lines = text.splitlines(keepends=True)
    own = [line for line in lines if not line.startswith("from attempts import")]
    if len(own) == len(lines):
        return text
    return (CORPUS / "attempts.py").read_text() + "".join(own)


def interpreter_of(name: str) -> str:
    """Which interpreter a script of the corpus is for."""
    return {".py": "python3", ".sh": "sh"}[Path(name).suffix]


def results(output: str) -> dict[str, str]:
    """What the attempts of a script reported: name to result."""
    return dict(line.split(": ", 1) for line in output.splitlines() if ": " in line)


# --- the world ---


def kept_in_sight(paths: list[str]) -> tuple[list[str], list[str]]:
    """Commands of the shell before and after the PLACES are mounted, so that what this process needs of them stays."""
    hidden = [path for path in dict.fromkeys(paths) if path.startswith(tuple(f"{place}/" for place in PLACES))]
    numbered = list(enumerate(hidden, 3))
    hold = [f"exec {number}< '{path}'" for number, path in numbered]
    show = [
        f"mkdir -p '{path}'; mount --no-canonicalize --bind /proc/self/fd/{number} '{path}'; exec {number}<&-"
        for number, path in numbered
    ]
    return hold, show


class World:
    """Namespaces with nothing in them but a first process that reaps.

    ``memory_bytes``, ``tasks``: bounds of all of it together.
    """

    def __init__(self, memory_bytes: int | None = None, tasks: int | None = None) -> None:
        self.memory = MemoryGroup(memory_bytes) if memory_bytes else None
        self._groups = [*filter(None, [self.memory]), *([TaskGroup(tasks)] if tasks else [])]
        given = [f"{script}; mount --bind /run/given {path}" for path, script in GIVEN_FILES.items()]
        mounts = [f"mount -t tmpfs -o mode=1777,size={WORLD_FILES} tmpfs {place}" for place in PLACES]
        paths = [str(REPOSITORY), sys.base_prefix, sys.prefix]
        hold, show = kept_in_sight(paths)
        queues = f"mkdir {QUEUES}; mount -t mqueue mqueue {QUEUES}"
        rest = ["ip link set lo up", queues, NUMBERS_APART, "echo", f"exec sleep {WORLD_S}"]
        prepare = "; ".join(["trap '' CHLD", *hold, *mounts, *show, *given, *rest])
        reachable = [sys.executable, str(REPOSITORY / "tools/reachable.py"), *paths, "--"]
        namespaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--mount-proc", "--propagation", "private"]
        self._holder = subprocess.Popen(
            ["unshare", *namespaces, "--fork", "--kill-child", *reachable, "sh", "-c", prepare],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=self._join,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.init = int(Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text())
        # A kill(-1) in the wrong place would be the end of more than a test.
        assert os.readlink(f"/proc/{self.init}/ns/pid") != os.readlink("/proc/self/ns/pid")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything in it."""
        pidfd = os.pidfd_open(self.init)
        self._holder.kill()
        self._holder.communicate()
        select.select([pidfd], [], [], SETTLE_S)
        os.close(pidfd)
        for group in self._groups:
            group.close()

    def start(
        self,
        argv: list[str],
        *,
        uid: int = ROOT,
        environment: Mapping[str, str] | None = None,
        directory: str = "/",
        limits: Mapping[int, int] | None = None,
        terminal: int | None = None,
        **options: Any,
    ) -> "subprocess.Popen[bytes]":
        """A process in the world; it dies with the ``nsenter`` that is returned. ``terminal``: its controlling one."""

        def confine() -> None:
            self._join()
            if terminal is not None:
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
            for number, value in (limits or {}).items():
                resource.setrlimit(number, (value, value))

        groups = f"--groups={','.join(map(str, SOME_GROUPS))}" if uid == RANGED else "--clear-groups"
        ids = [f"--reuid={uid}", f"--regid={uid}", groups, "--pdeathsig=KILL"]
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        return subprocess.Popen(
            [
                *("nsenter", "-t", str(self.init), "-a", "--", "setpriv", *ids),
                *("env", "-i", f"--chdir={directory}", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", *variables, *argv),
            ],
            preexec_fn=confine,
            start_new_session=terminal is not None,
            **options,
        )

    def path(self, inside: str) -> Path:
        """A path in the world as it is reached from outside."""
        return Path(f"/proc/{self.init}/root{inside}")

    def processes(self) -> "list[Process]":
        """Everything alive in it but its first process."""
        found = []
        for entry in self.path("/proc").iterdir():
            if entry.name.isdigit() and entry.name != "1":
                with suppress(OSError):
                    found.append(Process.look(entry))
        return [process for process in found if process.state not in "ZX"]

    def outer_pid(self, pid: int) -> int:
        """What the test's own namespace calls a process of the world (NSpid in proc_pid_status(5))."""
        own = os.readlink(f"/proc/{self.init}/ns/pid")
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if not entry.name.isdigit() or os.readlink(entry / "ns/pid") != own:
                    continue
                if inner_pid(int(entry.name)) == pid:
                    return int(entry.name)
        raise AssertionError(f"no process {pid} in the world")

    def _join(self) -> None:
        for group in self._groups:
            group.join()


def only_child(pid: int) -> int:
    """Of an ``nsenter``: the process in the world, as the test's namespace calls it."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def inner_pid(pid: int) -> int:
    """What the innermost namespace of a process calls it."""
    found = re.search(r"^NSpid:.*\s(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@dataclass(frozen=True)
class Process:
    """A process of a world as it was seen; ``pid`` and ``parent`` as the world calls them."""

    pid: int
    parent: int
    name: str
    arguments: str
    state: str
    pid_namespace: str
    uid: int
    threads: int

    @classmethod
    def look(cls, entry: Path) -> Self:
        status = dict(line.split(":\t", 1) for line in (entry / "status").read_text().splitlines() if ":\t" in line)
        return cls(
            int(status["Pid"]),
            int(status["PPid"]),
            status["Name"],
            (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip(),
            status["State"][0],
            os.readlink(entry / "ns/pid") if status["State"][0] not in "ZX" else "",
            int(status["Uid"].split()[0]),
            int(status.get("Threads", 1)),
        )


_PEAKS = ("memory.max_usage_in_bytes", "memory.kmem.tcp.max_usage_in_bytes")


class Group:
    """A group of one controller (cgroup v1), below our own."""

    def __init__(self, controller: str) -> None:
        lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
        own = next(path for _, name, path in lines if name == controller)
        self._path = Path(tempfile.mkdtemp(prefix="lattice-test-", dir=f"/sys/fs/cgroup/{controller}{own}"))

    def join(self) -> None:
        (self._path / "cgroup.procs").write_text("0")

    def close(self) -> None:
        deadline = time.monotonic() + SETTLE_S
        while (self._path / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._path.rmdir()


class TaskGroup(Group):
    """The outer limit of what forks without end, also as root, whom RLIMIT_NPROC does not bind."""

    def __init__(self, limit: int) -> None:
        super().__init__("pids")
        (self._path / "pids.max").write_text(str(limit))


class MemoryGroup(Group):
    """The outer limit of memory, and the measure of what is used.

    It counts what no process shows: files in memory, pipes, sockets, page tables.
    """

    def __init__(self, limit: int) -> None:
        super().__init__("memory")
        (self._path / "memory.limit_in_bytes").write_text(str(limit))
        (self._path / "memory.kmem.tcp.limit_in_bytes").write_text(str(limit))  # not counted before it has a limit

    def peak(self) -> int:
        """The most that was in use since ``forget``."""
        return sum(int((self._path / name).read_text()) for name in _PEAKS)

    def forget(self) -> int:
        """Drop what is only cached and start to measure anew; the bytes in use now."""
        (self._path / "memory.force_empty").write_text("0")
        for name in _PEAKS:
            (self._path / name).write_text("0")
        return self.peak()


# --- plainly ---


@dataclass(frozen=True)
class Plain:
    """How a script ended that nothing confined."""

    status: int
    stdout: str
    stderr: str

    @property
    def results(self) -> dict[str, str]:
        return results(self.stdout)


def plainly(
    world: World,
    name: str,
    *,
    uid: int = ROOT,
    environment: Mapping[str, str] | None = None,
    limits: Mapping[int, int] | None = None,
    timeout_s: float = 20.0,
    under_a_shell: bool = False,
    **options: Any,
) -> Plain:
    """Run a script of the corpus without any sandbox, in a world, under the outer limits. It is killed at its time.

    ``under_a_shell``: as the child of one that says ``the parent went on`` afterwards.
    """
    directory = world_directory(world, uid)
    path = world.path(directory) / "script"
    path.write_text(script(name))
    path.chmod(0o644)
    argv = [PYTHON if name.endswith(".py") else "sh", f"{directory}/script"]
    if under_a_shell:
        argv = ["sh", "-c", '"$@"; echo the parent went on', "sh", *argv]
    # Files, not pipes: a process that stays behind would keep those open.
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = world.start(
            argv,
            uid=uid,
            environment={"HOME": directory, "TMPDIR": directory, **(environment or {})},
            directory=directory,
            limits={**OUTSIDE_LIMITS, **(limits or {})},
            **{"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr, **options},
        )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        texts = [os.pread(file.fileno(), MIB, 0).decode(errors="replace") for file in (stdout, stderr)]
        return Plain(process.returncode, *texts)


def world_directory(world: World, uid: int = ROOT) -> str:
    """A new directory below the world's /tmp; its path inside."""
    name = f"/tmp/dir-{secrets.token_hex(6)}"
    world.path(name).mkdir(mode=0o755)
    os.chown(world.path(name), uid, uid)
    return name


# --- confined ---


@dataclass(frozen=True)
class Seen:
    """An outcome as the agent told it."""

    kind: str
    message: str = ""
    exit_code: int | None = None
    signal: int | None = None
    clock: str | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    max_rss_bytes: int = 0
    stdout: str = ""
    stderr: str = ""
    produced: int = 0
    killed: int = 0
    uncertain: bool = False
    number: int = field(default=0, compare=False)

    @property
    def results(self) -> dict[str, str]:
        return results(self.stdout)


class Agent:
    """``cell_agent`` in a world, as root or as an ordinary user."""

    def __init__(
        self,
        world: World,
        uid: int = ROOT,
        *,
        without: tuple[str, ...] = (),
        keep: str = "strict",
        has_a_key: bool = False,
        **options: Any,
    ) -> None:
        told = json.dumps({"without": without, "keep": keep, "has_a_key": has_a_key})
        self.world = world
        self.uid = uid
        self.secret = f"hush-{secrets.token_hex(16)}"
        self._numbers = count(1)
        self._answers: dict[int, Seen] = {}
        self._pending = b""
        self._nsenter = world.start(
            [sys.executable, "-m", "tests.hostile.cell_agent", told],
            uid=uid,
            environment={"PYTHONPATH": str(REPOSITORY), "AGENT_SECRET": self.secret},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **options,
        )
        assert self._nsenter.stdin is not None
        assert self._nsenter.stdout is not None
        self._to, self._from = self._nsenter.stdin, self._nsenter.stdout
        self.outcome(0)  # it says when it is there

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, and end it if it does not go."""
        with suppress(BrokenPipeError):
            self._to.close()
        try:
            self._nsenter.wait(SETTLE_S)
        except subprocess.TimeoutExpired:
            self._nsenter.kill()
            self._nsenter.wait()
        self._from.close()

    @property
    def outer_pid(self) -> int:
        """Process id of the agent, as the test's namespace calls it."""
        return only_child(self._nsenter.pid)

    @property
    def pid(self) -> int:
        """Process id of the agent, as the world calls it."""
        return inner_pid(self.outer_pid)

    @property
    def spawner(self) -> int:
        """Process id of its spawner, as the world calls it."""
        agent = self.pid
        return next(process.pid for process in self.world.processes() if process.parent == agent)

    def begin(
        self,
        name: str,
        *,
        level: str = "strict",
        environment: Mapping[str, str] | None = None,
        paths: Mapping[str, list[str]] | None = None,
        work_disk: str | None = None,
        text: str | None = None,
        **limits: Any,
    ) -> int:
        """Have a script of the corpus (or ``text``, which is for ``name`` as interpreter) run; its number."""
        number = next(self._numbers)
        request = {
            "number": number,
            "script": script(name) if text is None else text,
            "interpreter": interpreter_of(name) if text is None else name,
            "level": level,
            "environment": dict(environment or {}),
            "paths": dict(paths or {}),
            "work_disk": work_disk,
            "limits": limits,
        }
        self._to.write(json.dumps(request).encode() + b"\n")
        self._to.flush()
        return number

    def outcome(self, number: int, timeout_s: float = ANSWER_S) -> Seen:
        """How the script with that number ended. AssertionError when that is not told in time."""
        deadline = time.monotonic() + timeout_s
        while number not in self._answers:
            left = deadline - time.monotonic()
            assert left > 0, f"no outcome within {timeout_s} s"
            if not select.select([self._from], [], [], left)[0]:
                continue
            piece = os.read(self._from.fileno(), 1 << 16)
            assert piece, "the agent is gone"
            *lines, self._pending = (self._pending + piece).split(b"\n")
            for line in lines:
                seen = Seen(**json.loads(line))
                self._answers[seen.number] = seen
        return self._answers.pop(number)

    def run(self, name: str, **options: Any) -> Seen:
        """``begin``, then ``outcome``."""
        return self.outcome(self.begin(name, **options))

    def kill(self) -> None:
        """SIGKILL for the agent alone, if it is still there."""
        with suppress(ValueError, OSError):
            os.kill(self.outer_pid, signal.SIGKILL)
        self._nsenter.wait()


@contextmanager
def an_agent(who: str, *, memory_bytes: int | None = None, tasks: int | None = None, **options: Any) -> Iterator[Agent]:
    """An agent in a world of its own."""
    with World(memory_bytes, tasks) as world, Agent(world, AGENTS[who], **options) as agent:
        yield agent


@contextmanager
def a_terminal() -> Iterator[int]:
    """A pseudo terminal that somebody listens at; its descriptor for those who work at it."""
    theirs, ours = pty.openpty()
    try:
        yield ours
    finally:
        os.close(theirs)
        os.close(ours)


# --- looks from outside ---


def eventually(look: Callable[[], object], expected: object, complaint: Callable[[], str] | None = None) -> None:
    """Look until it is as expected. AssertionError after SETTLE_S, with the last look or what ``complaint`` says."""
    deadline = time.monotonic() + SETTLE_S
    while (seen := look()) != expected:
        if time.monotonic() > deadline:
            raise AssertionError(complaint() if complaint else f"{seen!r} is not {expected!r}")
        time.sleep(0.01)

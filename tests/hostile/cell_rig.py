"""What tests of hostile scripts in cells share: an agent in a world, the corpus, looks from outside.

The agent lives in a world (``tests.hostile.world``), and so do the scripts that are run plainly to see that they would
succeed.
"""

import json
import os
import pty
import resource
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.hostile.world import AGENTS, MIB, REPOSITORY, ROOT, SETTLE_S, Process, World, inner_pid, only_child

CORPUS = Path(__file__).parent / "corpus"
PYTHON = "/usr/bin/python3"
"""The one that cells see."""
ANSWER_S = 45
"""For an outcome, on top of the script's own clock."""
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
        return self.spawner_among(self.world.processes())

    def spawner_among(self, processes: list[Process]) -> int:
        """The same, of processes that were looked at."""
        agent = self.pid
        return next(process.pid for process in processes if process.parent == agent)

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

"""Agents and their tasks as real processes, on what one node keeps on disk.

    with control_plane(place) as plane:  # tests.rigs.steered_plane
        site = Site(place, plane.url, plane.add_node())
        with site.agent() as agent:
            plane.result(plane.create(site.node, site.script("echo done")))

Scripts made by ``Site.script`` append a line to a file when they start: the file system counts the starts.
"""

import os
import select
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crashes.agent_program import Transition
from tests.hostile.rig import alive, children_of, processes_of
from tests.rigs.steered_plane import LIMIT_S, Node, SteeredPlane

COMMAND = Path(sys.executable).with_name("lattice-agent")
CRASHING = Path(__file__).parents[1] / "crashes" / "agent_program.py"
LOOK_S = 0.005


def wait_until(condition: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """The first true value of the condition. Looks, because processes and files of others send no events."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit_s:.0f} s for {what}")
        time.sleep(LOOK_S)
    return found


# --- the agent -------------------------------------------------------------------------------------------------------


@dataclass
class RunningAgent:
    """One life of the agent. ``process.pid`` stays the same through its restart."""

    process: "subprocess.Popen[bytes]"
    log: Path
    spawner: int
    _spawner_end: int
    """A pidfd: a process id may be given to another process, this descriptor may not."""

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_log(self, text: str) -> None:
        """Until the log holds the text."""
        wait_until(lambda: text in self.log_text(), f"{text!r} in the agent's log")

    def stop(self) -> int:
        """SIGTERM once it is up (before that the signal just ends it); the exit code."""
        self.wait_log('"ready"')
        self.process.terminate()
        return self.process.wait(LIMIT_S)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(LIMIT_S)

    def wait_killed(self) -> None:
        """Until the agent has died of a SIGKILL."""
        code = self.process.wait(LIMIT_S)
        assert code == -signal.SIGKILL, f"the agent ended with {code}:\n{self.log_text()}"

    def wait_spawner_gone(self) -> None:
        """Whatever became of the agent, its spawner follows."""
        readable, _, _ = select.select([self._spawner_end], [], [], LIMIT_S)
        assert readable, f"spawner {self.spawner} outlives its agent"


@dataclass(frozen=True)
class Start:
    """A line that a script wrote when it started."""

    task_id: str
    pid: int
    supervisor: int

    def is_gone(self) -> bool:
        """Whether neither its supervisor is alive nor any process that it led to."""
        return not processes_of(self.task_id) and not _is_named(self.supervisor, "lattice-run")


@dataclass
class Site:
    """The machine's side of a node: everything that its agents leave on disk, from life to life."""

    place: Path
    server: str
    """URL that the agents are given."""
    node: Node
    prefix: Sequence[str | Path] = ()
    """Put before the command; changes the user."""
    _lives: int = 0

    @property
    def work(self) -> Path:
        return self.place / "work"

    @property
    def state(self) -> Path:
        return self.place / "state"

    def command(self, *flags: str) -> list[str | Path]:
        """The agent's words, with the token in a file and short periods; later flags win."""
        token = self.place / "token"
        if not token.exists():
            token.touch(mode=0o600)
            token.write_text(self.node.token)
        words = ["-server", self.server, "-node-id", self.node.id, "--token-file", str(token), "-allow-exec=true"]
        if os.geteuid() == 0 and not self.prefix:
            words += ["-allow-root-exec=true"]
        else:
            # Scripts of these tests leave files outside of any cell.
            policy = self.place / "policy.toml"
            policy.write_text('min_level = "host"\ndefault_level = "host"\n')
            words += ["--policy", str(policy)]
        words += ["--state-dir", str(self.state), "-task-work-root", str(self.work)]
        words += ["--poll-interval", "0.1s", "--poll-interval-busy", "0.1s", "-interval", "1s"]
        return [*words, *flags]

    @contextmanager
    def agent(
        self,
        *flags: str,
        steered_by: SteeredPlane | None = None,
        die_at: Transition | None = None,
        fuse: Path | None = None,
    ) -> Iterator[RunningAgent]:
        """A life of the agent, from the moment it has its spawner; what is left of it at the end is killed. ``die_at``
        and ``fuse`` are for one that is steered (``tests.crashes.agent_program``)."""
        program: list[str | Path] = [COMMAND]
        if steered_by is not None:
            program = [sys.executable, "-I", CRASHING, steered_by.steering_file, fuse or "", str(die_at or "")]
        with self.process([*self.prefix, *program, *self.command(*flags)]) as running:
            yield running

    @contextmanager
    def process(self, command: Sequence[str | Path], **environment: str) -> Iterator[RunningAgent]:
        """Any command that becomes an agent."""
        self._lives += 1
        log = self.place / f"agent-{self._lives}.log"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LATTICE_")}
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=environ | environment, cwd="/")
        try:
            spawner = _spawner_of(process, log)
            with _outlived_by_nothing(spawner) as spawner_end:
                agent = RunningAgent(process, log, spawner, spawner_end)
                try:
                    yield agent
                finally:
                    agent.kill()
                agent.wait_spawner_gone()
        finally:
            process.kill()
            process.wait(LIMIT_S)

    def script(self, body: str = "") -> str:
        """A script that says that it has started, and then does what ``body`` says."""
        return f'echo "$LATTICE_TASK_ID $$ $PPID" >> {shlex.quote(str(self.place / "starts"))}\n{body}\n'

    def gate(self, name: str) -> "Gate":
        """Something that a script waits for."""
        return Gate(self.place / f"gate-{name}")

    def starts(self) -> list[Start]:
        """Every start there has been."""
        try:
            lines = (self.place / "starts").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [Start(task_id, int(pid), int(supervisor)) for task_id, pid, supervisor in map(str.split, lines)]

    def wait_starts(self, count: int) -> list[Start]:
        """Until so many scripts have started."""
        wait_until(lambda: len(self.starts()) >= count, f"{count} starts")
        return self.starts()

    def started_once_at_most(self) -> bool:
        return max(Counter(start.task_id for start in self.starts()).values(), default=0) <= 1

    def phases(self) -> Counter[str]:
        """How many tasks the journal holds in each phase; none as long as there is no journal."""
        try:
            with closing(sqlite3.connect(f"file:{self.state}/state.db?mode=rw", uri=True)) as journal:
                return Counter(dict(journal.execute("SELECT phase, count(*) FROM task GROUP BY phase")))
        except sqlite3.OperationalError:
            return Counter()

    def wait_phase(self, phase: str, count: int) -> None:
        wait_until(lambda: self.phases()[phase] == count, f"{count} tasks {phase}")

    def wait_tasks_gone(self) -> None:
        """Until no process of any task that started here is alive, nor a supervisor of one."""
        for start in self.starts():
            wait_until(start.is_gone, f"the end of {start}")

    def work_directories(self) -> list[str]:
        return [path.name for path in self.work.iterdir()] if self.work.exists() else []


@dataclass(frozen=True)
class Gate:
    """Closed until it is opened."""

    path: Path

    @property
    def wait(self) -> str:
        """Shell code that waits for it."""
        return f"while [ ! -e {shlex.quote(str(self.path))} ]; do sleep 0.01; done"

    def open(self) -> None:
        self.path.touch()


def _spawner_of(process: "subprocess.Popen[bytes]", log: Path) -> int:
    def look() -> int | None:
        assert process.poll() is None, f"the agent ended with {process.returncode}:\n{log.read_text()}"
        return next((child for child in children_of(process.pid) if _is_named(child, "lattice-spawn")), None)

    return int(wait_until(look, "the agent's spawner"))


def _is_named(pid: int, name: str) -> bool:
    try:
        return alive(pid) and Path(f"/proc/{pid}/comm").read_text().strip() == name
    except OSError:
        return False


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port on which nothing listens and which the kernel gives to nobody; a server that names it can have it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def _outlived_by_nothing(pid: int) -> Iterator[int]:
    """A pidfd of the process, which is killed at the end: where a test failed, it may not have gone by itself."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)

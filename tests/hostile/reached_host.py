"""A host with what scripts try to reach: an agent at a terminal, secrets, services, programs with privileges."""

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.hostile.cell_agent import LEAKED_PIPE, LEAKED_SOCKET
from tests.hostile.cell_rig import PYTHON, Agent, a_terminal, plainly
from tests.hostile.places import Agents
from tests.hostile.world import AGENTS, ROOT, World, inner_pid, only_child

REFUSED = frozenset({"EPERM", "EACCES", "ENOENT", "EROFS", "ESRCH", "EBADF"})
"""Answers of a protection. EINVAL, EFAULT and their kin come from code that a script should not reach."""
GIVEN = "/run/for-reading"
"""A directory that is shown for reading."""


@dataclass(frozen=True)
class Probe:
    """A script of the corpus and how it is run plainly."""

    name: str
    uid: int = ROOT
    own_world: bool = False
    """It would leave the world unusable."""
    paths: tuple[str, ...] = ()
    """Of the host that its cells are given for reading."""
    refused: frozenset[str] = REFUSED


LISTENER = """
import socket, sys, threading
from contextlib import suppress
def serve(sock):
    sock.listen()
    while True:
        with suppress(OSError), sock.accept()[0] as connection:
            connection.send(b"hello")
            connection.recv(1)
tcp = socket.create_server(("127.0.0.1", 0))
abstract, named = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
abstract.bind("\\0" + sys.argv[1])
named.bind(sys.argv[2])
import os
os.chmod(sys.argv[2], 0o777)
for sock in (tcp, abstract, named):
    threading.Thread(target=serve, args=(sock,)).start()
print(tcp.getsockname()[1], flush=True)
"""

WAITER = """
import os, signal
os.setpgid(0, 0)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
print(flush=True)
signal.pause()
"""


class Host:
    """A world with what there is to be reached: an agent at a terminal, secrets, services, privileged programs."""

    def __init__(self, who: str, undo: ExitStack) -> None:
        self.who = who
        self.world = undo.enter_context(World())
        self.terminal = undo.enter_context(a_terminal())
        self.agent = undo.enter_context(Agent(self.world, AGENTS[who], terminal=self.terminal, stderr=self.terminal))
        self.world.path("/run/secret").write_text("secret")
        self._make_programs()
        self._give(GIVEN)
        self.victim = self._start_victim(undo)
        self.environment = {
            "AGENT": str(self.agent.pid),
            "SPAWNER": str(self.agent.spawner),
            "SECRET_FILE": "/run/secret",
            "UNIX_NAME": "lattice-test",
            "UNIX_PATH": "/run/service",
            "TCP_PORT": self._listen(undo),
            "PROGRAMS": "/run/programs",
            "GIVEN": GIVEN,
            "VICTIM": str(inner_pid(self.victim)),
        }
        self._outside: dict[str, dict[str, str]] = {}

    def _start_victim(self, undo: ExitStack) -> int:
        """A process of the agent's user in which every signal stays pending; its number here."""
        process = self.world.start([PYTHON, "-c", WAITER], uid=self.agent.uid, stdout=subprocess.PIPE)
        undo.enter_context(process)
        undo.callback(process.kill)
        assert process.stdout is not None
        process.stdout.readline()
        return only_child(process.pid)

    def _give(self, place: str) -> None:
        """A directory in which everybody may do everything, as far as permissions go."""
        self.world.path(place).mkdir()
        for name in ("file", "empty"):
            (self.world.path(place) / name).write_text("given" if name == "file" else "")
            (self.world.path(place) / name).chmod(0o666)
        self.world.path(place).chmod(0o777)

    def _listen(self, undo: ExitStack) -> str:
        listener = self.world.start([PYTHON, "-c", LISTENER, "lattice-test", "/run/service"], stdout=subprocess.PIPE)
        undo.enter_context(listener)
        undo.callback(listener.kill)
        assert listener.stdout is not None
        return listener.stdout.readline().decode().strip()

    def _make_programs(self) -> None:
        """id(1) that changes its ids, and cat(1) that gets a capability (vfs_cap_data of capabilities(7))."""
        place = self.world.path("/run/programs")
        place.mkdir()
        for name, source, mode in (
            ("set-user-id", "/usr/bin/id", 0o4755),
            ("set-group-id", "/usr/bin/id", 0o2755),
            ("capable", "/usr/bin/cat", 0o755),
        ):
            shutil.copy(source, place / name)
            os.chmod(place / name, mode)
        os.setxattr(place / "capable", "security.capability", struct.pack("<5I", 0x0200_0001, 1 << 10, 0, 0, 0))

    def plainly(self, probe: Probe) -> dict[str, str]:
        """What the attempts of a probe lead to when nothing confines them. Tried once."""
        if probe.name not in self._outside:
            self._outside[probe.name] = self._try_plainly(probe)
        return self._outside[probe.name]

    def _try_plainly(self, probe: Probe) -> dict[str, str]:
        with self._inherited(), ExitStack() as undo:
            world = undo.enter_context(World()) if probe.own_world else self.world
            terminal = undo.enter_context(a_terminal())
            seen = plainly(
                world,
                f"{probe.name}.py",
                uid=probe.uid,
                environment={
                    **self.environment,
                    "OWN": "/run",
                    "AGENT_SECRET": self.agent.secret,
                },
                terminal=terminal,
                stdin=terminal,
                pass_fds=[LEAKED_PIPE, LEAKED_SOCKET],
            )
        assert (seen.status, seen.stderr) == (0, "")
        return seen.results

    @contextmanager
    def _inherited(self) -> Iterator[None]:
        """The same descriptors left open as the agent leaves."""
        read, write = os.pipe()
        os.write(write, b"secret")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.dup2(read, LEAKED_PIPE)
        os.dup2(theirs.fileno(), LEAKED_SOCKET)
        try:
            with ours, theirs:
                yield
        finally:
            for fd in (read, write, LEAKED_PIPE, LEAKED_SOCKET):
                os.close(fd)


class Hosts(Agents):
    """Agents, each on a host like that."""

    def __init__(self) -> None:
        super().__init__()
        self.hosts: dict[str, Host] = {}

    def make(self, who: str, undo: ExitStack) -> Agent:
        self.hosts[who] = Host(who, undo)
        return self.hosts[who].agent

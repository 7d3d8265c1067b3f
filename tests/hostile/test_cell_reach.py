"""What a script in a cell cannot reach: every attempt works outside, and is refused inside.

Each script makes its attempts plainly in the world of the agent, where they succeed, so that none is judged by how the
kernel dislikes its arguments; and in cells of every kind, where none may. Exceptions are in tables, and checked too.
"""

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from tests.hostile.cell_agent import LEAKED_PIPE, LEAKED_SOCKET
from tests.hostile.cell_rig import (
    AGENTS,
    PYTHON,
    ROOT,
    Agent,
    World,
    a_terminal,
    assert_nothing_left,
    plainly,
)

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

SOMEBODY = 61000
"""An ordinary user, for attempts to become more."""
REFUSED = frozenset({"EPERM", "EACCES", "ENOENT", "EROFS", "ESRCH", "EBADF"})
"""Answers of a protection. EINVAL, EFAULT and their kin come from code that a script should not reach."""
PLACES = [("root", "strict"), ("nobody", "strict"), ("root", "network"), ("root", "landlock"), ("nobody", "landlock")]

ABSENT = {
    "x32 getpid": "ENOSYS", "x32 ptrace": "ENOSYS",  # the kernel is built without CONFIG_X86_X32_ABI
    "crypto": "EAFNOSUPPORT", "ipsec": "EAFNOSUPPORT",  # and without these families
    "kexec_load": "ENOSYS", "init_module": "ENOSYS", "delete_module": "ENOSYS",  # and without these calls
    "read /proc/kcore": "ENOENT", "read /proc/sched_debug": "ENOENT", "write to /proc/sysrq-trigger": "ENOENT",
}  # fmt: skip
"""What the kernel of CI does not have; found out each time by trying. On one that has it, it has to work outside."""

NEVER_DONE = {
    "clock_settime": "EINVAL", "reboot": "EINVAL", "swapon": "ENOENT", "quotactl": "ENOENT", "acct": "ENOENT",
}  # fmt: skip
"""Attempts that nobody wants to succeed outside: what the kernel says after it has checked the privileges."""

KNOWN = {
    ("root", "network"): {"tcp"},  # the host's network is what the level is for
    ("root", "landlock"): {
        "see others", "parent task",  # no pid namespace: names and numbers of processes can be read
        "unix by its path",  # Landlock has no rule about sockets in the file system; their permissions hold
        "read /proc/kallsyms", "read /proc/keys",  # the host's: addresses read as 0, keys are those the user may see
    },
    ("nobody", "landlock"): {
        "see others", "parent task", "unix by its path", "read /proc/kallsyms", "read /proc/keys",
        "AGENT descriptors",  # as above: how many, of a process that is dumpable and of the same user
    },
}  # fmt: skip
"""What a level does not protect against: these succeed."""


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


PROBES = [
    Probe("agent_process"), Probe("clock"), Probe("descriptors"), Probe("devices"), Probe("files_of_the_host"),
    Probe("forbidden_calls"), Probe("foreign_calls"), Probe("kernel_log"), Probe("kernel_settings"), Probe("keyrings"),
    Probe("launcher_memory"), Probe("mounts", own_world=True),
    Probe("namespaces", refused=REFUSED | {"ENOSYS"}),  # clone3
    Probe("other_processes"), Probe("setuid", uid=SOMEBODY, paths=("/run/programs",)),
    Probe("sockets_of_the_host", refused=REFUSED | {"ECONNREFUSED"}),  # a loopback of its own, where nobody listens
    Probe("terminal"),
]  # fmt: skip

LISTENER = """
import socket, sys, threading
def serve(sock):
    sock.listen()
    while True:
        connection = sock.accept()[0]
        connection.send(b"hello")
        connection.close()
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


class Host:
    """A world with what there is to be reached: an agent at a terminal, secrets, services, privileged programs."""

    def __init__(self, who: str, undo: ExitStack) -> None:
        self.who = who
        self.world = undo.enter_context(World())
        self.terminal = undo.enter_context(a_terminal())
        self.agent = undo.enter_context(Agent(self.world, AGENTS[who], terminal=self.terminal, stderr=self.terminal))
        self.world.path("/run/secret").write_text("secret")
        self._make_programs()
        self.environment = {
            "AGENT": str(self.agent.pid),
            "SPAWNER": str(self.agent.spawner),
            "SECRET_FILE": "/run/secret",
            "UNIX_NAME": "lattice-test",
            "UNIX_PATH": "/run/service",
            "TCP_PORT": self._listen(undo),
            "PROGRAMS": "/run/programs",
        }

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
        """What the attempts of a probe lead to when nothing confines them."""
        with self._inherited(), ExitStack() as undo:
            world = undo.enter_context(World()) if probe.own_world else self.world
            terminal = undo.enter_context(a_terminal())
            seen = plainly(
                world,
                f"{probe.name}.py",
                uid=probe.uid,
                environment={**self.environment, "AGENT_SECRET": self.agent.secret},
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


@pytest.fixture(scope="module", params=AGENTS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with ExitStack() as undo:
        yield Host(request.param, undo)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_no_attempt_succeeds_in_a_cell(probe: Probe, host: Host) -> None:
    outside = host.plainly(probe)
    assert outside
    expected = dict.fromkeys(outside, "works")
    absent = {name: result for name, result in ABSENT.items() if outside.get(name) == result}
    never = {name: result for name, result in NEVER_DONE.items() if name in outside}
    assert outside == {**expected, **absent, **never}

    for who, level in PLACES:
        if who != host.who:
            continue
        outcome = host.agent.run(
            f"{probe.name}.py", level=level, environment=host.environment, paths={"read_only": list(probe.paths)}
        )
        assert (outcome.kind, outcome.exit_code, outcome.stderr) == ("exited", 0, ""), outcome
        assert outcome.results.keys() == outside.keys()
        got_through = {name for name, result in outcome.results.items() if result not in probe.refused}
        assert got_through == KNOWN.get((who, level), set()) & outside.keys(), outcome.results
        assert_nothing_left(host.agent)


OWN_VARIABLES = {"PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR"}
LOCALE = "LC_CTYPE"
"""Set by python3 itself where there is no locale."""


def test_outside_the_environment_is_inherited(host: Host) -> None:
    seen = plainly(host.world, "environment.py", environment={"AGENT_SECRET": host.agent.secret})
    assert seen.results["AGENT_SECRET"] == host.agent.secret


def test_the_environment_is_the_scripts_own(host: Host) -> None:
    for who, level in PLACES:
        if who == host.who:
            seen = host.agent.run("environment.py", level=level)
            assert seen.results.keys() - {LOCALE} == OWN_VARIABLES
            assert host.agent.secret not in seen.stdout

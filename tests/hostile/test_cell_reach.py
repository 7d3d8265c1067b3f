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
from tests.hostile.cell_rig import AGENTS, PYTHON, ROOT, Agent, Seen, World, a_terminal, inner_pid, only_child, plainly
from tests.hostile.places import Agents, Place
from tests.hostile.test_landlock_scope import pending

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

SOMEBODY = 61000
"""An ordinary user, for attempts to become more."""
REFUSED = frozenset({"EPERM", "EACCES", "ENOENT", "EROFS", "ESRCH", "EBADF"})
"""Answers of a protection. EINVAL, EFAULT and their kin come from code that a script should not reach."""
GIVEN = "/run/for-reading"
"""A directory that is shown for reading."""

NO_FAMILY = (
    "crypto", "ipsec", "reliable datagrams", "can", "tipc", "bluetooth", "near field", "qipcrtr", "smc", "mctp",
)  # fmt: skip
NO_CALL = ("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "memfd_secret")
NO_FILE = ("write to kernel/modprobe", "write to uevent_helper")
ABSENT = {
    "x32 getpid": "ENOSYS", "x32 ptrace": "ENOSYS",  # the kernel is built without CONFIG_X86_X32_ABI
    **dict.fromkeys(NO_FAMILY, "EAFNOSUPPORT"), **dict.fromkeys(NO_CALL, "ENOSYS"), **dict.fromkeys(NO_FILE, "ENOENT"),
    "multipath tcp": "EPROTONOSUPPORT", "netlink connector": "EPROTONOSUPPORT",
    "limits of the agent": "EPERM", "limits of the spawner": "EPERM",  # of others: root has no CAP_SYS_RESOURCE
    "read /proc/kcore": "ENOENT", "read /proc/sched_debug": "ENOENT", "write to /proc/sysrq-trigger": "ENOENT",
}  # fmt: skip
"""What the kernel of CI does not have; found out each time by trying. On one that has it, it has to work outside."""

NEVER_DONE = {
    "clock_settime": "EINVAL", "reboot": "EINVAL", "swapon": "ENOENT", "quotactl": "ENOENT", "acct": "ENOENT",
}  # fmt: skip
"""Attempts that nobody wants to succeed outside: what the kernel says after it has checked the privileges."""

AT_LANDLOCK = {
    "see others",  # no pid namespace: names and numbers of processes can be read
    "parent task",
    "unix by its path", "hand a descriptor over",  # no rule about sockets in the file system; their permissions hold
    "read /proc/kallsyms", "read /proc/keys",  # the host's: addresses read as 0, keys are those the user may see
    "owner of a socket", "owner of a socket, extended",  # nobody is told, and no signal arrives
}  # fmt: skip
SAME_UID = {
    "AGENT descriptors",  # how many, of a process that is dumpable and of the same user
}
KNOWN = {
    ("root", "network"): {"tcp"},  # the host's network is what the level is for
    ("nobody", "network"): {"tcp"},
    ("ranged", "network"): {"tcp"},
    ("root", "landlock"): AT_LANDLOCK,
    ("nobody", "landlock"): AT_LANDLOCK | SAME_UID,
    ("ranged", "landlock"): AT_LANDLOCK | SAME_UID,
}
"""What a level does not protect against: these succeed."""
GAINED_BY_ROOT = {"set-user-id", "set-group-id", "file capabilities"}
HELD_AT_HOST = {
    *GAINED_BY_ROOT,  # by no_new_privs
    "secret in the own environment", "secret in the own memory", "descriptor 77", "descriptor 78",
}  # fmt: skip
"""What even level host refuses."""
SPOILERS = {"mounts", "escapes"}
"""They leave mounts where they are let, at level host, and a world that is of no more use."""
LEFT_AT_HOST = frozenset({"keys", "standing", "files", "sockets", "interfaces", "zombies"})


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
    Probe("launcher_memory"), Probe("mounts", own_world=True), Probe("escapes"),
    Probe("regain", refused=REFUSED | {"EINVAL"}),
    Probe("strangers"), Probe("signals_outside"), Probe("given_paths", paths=(GIVEN,), refused=REFUSED | {"EXDEV"}),
    Probe("namespaces", refused=REFUSED | {"ENOSYS"}),  # clone3
    Probe("other_processes"), Probe("setuid", uid=SOMEBODY, paths=("/run/programs",)),
    Probe("sockets_of_the_host", refused=REFUSED | {"ECONNREFUSED"}),  # a loopback of its own, where nobody listens
    Probe("terminal"),
]  # fmt: skip

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


@pytest.fixture(scope="module")
def agents() -> Iterator[Hosts]:
    hosts = Hosts()
    yield hosts
    hosts.close()


@pytest.fixture
def host(place: Place, agents: Hosts) -> Host:
    agents.get(place.who)
    return agents.hosts[place.who]


def tried_outside(probe: Probe, host: Host) -> dict[str, str]:
    """Every attempt works there, or is known never to."""
    outside = host.plainly(probe)
    assert outside
    expected = dict.fromkeys(outside, "works")
    absent = {name: result for name, result in ABSENT.items() if outside.get(name) == result}
    never = {name: result for name, result in NEVER_DONE.items() if name in outside}
    assert outside == {**expected, **absent, **never}
    return outside


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_no_attempt_succeeds_in_a_cell(probe: Probe, host: Host, place: Place) -> None:
    outside = tried_outside(probe, host)
    before = pending(host.victim)
    outcome = place.run(f"{probe.name}.py", environment=host.environment, paths={"read_only": list(probe.paths)})
    through = {name for name, result in outcome.results.items() if result == "works"}
    if place.is_host:
        judge_at_host(probe, place, outcome, through, outside)
        return
    assert (outcome.kind, outcome.exit_code, outcome.stderr) == ("exited", 0, ""), outcome
    assert outcome.results.keys() == outside.keys()
    got_through = {name for name, result in outcome.results.items() if result not in probe.refused}
    known = KNOWN.get((place.who, place.level), set()) & outside.keys()
    assert got_through == known, {name: outcome.results[name] for name in got_through ^ known}
    assert pending(host.victim) == before
    place.verdict(probe.name, words(len(outside), sorted(known)))


def words(attempts: int, through: list[str]) -> str:
    """For the table."""
    if not through:
        return f"{attempts} attempts refused"
    return f"{attempts - len(through)} of {attempts} attempts refused, not: {', '.join(through)}"


def judge_at_host(probe: Probe, place: Place, seen: Seen, through: set[str], outside: dict[str, str]) -> None:
    """There the script may do what its user may; what is held even so is held for every user."""
    assert (seen.kind, seen.exit_code) == ("exited", 0), seen
    assert not through & HELD_AT_HOST - (GAINED_BY_ROOT if place.who == "root" else set())
    told = f"{len(through)} of {len(outside)} attempts succeed, as declared"
    if probe.name in SPOILERS:
        place.verdict_on_a_spoiled_world(probe.name, told)
    else:
        place.verdict(probe.name, told, declared=LEFT_AT_HOST)


OWN_VARIABLES = {"PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR"}
LOCALE = "LC_CTYPE"
"""Set by python3 itself where there is no locale."""


def test_outside_the_environment_is_inherited() -> None:
    with World() as world:
        seen = plainly(world, "environment.py", environment={"AGENT_SECRET": "hush"})
    assert seen.results["AGENT_SECRET"] == "hush"


def test_the_environment_is_the_scripts_own(place: Place) -> None:
    seen = place.run("environment.py")
    assert seen.results.keys() - {LOCALE} == OWN_VARIABLES
    assert place.agent.secret not in seen.stdout
    place.verdict("environment.py", "its own variables alone")

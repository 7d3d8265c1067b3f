"""What a script in a cell cannot reach: every attempt works outside, and is refused inside.

Each script makes its attempts plainly in the world of the agent, where they succeed, so that none is judged by how the
kernel dislikes its arguments; and in cells of every kind, where none may. Exceptions are in tables, and checked too.
"""

from collections.abc import Iterator

import pytest

from tests.hostile.cell_rig import Seen, plainly
from tests.hostile.places import Place
from tests.hostile.reached_host import GIVEN, REFUSED, Host, Hosts, Probe
from tests.hostile.test_landlock_scope import pending
from tests.hostile.world import World

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

SOMEBODY = 61000
"""An ordinary user, for attempts to become more."""
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
    "times", "attribute",  # of a file that its user might write: Landlock has no rule about these
}  # fmt: skip
SAME_UID = {
    "AGENT descriptors",  # how many, of a process that is dumpable and of the same user
}
OWN_INIT = {
    "limits of the parent", "priority of the parent", "input and output priority of the parent",
    "processors of the parent",
}  # fmt: skip
"""With one id the init of the script's own cell is a process of its user; its end would be that of the cell alone."""
KNOWN = {
    ("nobody", "strict"): OWN_INIT,
    ("root", "network"): {"tcp"},  # the host's network is what the level is for
    ("nobody", "network"): {"tcp"} | OWN_INIT,
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


@pytest.fixture(scope="module")
def agents() -> Iterator[Hosts]:
    hosts = Hosts()
    yield hosts
    hosts.close()


@pytest.fixture
def host(place: Place, agents: Hosts) -> Host:
    agent = place.agent
    return next(host for host in agents.hosts.values() if host.agent is agent)


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
        place.verdict(probe.name, told)


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
